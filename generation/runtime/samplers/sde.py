"""Samplers of a stochastic differential equation, with the noise of a Brownian path or of the
picture's stream: DPM++ SDE, 2M SDE, 3M SDE, ER SDE.
"""

from collections.abc import Iterator
from typing import Final

import torch

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers.step import Denoise, Step, decayed, down_and_up, log_ratio, steps

ER_POINTS: Final = 200
"""Of the sums that stand for integrals."""


def dpmpp_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", second order, with the noise of a Brownian path."""
    path = noise.brownian(x, sigmas)
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            # to the last bit as in k-diffusion: a path differs much at times that differ little
            time, end = sigma.log().neg(), after.log().neg()
            middle = (time + (end - time) / 2).neg().exp()
            here, there = time.neg().exp(), end.neg().exp()
            down, up = down_and_up(sigma, middle)
            second = decayed(x, sigma, down, denoised) + path(here, middle) * up
            denoised_2 = denoise(second, middle)
            down, up = down_and_up(sigma, after)
            x = decayed(x, sigma, down, denoised_2) + path(here, there) * up
        yield Step(i, x, denoised)


def dpmpp_2m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    yield from _dpmpp_2m_sde(denoise, x, sigmas, noise, heuns=False)


def dpmpp_2m_sde_heun(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    yield from _dpmpp_2m_sde(denoise, x, sigmas, noise, heuns=True)


def dpmpp_3m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Third order over three steps, with the noise of a Brownian path."""
    path = noise.brownian(x, sigmas)
    befores: list[torch.Tensor] = []
    widths: list[torch.Tensor] = []
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            width = log_ratio(sigma, after)
            doubled = 2 * width
            x = (-doubled).exp() * x + (-doubled).expm1().neg() * denoised
            second = (-doubled).expm1() / doubled + 1
            if len(befores) == 2:
                ratio, ratio_2 = widths[0] / width, widths[1] / width
                change = (denoised - befores[0]) / ratio
                change_2 = (befores[0] - befores[1]) / ratio_2
                curve = (change - change_2) / (ratio + ratio_2)
                x = x + second * (change + curve * ratio) - (second / doubled - 0.5) * curve
            elif befores:
                x = x + second * (denoised - befores[0]) * (width / widths[0])
            x = x + path(sigma, after) * after * (-doubled).expm1().neg().sqrt()
            widths = [width, *widths][:2]
        befores = [denoised, *befores][:2]
        yield Step(i, x, denoised)


def er_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Cui et al., "Elucidating the Solution Space of Extended Reverse-Time SDE", of third order."""
    levels = sigmas.clone()
    if sampling.flow and levels[0] >= 1:
        # at 1 nothing of the picture is left, and the ratio of noise to picture is infinite
        levels[0] = sampling.sigma_of(torch.tensor(1 - 1e-4) * sampling.timestep(levels[0]))
    ratios = levels / (1 - levels) if sampling.flow else levels
    before: torch.Tensor | None = None
    change_before: torch.Tensor | None = None
    for i, (sigma, after) in steps(levels):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            now, then = ratios[i], ratios[i + 1]
            scale, scale_then = sigma / now, after / then
            kept = _er_noise(then) / _er_noise(now)
            x = scale_then / scale * kept * x + scale_then * (1 - kept) * denoised
            if before is not None:
                width = then - now
                slice_ = -width / ER_POINTS
                points = then + torch.arange(ER_POINTS) * slice_
                spread = _er_noise(points)
                area = (1 / spread).sum() * slice_
                change = (denoised - before) / (now - ratios[i - 1])
                x = x + scale_then * (width + area * _er_noise(then)) * change
                if change_before is not None:
                    moment = ((points - now) / spread).sum() * slice_
                    curve = (change - change_before) / ((now - ratios[i - 2]) / 2)
                    x = x + scale_then * (width**2 / 2 + moment * _er_noise(then)) * curve
                change_before = change
            added = (then**2 - now**2 * kept**2).sqrt().nan_to_num(0)
            x = x + scale_then * noise.normal(x) * added
        before = denoised
        yield Step(i, x, denoised)


def _dpmpp_2m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, *, heuns: bool
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", SDE form of second order over two steps."""
    path = noise.brownian(x, sigmas)
    before: torch.Tensor | None = None
    width_before = torch.ones(())
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            width = log_ratio(sigma, after)
            doubled = 2 * width
            gone = (-doubled).expm1().neg()
            x = (-doubled).exp() * x + gone * denoised
            if before is not None:
                ratio = width_before / width
                share = gone / -doubled + 1 if heuns else 0.5 * gone
                x = x + share / ratio * (denoised - before)
            x = x + path(sigma, after) * after * gone.sqrt()
            width_before = width
        before = denoised
        yield Step(i, x, denoised)


def _er_noise(ratio: torch.Tensor) -> torch.Tensor:
    return ratio * ((ratio**0.3).exp() + 10)
