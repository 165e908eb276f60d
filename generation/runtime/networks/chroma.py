"""Chroma's transformer: Flux.1's blocks, each told how to act by one network for all.

Source: Lodestone Rock, github.com/lodestone-rock/flow, whose names of layers are Flux.1's.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import diffusers
import torch

from generation.runtime.networks.architecture import Architecture, Layer, counted, renamed
from generation.runtime.networks.flux import PATCH, TRAINED, pack, places, unpack
from generation.runtime.networks.flux_layers import layers_of
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

TOLD: Final = "distilled_guidance_layer"
"""What tells the blocks, by its name."""


class Chroma:
    """Calls a ChromaTransformer2DModel."""

    def __init__(self, module: Any) -> None:
        self.unwanted: tuple[bool, ...] = ()
        self.done = 0.0
        self._module = module

    def predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        cross: torch.Tensor,
        pooled: torch.Tensor | None,
        sizes: torch.Tensor | None,
        beside: torch.Tensor | None,
        tile: Tile,
        references: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        """As Network's; height and width of the latents are even."""
        dtype, count = self._module.dtype, len(latents)
        high, wide = latents.shape[-2:]
        answer = self._module(
            hidden_states=pack(latents).to(dtype),
            encoder_hidden_states=cross.to(dtype),
            timestep=timestep.expand(count) / TRAINED,
            img_ids=places(high, wide, latents.device),
            txt_ids=torch.zeros(cross.shape[1], 3, device=latents.device),
            return_dict=False,
        )[0]
        return unpack(answer, high, wide)


def read(tensors: Weights, _config: dict[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Of a single file, in the original names or in diffusers': all figures are in its shapes."""
    own = tensors
    if "img_in.weight" in tensors:
        doubles, singles = (counted(tensors, f"{one}_blocks.") for one in ("double", "single"))
        told = {n.removeprefix(f"{TOLD}."): t for n, t in tensors.items() if n.startswith(TOLD)}
        own = renamed(tensors, dict(_layers(doubles, singles, counted(told, "layers."))))
    hidden = len(own["x_embedder.weight"])
    head = len(own["transformer_blocks.0.attn.norm_q.weight"])
    sides = (head - head // 8) // 2
    inner, channels = own[f"{TOLD}.in_proj.weight"].shape
    config = {
        "in_channels": own["x_embedder.weight"].shape[1],
        "num_layers": counted(own, "transformer_blocks."),
        "num_single_layers": counted(own, "single_transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": own["context_embedder.weight"].shape[1],
        "axes_dims_rope": (head // 8, sides, sides),
        "approximator_num_channels": channels,
        "approximator_hidden_dim": inner,
        "approximator_layers": len([n for n in own if n.startswith(f"{TOLD}.norms.")]),
    }
    return config, own


def _layers(doubles: int, singles: int, told: int) -> Iterator[tuple[str, Layer]]:
    """The original names of the layers, each with diffusers'; of so many blocks of each kind, and
    as many layers of what tells them.
    """
    gone = ("time_in", "vector_in", "guidance_in", "final_layer.adaLN_modulation")
    for ours, layer in layers_of(doubles, singles):
        if not ours.startswith(gone) and not ours.endswith(("_mod.lin", ".modulation.lin")):
            yield ours, layer
    for end in ("in_proj", "out_proj"):
        yield f"{TOLD}.{end}", Layer((f"{TOLD}.{end}",))
    for number in range(told):
        for end, theirs in (("in_layer", "linear_1"), ("out_layer", "linear_2")):
            block = f"{TOLD}.layers.{number}"
            yield f"{block}.{end}", Layer((f"{block}.{theirs}",))
        yield f"{TOLD}.norms.{number}", Layer((f"{TOLD}.norms.{number}",))


def original_layers(module: Any) -> Mapping[str, Layer]:
    """Of a ChromaTransformer2DModel."""
    doubles, singles = module.transformer_blocks, module.single_transformer_blocks
    told = module.distilled_guidance_layer.layers
    return dict(_layers(len(doubles), len(singles), len(told)))


def _further(module: Any) -> int:
    channels: int = module.config.in_channels // PATCH**2 - LATENTS
    return channels


LATENTS: Final = 16
ARCHITECTURE: Final = Architecture(
    model=diffusers.ChromaTransformer2DModel,
    read=read,
    network=lambda module, _controls, _guidance: Chroma(module),
    further=_further,
    layers=original_layers,
)
