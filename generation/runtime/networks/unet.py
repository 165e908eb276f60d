"""The UNets of Stable Diffusion 1, 2 and XL, with ControlNets beside them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from generation.runtime.tiling import Tile


class Control(NamedTuple):
    """A ControlNet, the picture that it reads, (1, 3, H, W) from 0 to 1, and its strength."""

    module: Any
    hint: torch.Tensor
    scale: float


class UNet:
    """Calls a UNet2DConditionModel."""

    def __init__(self, module: Any, controls: Sequence[Control] = ()) -> None:
        self._module = module
        self._controls = controls

    @property
    def device(self) -> torch.device:
        """Where latents must lie."""
        device: torch.device = self._module.device
        return device

    def predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        cross: torch.Tensor,
        pooled: torch.Tensor | None,
        sizes: torch.Tensor | None,
        beside: torch.Tensor | None,
        tile: Tile,
    ) -> torch.Tensor:
        """What the network answers, (B, C, h, w), in the precision of its weights.

        `latents` (B, C, h, w) are scaled as it expects; `timestep` is a scalar; `cross` (B, L, W);
        `pooled` (B, P) and `sizes` (B, K) where its family has them; `beside` (B, D, h, w) are the
        further channels of a UNet that has them. ControlNets see their picture's part in `tile`.
        """
        dtype = self._module.dtype
        latents, cross = latents.to(dtype), cross.to(dtype)
        further: dict[str, Any] = {}
        if sizes is not None:
            texts = None if pooled is None else pooled.to(dtype)
            further["added_cond_kwargs"] = {"text_embeds": texts, "time_ids": sizes.to(dtype)}
        down: list[torch.Tensor] | None = None
        middle: torch.Tensor | None = None
        for control in self._controls:
            hint = tile.of(control.hint, 1).to(latents).expand(len(latents), -1, -1, -1)
            more_down, more_middle = control.module(
                latents,
                timestep,
                encoder_hidden_states=cross,
                controlnet_cond=hint,
                conditioning_scale=control.scale,
                return_dict=False,
                **further,
            )
            if down is None or middle is None:
                down, middle = list(more_down), more_middle
            else:
                down = [one + more for one, more in zip(down, more_down, strict=True)]
                middle = middle + more_middle
        if beside is not None:
            latents = torch.cat((latents, beside.to(dtype)), dim=1)
        answer: torch.Tensor = self._module(
            latents,
            timestep,
            encoder_hidden_states=cross,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
            **further,
        )[0]
        return answer
