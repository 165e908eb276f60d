"""The UNets of Stable Diffusion 1, 2 and XL, with ControlNets and T2I-Adapters beside them."""

import math
from collections.abc import Sequence
from typing import Any, Final

import diffusers
import torch
from diffusers.loaders import single_file_utils
from torch.nn import functional

from generation.families.family import Latents
from generation.families.few_steps import READS_GUIDANCE
from generation.runtime.networks.architecture import Architecture
from generation.runtime.networks.control import Control
from generation.runtime.networks.image_attention import ShownPicture, attending, rows_of
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue, as Pillow makes grey of them."""
PREFIX: Final = "model.diffusion_model."
GUIDANCE_SCALED: Final = 1000.0
LONGEST: Final = 10_000.0
"""Of the waves that a number is told by, the longest to the shortest."""


class UNet:
    """Calls a UNet2DConditionModel."""

    def __init__(
        self, module: Any, controls: Sequence[Control] = (), guidance: float = 1.0
    ) -> None:
        """`guidance` is what a latent consistency model is told."""
        self._module = module
        width = module.config.time_cond_proj_dim
        self._told = guidance_embedding(guidance, width) if width else None
        self._adapters = [one for one in controls if isinstance(one.module, diffusers.T2IAdapter)]
        self._controls = [
            one for one in controls if not isinstance(one.module, diffusers.T2IAdapter)
        ]
        self._features: dict[tuple[int, Tile], list[torch.Tensor]] = {}
        """What an adapter makes of a tile, at each step the same."""
        self.unwanted: tuple[bool, ...] = ()
        self.pictures: tuple[ShownPicture, ...] = ()
        """What it attends to beside the prompts."""
        self.done = 0.0
        """The share of the steps that are done, by which ControlNets begin and end to act."""

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
        """As Network's. ControlNets see their picture's part in `tile`."""
        dtype = self._module.dtype
        latents, cross = latents.to(dtype), cross.to(dtype)
        further: dict[str, Any] = {}
        if sizes is not None:
            texts = None if pooled is None else pooled.to(dtype)
            further["added_cond_kwargs"] = {"text_embeds": texts, "time_ids": sizes.to(dtype)}
        down: list[torch.Tensor] | None = None
        middle: torch.Tensor | None = None
        for control in self._controls:
            if not control.acts(self.done):
                continue
            hint = control.part(tile).to(latents).expand(len(latents), -1, -1, -1)
            more_down, more_middle = control.module(
                latents,
                timestep,
                encoder_hidden_states=cross,
                conditioning_scale=control.scale,
                return_dict=False,
                **_told(control, hint),
                **further,
            )
            more_down, more_middle = self._softened(control, more_down, more_middle)
            if down is None or middle is None:
                down, middle = list(more_down), more_middle
            else:
                down = [one + more for one, more in zip(down, more_down, strict=True)]
                middle = middle + more_middle
        within = self._within(tile, latents)
        if beside is not None:
            latents = torch.cat((latents, beside.to(dtype)), dim=1)
        rows = rows_of(self.unwanted, latents)
        with attending(self._module, self.pictures, self.done, rows):
            answer: torch.Tensor = self._module(
                latents,
                timestep,
                encoder_hidden_states=cross,
                timestep_cond=None if self._told is None else self._told.to(latents),
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                down_intrablock_additional_residuals=within or None,
                return_dict=False,
                **further,
            )[0]
        return answer

    def _softened(
        self, control: Control, down: Sequence[torch.Tensor], middle: torch.Tensor
    ) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        """What a ControlNet answers, as much of it as its mode leaves."""
        if control.mode == "balanced":
            return down, middle
        marks = control.shown(self.unwanted, middle)
        weights = control.weights(len(down) + 1)
        found = [
            answer * weight if marks is None else answer * weight * marks
            for answer, weight in zip((*down, middle), weights, strict=True)
        ]
        return found[:-1], found[-1]

    def _within(self, tile: Tile, like: torch.Tensor) -> list[torch.Tensor]:
        """What the adapters add to each level of the UNet, (B, C, h, w); nothing without any."""
        found: list[torch.Tensor] = []
        for number, control in enumerate(self._adapters):
            if not control.acts(self.done):
                continue
            if (number, tile) not in self._features:
                made = control.module(_folded(control, tile).to(like))
                soft = control.weights(len(made), adapter=True)
                self._features[number, tile] = [
                    level * (control.scale * weight)
                    for level, weight in zip(made, soft, strict=True)
                ]
            marks = control.shown(self.unwanted, like)
            scaled = [
                level.expand(len(like), -1, -1, -1) * (1.0 if marks is None else marks)
                for level in self._features[number, tile]
            ]
            found = [a + b for a, b in zip(found, scaled, strict=True)] if found else scaled
        return found


def _told(control: Control, hint: torch.Tensor) -> dict[str, Any]:
    """A ControlNet's picture (B, 3, h, w); a union is told its kind beside it, as one of so many
    numbers that is 1.
    """
    if not isinstance(control.module, diffusers.ControlNetUnionModel):
        return {"controlnet_cond": hint}
    kinds = hint.new_zeros(len(hint), control.module.config.num_control_type)
    kinds[:, control.kind] = 1
    return {
        "controlnet_cond": [hint],
        "control_type": kinds,
        "control_type_idx": [control.kind],
    }


def _folded(control: Control, tile: Tile) -> torch.Tensor:
    """A tile's part of the picture in the adapter's channels, filled up to what it folds."""
    hint = control.part(tile)
    if control.module.config.in_channels == 1:
        hint = (hint * hint.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    step = control.module.config.downscale_factor
    right, below = -hint.shape[-1] % step, -hint.shape[-2] % step
    return functional.pad(hint, (0, right, 0, below), mode="replicate")


def guidance_embedding(guidance: float, width: int) -> torch.Tensor:
    """What a latent consistency model reads of a guidance scale, (1, width), in float32.

    Source: Luo et al., "Latent Consistency Models", w = guidance scale - 1, embedded as timesteps
    are after Ho et al.
    """
    half = width // 2
    falling = torch.exp(torch.arange(half) * -(math.log(LONGEST) / (half - 1)))
    angles = (guidance - 1) * GUIDANCE_SCALED * falling
    waves = torch.cat((angles.sin(), angles.cos()))
    return functional.pad(waves, (0, width % 2))[None]


def read(tensors: Weights, config: dict[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Of a single file in CompVis' names."""
    first = tensors.get(f"{PREFIX}input_blocks.0.0.weight")
    if first is not None:
        config["in_channels"] = first.shape[1]
    told = [tensors[PREFIX + name] for name in READS_GUIDANCE if PREFIX + name in tensors]
    if not told:
        return config, single_file_utils.convert_ldm_unet_checkpoint(tensors, config)
    config["time_cond_proj_dim"] = told[0].shape[1]
    found = single_file_utils.convert_ldm_unet_checkpoint(tensors, config)
    return config, {**found, "time_embedding.cond_proj.weight": told[0]}


def _further(module: Any) -> int:
    channels: int = module.config.in_channels - LATENTS
    return channels


LATENTS: Final = Latents().channels
"""Of every model of Stable Diffusion's make."""
ARCHITECTURE: Final = Architecture(
    model=diffusers.UNet2DConditionModel,
    read=read,
    network=UNet,
    further=_further,
)
