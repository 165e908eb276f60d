"""What of a picture is drawn anew and what of it stays: in pixels, in latents, at every step.

As A1111 inpaints: the mask's edge is blurred, latents are one or the other, and what stays is put
back from the picture itself in the end.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageChops

from generation.masked_pictures import MaskedPicture, masked_picture, rounded
from generation.messages import Generate
from generation.request import GenerationRequest
from generation.runtime.faults import JobError
from generation.runtime.latents import open_picture
from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import first_noise
from generation.runtime.samplers.step import Denoise

WORDS_SHOWN: Final = 60
"""Characters of words that are named in a sentence."""


class Mask(MaskedPicture):
    """Mask and picture, of the size that is drawn; as tensors."""

    __slots__ = ()

    @property
    def pixels(self) -> torch.Tensor:
        """(1, 1, H, W): 1 where a pixel is drawn anew, else 0."""
        return _values(rounded(self.drawn))

    def latents(self, width: int, height: int) -> torch.Tensor:
        """(1, 1, height, width): 1 where a latent is drawn anew, else 0, or how much it changes.
        Raises JobError where none is.
        """
        greys = self.in_latents(width, height)
        if greys is None:
            raise JobError("mask_too_fine")
        return _values(greys)


Find = Callable[[Image.Image], Image.Image]
"""What a segmenter finds in a picture, in greys of its size. Raises JobError."""


def mask_of(work: Generate, find: Find | None = None) -> Mask | None:
    """That of a job, scaled and cropped as its picture is. Raises JobError."""
    request = work.request
    if not request.has("mask") or request.init_picture is None:
        return None
    picture, mask = open_picture(work.pictures[request.init_picture]), None
    if request.extension is None:
        if request.mask is not None:
            mask = open_picture(work.pictures[request.mask])
        if find is not None:
            found = find(picture)
            mask = found if mask is None else within(found, mask)
            if mask.getbbox() is None:
                raise unfound(request)
    masked = masked_picture(request, picture, mask)
    if masked is None:
        raise JobError("mask_too_fine")
    return Mask(*masked)


def unfound(request: GenerationRequest) -> JobError:
    """Of what its words name nothing is in the picture."""
    return JobError("mask_words_unfound", words=(request.mask_words or "")[:WORDS_SHOWN])


def within(found: Image.Image, mask: Image.Image) -> Image.Image:
    """What is found where a mask is not black, in the size of what was found."""
    return ImageChops.multiply(found, mask.convert("L").resize(found.size))


class MaskedLatents(NamedTuple):
    """What of a batch stays: `kept` (N, C, h, w) wherever `drawn` (1, 1, h, w) is 0, and not 1 or
    in between.

    With `noise` (N, C, h, w) it is ComfyUI's way: the network sees what stays under that noise,
    whatever noise a sampler has put on it since.
    """

    drawn: torch.Tensor
    kept: torch.Tensor
    noise: torch.Tensor | None = None

    def over(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (N, C, h, w) with what stays in them."""
        return torch.where(self.drawn > 0, latents, self.kept)


def noise_under(sampler: str, seeds: Sequence[int], first: torch.Tensor) -> torch.Tensor:
    """The noise that the network sees what stays under in ComfyUI's way: the `first`, and with DDIM
    that of the seeds after the pictures'.
    """
    if sampler != "DDIM":
        return first
    return first_noise([seed + 1 for seed in seeds], tuple(first.shape[1:])).to(first.device)


class MaskedDenoiser:
    """What samplers call: a denoiser that finds what stays wherever it is.

    So at every step what stays is its latents with the noise of that step, of whatever model: that
    which is put on it is the sampler's affair.
    """

    def __init__(self, denoiser: Denoise, masked: MaskedLatents, sampling: ModelSampling) -> None:
        self.uncond: torch.Tensor | None = None
        """As of Denoiser."""
        self._denoiser = denoiser
        self._masked = masked
        self._sampling = sampling

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """As Denoiser's."""
        masked = self._masked
        if masked.noise is not None:
            under = self._sampling.again(masked.kept, masked.noise, sigma.to(x.device))
            x = torch.where(masked.drawn > 0, x, under)
        denoised = masked.over(self._denoiser(x, sigma))
        uncond = self._denoiser.uncond
        self.uncond = None if uncond is None else self._masked.over(uncond)
        return denoised


class DifferentialDenoiser:
    """The same where greys say how much each place changes: it stays until so much of the noise is
    gone that its grey has not less left to do.

    Source: Levin and Fried, "Differential Diffusion: Giving Each Pixel Its Strength", by timesteps
    as ComfyUI's node DifferentialDiffusion has it.
    """

    def __init__(
        self,
        denoiser: Denoise,
        masked: MaskedLatents,
        sampling: ModelSampling,
        sigmas: torch.Tensor,
    ) -> None:
        self.uncond: torch.Tensor | None = None
        """As of Denoiser."""
        self._denoiser = denoiser
        self._masked = masked
        self._sampling = sampling
        self._last = self._time(torch.tensor(max(sampling.sigma_min, float(sigmas[-1]))))
        self._first = self._time(sigmas[0])

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """As Denoiser's."""
        left = (self._time(sigma) - self._last) / (self._first - self._last)
        now = self._masked._replace(drawn=(self._masked.drawn >= left).float())
        denoiser = MaskedDenoiser(self._denoiser, now, self._sampling)
        denoised = denoiser(x, sigma)
        self.uncond = denoiser.uncond
        return denoised

    def _time(self, sigma: torch.Tensor) -> float:
        return float(self._sampling.timestep(sigma))


def masking(
    denoiser: Denoise,
    masked: MaskedLatents | None,
    request: GenerationRequest,
    sampling: ModelSampling,
    sigmas: torch.Tensor,
) -> Denoise:
    """A denoiser that keeps what stays, if anything does."""
    if masked is None:
        return denoiser
    if request.differential == "on":
        return DifferentialDenoiser(denoiser, masked, sampling, sigmas)
    return MaskedDenoiser(denoiser, masked, sampling)


def _values(greys: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(greys, dtype=np.float32) / 255)[None, None]
