"""Samplers of models that are distilled for 4 to 8 steps."""

from collections.abc import Iterator
from typing import Final

import torch

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers.step import Denoise, Step, derivative, steps

TCD_ETA: Final = 0.3


def lcm(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Luo et al., "Latent Consistency Models": the picture at once, and new noise."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        x = sampling.again(denoised, noise.normal(x), after) if after > 0 else denoised
        yield Step(i, x, denoised)


def tcd(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zheng et al., "Trajectory Consistency Distillation": part of the noise stays, part is new."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            kept = sampling.sigma_of((1 - TCD_ETA) * sampling.timestep(after))
            slope = derivative(x, sigma, denoised)
            x = denoised + slope * kept + noise.normal(x) * (after**2 - kept**2).clamp(min=0).sqrt()
        yield Step(i, x, denoised)
