"""What samplers have in common: a step, and how far it goes.

Sources: k-diffusion (Crowson); Karras et al. 2022; Lu et al., "DPM-Solver++".
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams


class Step(NamedTuple):
    """What a step came to: the picture in the making, and the denoised one that the network saw in
    it; both (N, C, h, w) in float32.
    """

    number: int
    """From 0."""
    x: torch.Tensor
    denoised: torch.Tensor


class Denoise(Protocol):
    """What a sampler calls. `uncond` is the last answer to the negative prompt (CFG++)."""

    uncond: torch.Tensor | None

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor: ...


SamplerFunction = Callable[
    [Denoise, torch.Tensor, torch.Tensor, Streams, ModelSampling], Iterator[Step]
]


def steps(sigmas: torch.Tensor) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
    return enumerate(pairwise(sigmas))


def derivative(x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor) -> torch.Tensor:
    """dx / dsigma: the noise that is left in x."""
    return (x - denoised) / sigma


def log_ratio(sigma: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """How far apart two levels are on the logarithmic scale of DPM-Solver."""
    return sigma.log() - after.log()


def decayed(
    x: torch.Tensor, sigma: torch.Tensor, after: torch.Tensor, towards: torch.Tensor
) -> torch.Tensor:
    """x at a lower level, if the denoised picture stays `towards`."""
    ratio = after / sigma
    return ratio * x - (ratio - 1) * towards


def down_and_up(sigma: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Down to which level a step goes, and how much noise brings it up again to `after`."""
    up = torch.minimum(after, (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5)
    return (after**2 - up**2) ** 0.5, up


def without_the_rest(
    x: torch.Tensor, step: int, sigmas: torch.Tensor, *, flow: bool
) -> torch.Tensor:
    """What runs over timesteps ends at the first, with its noise, and scales it away; in a flow
    model that noise stands in the picture's place.
    """
    if step != len(sigmas) - 2:
        return x
    return x / (1 - sigmas[-1] if flow else (1 + sigmas[-1] ** 2) ** 0.5)
