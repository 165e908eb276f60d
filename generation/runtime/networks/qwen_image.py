"""Qwen-Image's transformer: two by two latents are a token; the text's tokens stand beside them.

Source: QwenLM, github.com/QwenLM/Qwen-Image; single files have the names of layers that diffusers
has.
"""

from typing import Any, Final

import diffusers
import torch

from generation.runtime.networks.architecture import Architecture, counted
from generation.runtime.networks.flux import PATCH, TRAINED, pack, unpack
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

CLEAN: Final = "__index_timestep_zero__"
"""The mark of files whose denoiser is told that what it is shown has no noise."""


class QwenImage:
    """Calls a QwenImageTransformer2DModel."""

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
        """As Network's; heights and widths of latents are even."""
        dtype, count = self._module.dtype, len(latents)
        high, wide = latents.shape[-2:]
        shown = [pack(one) for one in (latents, *references)]
        shapes = [
            (1, one.shape[-2] // PATCH, one.shape[-1] // PATCH) for one in (latents, *references)
        ]
        answer = self._module(
            hidden_states=torch.cat(shown, dim=1).to(dtype),
            encoder_hidden_states=cross.to(dtype),
            timestep=timestep.expand(count) / TRAINED,
            img_shapes=[shapes] * count,
            return_dict=False,
        )[0]
        return unpack(answer[:, : shown[0].shape[1]], high, wide)


def read(tensors: Weights, _config: dict[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Of a single file: all figures are in its shapes."""
    hidden = len(tensors["img_in.weight"])
    head = len(tensors["transformer_blocks.0.attn.norm_q.weight"])
    sides = (head - head // 8) // 2
    config = {
        "in_channels": tensors["img_in.weight"].shape[1],
        "out_channels": len(tensors["proj_out.weight"]) // PATCH**2,
        "num_layers": counted(tensors, "transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": tensors["txt_in.weight"].shape[1],
        "axes_dims_rope": (head // 8, sides, sides),
        "zero_cond_t": CLEAN in tensors,
    }
    return config, {name: tensor for name, tensor in tensors.items() if name != CLEAN}


ARCHITECTURE: Final = Architecture(
    model=diffusers.QwenImageTransformer2DModel,
    read=read,
    network=lambda module, _controls, _guidance: QwenImage(module),
    further=lambda _module: 0,
)
