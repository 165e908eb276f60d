"""Flux.1's transformer: two by two latents are a token; the text's tokens stand beside them.

Source: Black Forest Labs, github.com/black-forest-labs/flux (`src/flux/model.py`).
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import diffusers
import torch

from generation.runtime import widening
from generation.runtime.networks.architecture import Architecture, Layer, counted, renamed
from generation.runtime.networks.control import Control
from generation.runtime.networks.flux_control import CONTROL, added, figures, reads_pixels
from generation.runtime.networks.flux_image_attention import JointAttention
from generation.runtime.networks.flux_layers import layers_of
from generation.runtime.networks.image_attention import ShownPicture, attending, rows_of
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

PATCH: Final = 2
"""Latents of a token's side."""
LATENTS: Final = 16
TRAINED: Final = 1000
"""What timesteps are counted up to elsewhere; it is told the level itself."""


class Flux:
    """Calls a FluxTransformer2DModel."""

    def __init__(
        self, module: Any, controls: Sequence[Control] = (), guidance: float = 1.0
    ) -> None:
        """`guidance` is what a distilled one is told."""
        self.unwanted: tuple[bool, ...] = ()
        self.pictures: tuple[ShownPicture, ...] = ()
        """What it attends to beside the prompts."""
        self.done = 0.0
        self._module = module
        self._controls = controls
        self._guidance = guidance

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
        shown = latents
        seeing: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if beside is not None and widening.is_widened(self._module):
            seeing = widening.seeing(self._module, pack(beside).to(dtype))
        elif beside is not None:
            shown = torch.cat((latents, beside), dim=1)
        assert pooled is not None
        guidance = None
        if self._module.config.guidance_embeds:
            guidance = torch.full((count,), self._guidance, device=latents.device)
        told = {
            "hidden_states": pack(latents).to(dtype),
            "encoder_hidden_states": cross.to(dtype),
            "pooled_projections": pooled.to(dtype),
            "timestep": timestep.expand(count) / TRAINED,
            "img_ids": places(high, wide, latents.device),
            "txt_ids": torch.zeros(cross.shape[1], 3, device=latents.device),
        }
        tokens, where = pack(shown), [told["img_ids"]]
        own = tokens.shape[1]
        for number, one in enumerate(references, 1):
            tokens = torch.cat((tokens, pack(one)), dim=1)
            where.append(places(one.shape[-2], one.shape[-1], latents.device, number))
        acting = [
            (one, one.part(tile) if reads_pixels(one.module) else pack(one.part(tile)))
            for one in self._controls
            if one.acts(self.done)
        ]
        steering = added(self._module, acting, told, self._guidance, tokens.shape[1] - own)
        rows = rows_of(self.unwanted, latents)
        attends = attending(self._module, self.pictures, self.done, rows, JointAttention)
        with seeing, attends:
            answer = self._module(
                **{**told, "hidden_states": tokens.to(dtype), "img_ids": torch.cat(where)},
                **steering,
                guidance=guidance,
                return_dict=False,
            )[0]
        return unpack(answer[:, :own], high, wide)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) as tokens (B, h / 2 * w / 2, C * 4), row by row."""
    count, channels, high, wide = latents.shape
    grid = latents.reshape(count, channels, high // PATCH, PATCH, wide // PATCH, PATCH)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * PATCH**2)


def unpack(tokens: torch.Tensor, high: int, wide: int) -> torch.Tensor:
    """Tokens as latents (B, C, high, wide)."""
    count = len(tokens)
    grid = tokens.reshape(count, high // PATCH, wide // PATCH, -1, PATCH, PATCH)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(count, -1, high, wide)


def places(high: int, wide: int, device: torch.device, picture: int = 0) -> torch.Tensor:
    """Where each token stands, (h / 2 * w / 2, 3): in which picture, in which row and column."""
    rows = torch.arange(high // PATCH, device=device).float()
    columns = torch.arange(wide // PATCH, device=device).float()
    grid = torch.cartesian_prod(rows, columns)
    return torch.cat((torch.full((len(grid), 1), float(picture), device=device), grid), dim=1)


def read(tensors: Weights, _config: dict[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Of a single file, in the original names or in diffusers': all figures are in its shapes."""
    own = tensors
    if "img_in.weight" in tensors:
        doubles, singles = (counted(tensors, f"{one}_blocks.") for one in ("double", "single"))
        own = renamed(tensors, dict(layers_of(doubles, singles)))
    config = figures(own) | {"out_channels": len(own["proj_out.weight"])}
    return config, own


def original_layers(module: Any) -> Mapping[str, Layer]:
    """Of a FluxTransformer2DModel."""
    return dict(layers_of(len(module.transformer_blocks), len(module.single_transformer_blocks)))


def _further(module: Any) -> int:
    inputs: int = module.config.in_channels
    return inputs * (1 + widening.is_widened(module)) // PATCH**2 - LATENTS


ARCHITECTURE: Final = Architecture(
    model=diffusers.FluxTransformer2DModel,
    read=read,
    network=Flux,
    further=_further,
    layers=original_layers,
    control=CONTROL,
)
