"""Samplers of a stochastic differential equation, with the noise of a Brownian path or of the
picture's stream: DPM++ SDE, 2M SDE, 3M SDE, ER SDE.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers.step import Denoise, Step, decayed, down_and_up, log_ratio, steps

ER_POINTS: Final = 200
"""Of the sums that stand for integrals."""


class Levels(NamedTuple):
    """The noise levels of a job: x = signal * picture + sigma * noise."""

    sigmas: torch.Tensor
    """Of each there is a logarithm of picture to noise, but of the 0 at their end."""
    ratios: torch.Tensor
    """Of noise to picture."""
    signals: torch.Tensor


def dpmpp_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", second order, with the noise of a Brownian path."""
    path = noise.brownian(x, sigmas)
    levels, ratios, signals = _levels(sigmas, sampling)
    for i, (sigma, after) in steps(levels):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            # to the last bit as in k-diffusion: a path differs much at times that differ little
            time, end = sampling.half_log_snr(sigma), sampling.half_log_snr(after)
            between = time + (end - time) / 2
            middle = sampling.of_half_log_snr(between)
            here, there = (sigma, after) if sampling.flow else (time.neg().exp(), end.neg().exp())
            unscaled = x / signals[i]
            down, up = down_and_up(ratios[i], between.neg().exp())
            second = decayed(unscaled, ratios[i], down, denoised) + path(here, middle) * up
            denoised_2 = denoise(second * sampling.signal(middle), middle)
            down, up = down_and_up(ratios[i], ratios[i + 1])
            x = decayed(unscaled, ratios[i], down, denoised_2) + path(here, there) * up
            x = x * signals[i + 1]
        yield Step(i, x, denoised)


def dpmpp_2m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    yield from _dpmpp_2m_sde(denoise, x, sigmas, noise, sampling, heuns=False)


def dpmpp_2m_sde_heun(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    yield from _dpmpp_2m_sde(denoise, x, sigmas, noise, sampling, heuns=True)


def dpmpp_3m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Third order over three steps, with the noise of a Brownian path."""
    path = noise.brownian(x, sigmas)
    levels, ratios, signals = _levels(sigmas, sampling)
    befores: list[torch.Tensor] = []
    widths: list[torch.Tensor] = []
    for i, (sigma, after) in steps(levels):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            width = log_ratio(ratios[i], ratios[i + 1])
            doubled = 2 * width
            signal = signals[i + 1]
            x = signal / signals[i] * (-doubled).exp() * x
            x = x + signal * (-doubled).expm1().neg() * denoised
            second = signal * ((-doubled).expm1() / doubled + 1)
            if len(befores) == 2:
                ratio, ratio_2 = widths[0] / width, widths[1] / width
                change = (denoised - befores[0]) / ratio
                change_2 = (befores[0] - befores[1]) / ratio_2
                curve = (change - change_2) / (ratio + ratio_2)
                third = second / doubled - 0.5 * signal
                x = x + second * (change + curve * ratio) - third * curve
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
    levels, ratios, signals = _levels(sigmas, sampling)
    before: torch.Tensor | None = None
    change_before: torch.Tensor | None = None
    for i, (sigma, after) in steps(levels):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            now, then = ratios[i], ratios[i + 1]
            signal = signals[i + 1]
            kept = _er_noise(then) / _er_noise(now)
            x = signal / signals[i] * kept * x + signal * (1 - kept) * denoised
            if before is not None:
                width = then - now
                slice_ = -width / ER_POINTS
                points = then + torch.arange(ER_POINTS) * slice_
                spread = _er_noise(points)
                area = (1 / spread).sum() * slice_
                change = (denoised - before) / (now - ratios[i - 1])
                x = x + signal * (width + area * _er_noise(then)) * change
                if change_before is not None:
                    moment = ((points - now) / spread).sum() * slice_
                    curve = (change - change_before) / ((now - ratios[i - 2]) / 2)
                    x = x + signal * (width**2 / 2 + moment * _er_noise(then)) * curve
                change_before = change
            added = (then**2 - now**2 * kept**2).sqrt().nan_to_num(0)
            x = x + signal * noise.normal(x) * added
        before = denoised
        yield Step(i, x, denoised)


def _dpmpp_2m_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    noise: Streams,
    sampling: ModelSampling,
    *,
    heuns: bool,
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", SDE form of second order over two steps."""
    path = noise.brownian(x, sigmas)
    levels, ratios, signals = _levels(sigmas, sampling)
    before: torch.Tensor | None = None
    width_before = torch.ones(())
    for i, (sigma, after) in steps(levels):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            width = log_ratio(ratios[i], ratios[i + 1])
            doubled = 2 * width
            gone = (-doubled).expm1().neg()
            signal = signals[i + 1]
            x = signal / signals[i] * (-doubled).exp() * x + signal * gone * denoised
            if before is not None:
                ratio = width_before / width
                share = gone / -doubled + 1 if heuns else 0.5 * gone
                x = x + signal * share / ratio * (denoised - before)
            x = x + path(sigma, after) * after * gone.sqrt()
            width_before = width
        before = denoised
        yield Step(i, x, denoised)


def _levels(sigmas: torch.Tensor, sampling: ModelSampling) -> Levels:
    levels = sampling.with_some_signal(sigmas)
    signals = sampling.signal(levels)
    return Levels(levels, levels / signals, signals)


def _er_noise(ratio: torch.Tensor) -> torch.Tensor:
    return ratio * ((ratio**0.3).exp() + 10)
