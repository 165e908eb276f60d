"""A denoiser's first layer with more inputs than it was made with, while a LoRA is merged into it.

Black Forest Labs' LoRAs of Flux.1 Depth and Canny show dev a control picture's latents beside its
own. The layer stays as it is: what the further inputs add is kept beside it, and added to what it
answers, so that nothing is left of it when the LoRA is taken out.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import diffusers
import torch
from torch.nn import functional

from generation.runtime.lora_deltas import LowRank, WeightChange

FIRST: Final = "x_embedder"
WIDENED: Final = (diffusers.FluxTransformer2DModel,)
"""Denoisers that there are such LoRAs for."""
_KEPT: Final = "further_weight"


def width_of(network: torch.nn.Module, module: str, change: WeightChange | None) -> int:
    """How many inputs a layer has for which a change has as many again; 0 where it has not."""
    if not isinstance(network, WIDENED) or module != FIRST or not isinstance(change, LowRank):
        return 0
    width: int = network.get_submodule(module).in_features
    return width if change.down.ndim == 2 and change.down.shape[1] == 2 * width else 0


def give(module: Any, changes: Sequence[tuple[WeightChange, float]]) -> None:
    """Let a layer have as many inputs again, of which these are the weights; without, none."""
    if not changes:
        vars(module).pop(_KEPT, None)
        return
    kept = torch.zeros(module.out_features, module.in_features)
    for change, strength in changes:
        change.add_to(kept, kept, strength)
    # no parameter: it goes with no other weight, and is small
    vars(module)[_KEPT] = kept


def is_widened(network: Any) -> bool:
    """Whether a denoiser has such inputs now."""
    return _KEPT in vars(network.get_submodule(FIRST))


@contextlib.contextmanager
def seeing(network: Any, tokens: torch.Tensor) -> Iterator[None]:
    """Calls within show it these tokens (B, L, W) beside those that it is handed."""
    layer = network.get_submodule(FIRST)
    weight = vars(layer)[_KEPT].to(tokens.device, tokens.dtype)

    def added(_layer: Any, _inputs: Any, answer: torch.Tensor) -> torch.Tensor:
        return answer + functional.linear(tokens, weight)

    with layer.register_forward_hook(added):
        yield
