"""Samplers that go below the next level and come up to it with noise of the picture's stream.

For flow models ComfyUI's forms.
"""

from collections.abc import Callable, Iterator

import torch

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers.deterministic import midpoint_step
from generation.runtime.samplers.step import Denoise, Step, derivative, down_and_up, steps


def euler_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            down, renoise = _ancestral(sigma, after, sampling.flow)
            x = x + derivative(x, sigma, denoised) * (down - sigma)
            x = renoise(x, noise.normal(x))
        yield Step(i, x, denoised)


def dpm_2_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            down, renoise = _ancestral(sigma, after, sampling.flow)
            x = midpoint_step(denoise, x, sigma, down, denoised)
            x = renoise(x, noise.normal(x))
        yield Step(i, x, denoised)


def dpmpp_2s_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", second order in a single step."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            down, renoise = _ancestral(sigma, after, sampling.flow)
            middle = _between(sigma, down, sampling.flow)
            ratio = middle / sigma
            second = ratio * x + (1 - ratio) * denoised
            ratio = down / sigma
            x = ratio * x + (1 - ratio) * denoise(second, middle)
            x = renoise(x, noise.normal(x))
        yield Step(i, x, denoised)


def ddpm(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Ho et al., "Denoising Diffusion Probabilistic Models"."""
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        signal, signal_after = 1 / (sigma**2 + 1), 1 / (after**2 + 1)
        kept = signal / signal_after
        scaled = x * signal.sqrt()
        slope = derivative(x, sigma, denoised)
        x = (scaled - (1 - kept) * slope / (1 - signal).sqrt()) / kept.sqrt()
        if after > 0:
            spread = ((1 - kept) * (1 - signal_after) / (1 - signal)).sqrt()
            x = (x + spread * noise.normal(x)) / signal_after.sqrt()
        yield Step(i, x, denoised)


def _between(sigma: torch.Tensor, after: torch.Tensor, flow: bool) -> torch.Tensor:
    """The level half way of two on the scale of the logarithm of noise to picture."""
    if not flow:
        return (sigma * after).sqrt()
    if sigma == 1:
        return torch.tensor(0.9999)
    return torch.sigmoid((torch.logit(sigma) + torch.logit(after)) / 2)


def _ancestral(
    sigma: torch.Tensor, after: torch.Tensor, flow: bool
) -> tuple[torch.Tensor, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """The level that an ancestral step goes down to, and how noise is put on what it came to."""
    if not flow:
        down, up = down_and_up(sigma, after)
        return down, lambda x, noise: x + noise * up
    down = after * (after / sigma)
    ratio = (1 - after) / (1 - down)
    amount = (after**2 - down**2 * ratio**2) ** 0.5
    return down, lambda x, noise: ratio * x + noise * amount
