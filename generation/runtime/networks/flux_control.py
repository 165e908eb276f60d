"""Flux.1's ControlNets: a few blocks of its make see the control picture too, and each answers with
what is to be added behind several of the transformer's own.

Sources: InstantX, huggingface.co/InstantX/FLUX.1-dev-Controlnet-Union, whose layout Shakker Labs
and others keep to, and diffusers has; XLabs, github.com/XLabs-AI/x-flux
(`src/flux/controlnet.py`), whose see the picture's pixels, and have double blocks alone.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import diffusers
import torch
from torch.nn import functional

from generation.runtime.networks.architecture import (
    ControlMake,
    Layer,
    counted,
    renamed,
    usual,
)
from generation.runtime.networks.control import Control
from generation.runtime.networks.flux_layers import layers_of
from generation.runtime.weights import Weights

KINDS: Final = (
    ("controlnet_block_samples", "transformer_blocks"),
    ("controlnet_single_block_samples", "single_transformer_blocks"),
)
"""What is added, as the transformer calls it, and behind which of its blocks."""
MODES: Final = "controlnet_mode_embedder.weight"
"""Only unions have it: a row for each kind of picture."""
HINT: Final = "input_hint_block.conv_out.weight"
"""The last of the convolutions by which XLabs' see a picture's pixels."""
HINT_BLOCKS: Final = 6
"""Convolutions between their first and their last."""
PATCH: Final = 2
"""Of what these make, to a token's side."""
ALIKE: Final = ("num_attention_heads", "attention_head_dim", "joint_attention_dim")
"""What a ControlNet and a transformer that it fits have in common."""


def added(
    module: Any,
    controls: Iterable[tuple[Control, torch.Tensor]],
    told: Mapping[str, Any],
    guidance: float,
    behind: int = 0,
) -> dict[str, list[torch.Tensor]]:
    """What ControlNets add to a transformer: for each of its blocks a tensor (B, tokens, width).

    They are `told` what it is, each with its picture's latents as tokens (1, tokens, C * 4) or with
    its pixels (1, 3, H, W); none adds to the tokens `behind` the latents' own.
    """
    found: dict[str, list[torch.Tensor]] = {}
    for control, hint in controls:
        answers = _answers(control, hint, told, guidance)
        for (name, blocks), own in zip(KINDS, answers, strict=True):
            if own is None:
                continue
            count = len(getattr(module, blocks))
            widened = [functional.pad(one, (0, 0, 0, behind)) if behind else one for one in own]
            # each is for so many blocks in a row, or of XLabs' for every so manieth
            each = math.ceil(count / len(own))
            turns = reads_pixels(control.module)
            spread = [widened[n % len(own) if turns else n // each] for n in range(count)]
            if name in found:
                spread = [one + more for one, more in zip(found[name], spread, strict=True)]
            found[name] = spread
    return found


def _answers(
    control: Control, hint: torch.Tensor, told: Mapping[str, Any], guidance: float
) -> tuple[list[torch.Tensor] | None, ...]:
    """Of its double and of its single blocks; None where it has none."""
    net, tokens = control.module, told["hidden_states"]
    count = len(tokens)
    mode = level = None
    if net.union:
        mode = torch.full((count, 1), control.kind, device=tokens.device)
    if net.config.guidance_embeds:
        level = torch.full((count,), guidance, device=tokens.device)
    found: tuple[list[torch.Tensor] | None, ...] = net(
        **{**told, "guidance": level},
        controlnet_cond=hint.to(tokens).expand(count, *hint.shape[1:]),
        controlnet_mode=mode,
        conditioning_scale=control.scale,
        return_dict=False,
    )
    return found


def figures(own: Weights) -> dict[str, Any]:
    """Of the config of a transformer or a ControlNet of Flux.1's make, by its tensors' shapes."""
    hidden = len(own["x_embedder.weight"])
    head = len(own["transformer_blocks.0.attn.norm_q.weight"])
    sides = (head - head // 8) // 2
    return {
        "in_channels": own["x_embedder.weight"].shape[1],
        "num_layers": counted(own, "transformer_blocks."),
        "num_single_layers": counted(own, "single_transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": own["context_embedder.weight"].shape[1],
        "pooled_projection_dim": own["time_text_embed.text_embedder.linear_1.weight"].shape[1],
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in own,
        "axes_dims_rope": (head // 8, sides, sides),
    }


def reads_pixels(net: Any) -> bool:
    """Whether a ControlNet sees a picture's pixels and not its latents."""
    return net.input_hint_block is not None


def read(tensors: Weights) -> tuple[dict[str, Any], Weights]:
    """Of a single file, in diffusers' names or in XLabs'."""
    own = tensors
    if "img_in.weight" in tensors:
        own = renamed(tensors, dict(_xlabs_layers(counted(tensors, "double_blocks."))))
    config = figures(own)
    if MODES in own:
        config["num_mode"] = len(own[MODES])
    if HINT in own:
        config |= {"conditioning_embedding_channels": len(own[HINT]), "patch_size": PATCH}
    return config, own


def _xlabs_layers(doubles: int) -> Iterator[tuple[str, Layer]]:
    """The layers of XLabs', each with diffusers': behind every convolution stands what no tensor
    tells of.
    """
    yield from layers_of(doubles, 0)
    yield "pos_embed_input", Layer(("controlnet_x_embedder",))
    inner = (f"blocks.{number}" for number in range(HINT_BLOCKS))
    for number, part in enumerate(("conv_in", *inner, "conv_out")):
        yield f"input_hint_block.{2 * number}", Layer((f"input_hint_block.{part}",))
    for block in range(doubles):
        yield f"controlnet_blocks.{block}", Layer((f"controlnet_blocks.{block}",))


def latents(net: Any, pixels: torch.Tensor, encode: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """What a ControlNet sees: latents (1, C, h, w), or pixels (1, 3, H, W) from -1 to 1."""
    return 2 * pixels - 1 if reads_pixels(net) else usual(net, pixels, encode)


def fits(net: Any, denoiser: Any) -> bool:
    """Whether it can be added to that transformer."""
    return all(net.config[name] == denoiser.config[name] for name in ALIKE)


CONTROL: Final = ControlMake(
    model=diffusers.FluxControlNetModel, read=read, fits=fits, latents=latents
)
