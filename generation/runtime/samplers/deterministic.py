"""Samplers that draw no noise and look at no step but their own: Euler, Heun, DPM2, DDIM."""

from collections.abc import Iterator

import torch

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers.step import Denoise, Step, derivative, steps, without_the_rest


def euler(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Karras et al. 2022, algorithm 2 without churn and second order."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        x = x + derivative(x, sigma, denoised) * (after - sigma)
        yield Step(i, x, denoised)


def heun(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Karras et al. 2022, algorithm 1 without churn."""
    for i, (sigma, after) in steps(sigmas):
        x, denoised = heun_step(denoise, x, sigma, after)
        yield Step(i, x, denoised)


def heunpp2(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Heun's method with a look one step further ahead."""
    last = len(sigmas) - 2
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        slope, change = derivative(x, sigma, denoised), after - sigma
        if i < last:
            second = x + slope * change
            slope_2 = derivative(second, after, denoise(second, after))
            if i + 1 < last:
                further = sigmas[i + 2]
                third = second + slope_2 * (further - after)
                slope_3 = derivative(third, further, denoise(third, further))
                share_2, share_3 = after / (3 * sigmas[0]), further / (3 * sigmas[0])
                slope = slope * (1 - share_2 - share_3) + slope_2 * share_2 + slope_3 * share_3
            else:
                share = after / (2 * sigmas[0])
                slope = slope * (1 - share) + slope_2 * share
        x = x + slope * change
        yield Step(i, x, denoised)


def dpm_2(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Karras et al. 2022, with the midpoint of the logarithms."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        x = midpoint_step(denoise, x, sigma, after, denoised)
        yield Step(i, x, denoised)


def ddim(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Song et al., "Denoising Diffusion Implicit Models", without noise."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        x = denoised + derivative(x, sigma, denoised) * after
        yield Step(i, without_the_rest(x, i, sigmas, flow=sampling.flow), denoised)


def ddim_cfg_pp(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Chung et al., "CFG++": the noise is that which the negative prompt finds."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        assert denoise.uncond is not None
        left = derivative(x, sigma, sampling.signal(sigma) * denoise.uncond)
        x = sampling.signal(after) * denoised + left * after
        yield Step(i, without_the_rest(x, i, sigmas, flow=sampling.flow), denoised)


def heun_step(
    denoise: Denoise, x: torch.Tensor, sigma: torch.Tensor, after: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    denoised = denoise(x, sigma)
    slope = derivative(x, sigma, denoised)
    if after != 0:
        second = x + slope * (after - sigma)
        slope = (slope + derivative(second, after, denoise(second, after))) / 2
    return x + slope * (after - sigma), denoised


def midpoint_step(
    denoise: Denoise,
    x: torch.Tensor,
    sigma: torch.Tensor,
    after: torch.Tensor,
    denoised: torch.Tensor,
) -> torch.Tensor:
    slope = derivative(x, sigma, denoised)
    if after != 0:
        middle = (sigma * after).sqrt()
        second = x + slope * (middle - sigma)
        slope = derivative(second, middle, denoise(second, middle))
    return x + slope * (after - sigma)
