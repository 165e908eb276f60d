"""(x, sigma) -> denoised: guidance, AND, tiles, and what the network is told at each call.

Source of the guidance: Ho and Salimans, "Classifier-Free Diffusion Guidance"; of its sum over the
parts of a prompt, as A1111's AND has it: Liu et al., "Compositional Visual Generation".
"""

from collections.abc import Callable
from typing import Final

import torch
from torch.nn import functional

from generation.families import Family
from generation.runtime.conditioning import Conditioning, Prompts, size_ids
from generation.runtime.model_sampling import ModelSampling
from generation.runtime.networks.architecture import Network
from generation.runtime.references import NO_REFERENCES, ShownReferences
from generation.runtime.tiling import Tile, Tiles, blended

NOTHING: Final = 1e-12
"""The length below which an answer has no direction."""
TOKEN: Final = 2
"""Latents of a token's side."""


class Denoiser:
    """What samplers call. It counts its calls, by which prompts are scheduled, as A1111 does."""

    def __init__(
        self,
        network: Network,
        sampling: ModelSampling,
        family: Family,
        prompts: Prompts,
        guidance_scale: float,
        tiles: Tiles,
        factor: int,
        *,
        beside: torch.Tensor | None = None,
        references: ShownReferences = NO_REFERENCES,
        image_guidance: float | None = None,
        guided: bool = False,
        after_call: Callable[[], None] = lambda: None,
    ) -> None:
        """`factor` is that of pixels to latents; `beside` are further input channels (1 or N, D, h,
        w), which, where there is an `image_guidance`, are the picture that is edited, kept to
        by that scale; `references` is shown to one that reads them; `guided` asks for the answer to
        the negative prompt even where guidance does not (CFG++); `after_call` is told of each call
        of the network.
        """
        self.calls = 0
        self.uncond: torch.Tensor | None = None
        """The last answer to the negative prompt; None where it was not asked."""
        self._network = network
        self._sampling = sampling
        self._family = family
        self._prompts = prompts
        self._guidance_scale = guidance_scale
        self._tiles = tiles
        self._factor = factor
        self._beside = beside
        self._references = references
        self._image_guidance = image_guidance
        alone = len(prompts.parts) == 1 and prompts.parts[0][0] == guidance_scale == 1.0
        self._both = guided or not alone
        self._after_call = after_call

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Latents (N, C, h, w) without their noise of standard deviation `sigma`, a scalar."""
        step, self.calls = self.calls, self.calls + 1
        prompts = self._prompts
        wanted = _level([scheduled.at(step) for _, scheduled in prompts.parts])
        unwanted = prompts.negative.at(step)
        if self._image_guidance is not None:
            return self._edited(x, sigma, wanted[0], unwanted, self._image_guidance)
        if not self._both:
            return self._denoised(x, sigma, wanted, [False])[0]
        if unwanted.cross.shape == wanted[0].cross.shape:
            *answers, empty = self._denoised(
                x, sigma, [*wanted, unwanted], [False] * len(wanted) + [True]
            )
        else:
            answers = self._denoised(x, sigma, wanted, [False] * len(wanted))
            (empty,) = self._denoised(x, sigma, [unwanted], [True])
        self.uncond = empty
        guided = empty
        for (weight, _), answer in zip(prompts.parts, answers, strict=True):
            guided = guided + (answer - empty) * (weight * self._guidance_scale)
        if self._family.guidance_keeps_length and self._sampling.conventions == "a1111":
            return x - as_long_as(x - answers[0], x - guided)
        return guided

    def _edited(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        wanted: Conditioning,
        unwanted: Conditioning,
        image_guidance: float,
    ) -> torch.Tensor:
        """Brooks et al., "InstructPix2Pix": away from no picture towards the picture, and from
        there towards the text. At 1 no picture cancels out, and is not asked for, as in A1111.
        """
        (told,) = self._denoised(x, sigma, [wanted], [False])
        (untold,) = self._denoised(x, sigma, [unwanted], [True])
        self.uncond = untold
        towards_text = (told - untold) * self._guidance_scale
        if image_guidance == 1:
            return untold + towards_text
        (nothing,) = self._denoised(x, sigma, [unwanted], [True], blank=True)
        return nothing + towards_text + (untold - nothing) * image_guidance

    def _denoised(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        texts: list[Conditioning],
        unwanted: list[bool],
        *,
        blank: bool = False,
    ) -> list[torch.Tensor]:
        """An answer to each text, from one call of the network for all; `blank` hides the picture
        beside the latents.
        """
        count, sampling = len(x), self._sampling
        latents = sampling.network_input(x, sigma).repeat(len(texts), 1, 1, 1)
        cross = torch.cat([text.cross.expand(count, -1, -1) for text in texts])
        pooled = None
        if texts[0].pooled is not None:
            pooled = torch.cat([_sure(text.pooled).expand(count, -1) for text in texts])
        beside = self._beside
        if beside is not None:
            if blank:
                beside = torch.zeros_like(beside)
            beside = beside.expand(count, -1, -1, -1).repeat(len(texts), 1, 1, 1)
        timestep = sampling.timestep(sigma).to(x.device)
        factor = self._factor

        self._network.unwanted = tuple(unwanted)

        def part(tile: Tile) -> torch.Tensor:
            width, height = tile.right - tile.left, tile.bottom - tile.top
            sizes = [size_ids(self._family, width, height, no) for no in unwanted]
            told = None
            if sizes[0]:
                rows = [row for row in sizes for _ in range(count)]
                told = torch.tensor(rows, device=x.device)
            answer = self._network.predict(
                tile.of(latents, factor),
                timestep,
                cross,
                pooled,
                told,
                None if beside is None else tile.of(beside, factor),
                tile,
                self._references.beside(tile, factor, len(latents)),
            ).float()
            self._after_call()
            return answer

        output = blended(self._tiles, factor, part)
        return [sampling.denoised(one, x, sigma) for one in output.chunk(len(texts))]


def as_long_as(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The second (N, C, h, w), for each token of two by two latents as long as the first.

    Source: QwenLM, github.com/QwenLM/Qwen-Image, as diffusers has it.
    """

    def length(answer: torch.Tensor) -> torch.Tensor:
        squares = answer.square().sum(dim=1, keepdim=True)
        return functional.avg_pool2d(squares, TOKEN).sqrt()

    share = length(first) / length(second).clamp(min=NOTHING)
    return second * functional.interpolate(share, scale_factor=TOKEN, mode="nearest")


def _level(texts: list[Conditioning]) -> list[Conditioning]:
    """The parts of a prompt at one length: the shorter repeat their last token, as in A1111."""
    longest = max(text.cross.shape[1] for text in texts)
    found: list[Conditioning] = []
    for text in texts:
        missing = longest - text.cross.shape[1]
        tail = text.cross[:, -1:].expand(-1, missing, -1)
        found.append(text._replace(cross=torch.cat((text.cross, tail), dim=1)) if missing else text)
    return found


def _sure(pooled: torch.Tensor | None) -> torch.Tensor:
    assert pooled is not None
    return pooled
