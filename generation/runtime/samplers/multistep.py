"""Samplers without noise that go on from what the steps before found.

LMS, DPM++ 2M, PLMS, UniPC, DEIS, IPNDM, Res Multistep, Gradient Estimation.
"""

import math
from collections.abc import Iterator
from typing import Final

import torch
from scipy import integrate

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers.step import (
    Denoise,
    Step,
    decayed,
    derivative,
    log_ratio,
    steps,
    without_the_rest,
)

LMS_ORDER: Final = 4
IPNDM: Final = (
    (1.0,),
    (1.5, -0.5),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Coefficients of Adams and Bashforth, the newest derivative first."""
DEIS_ORDER: Final = 3
DEIS_POINTS: Final = 10_000
COMFYUI_END: Final = 0.001
"""Where ComfyUI's UniPC ends."""
ESTIMATION: Final = 2.0
"""How far gradient estimation goes along the change of the derivative."""


def lms(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Linear multistep: the polynomial through the last derivatives, integrated."""
    known = [float(sigma) for sigma in sigmas]
    slopes: list[torch.Tensor] = []
    for i, (sigma, _) in steps(sigmas):
        denoised = denoise(x, sigma)
        slopes = [derivative(x, sigma, denoised), *slopes][:LMS_ORDER]
        if sampling.flow and known[i + 1] == 0:
            x = denoised
        else:
            for j, slope in enumerate(slopes):
                points = known[i - len(slopes) + 1 : i + 1][::-1]
                x = x + slope * _lms_share(points, j, known[i], known[i + 1])
        yield Step(i, x, denoised)


def dpmpp_2m(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", second order over two steps."""
    before: torch.Tensor | None = None
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        towards = denoised
        if before is not None and after != 0:
            ratio = log_ratio(sigmas[i - 1], sigma) / log_ratio(sigma, after)
            share = 1 / (2 * ratio)
            towards = (1 + share) * denoised - share * before
        x = decayed(x, sigma, after, towards)
        before = denoised
        yield Step(i, x, denoised)


def plms(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds"."""
    slopes: list[torch.Tensor] = []
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        slope = derivative(x, sigma, denoised)
        slopes = [slope, *slopes][:4]
        if len(slopes) == 1:
            # the first has no other before it: it looks one step ahead
            if after > 0:
                second = x + slope * (after - sigma)
                slope = (slope + derivative(second, after, denoise(second, after))) / 2
        else:
            shares = IPNDM[len(slopes) - 1]
            slope = sum(
                (one * share for one, share in zip(slopes, shares, strict=True)),
                start=torch.zeros(()).to(x),
            )
        x = x + slope * (after - sigma)
        yield Step(i, without_the_rest(x, i, sigmas, flow=sampling.flow), denoised)


def unipc(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zhao et al., "UniPC", of third order with B(h) = h, the last steps of lower order."""
    last = len(sigmas) - 2
    if sampling.conventions == "comfyui" and sigmas[-1] == 0:
        sigmas = torch.cat((sigmas[:-1], torch.tensor([COMFYUI_END])))
    levels = [float(-sigma.log()) if sigma > 0 else math.inf for sigma in sigmas]
    known: list[tuple[float, torch.Tensor]] = [(levels[0], denoise(x, sigmas[0]))]
    for i, (_, after) in steps(sigmas):
        order = min(3, i + 1, last + 1 - i)
        denoised = known[-1][1]
        if after == 0:
            x = denoised
            yield Step(i, x, denoised)
            return
        width = levels[i + 1] - levels[i]
        ratio, gone = math.exp(-width), math.expm1(-width)
        base = ratio * x - gone * denoised
        earlier = known[-order:-1][::-1]
        ratios = [(level - levels[i]) / width for level, _ in earlier]
        changes = [(one - denoised) / r for (_, one), r in zip(earlier, ratios, strict=True)]
        predicted, corrected = _unipc_shares([*ratios, 1.0], -width)
        step = base + width * _weighted(changes, predicted, x)
        if i < last:
            found = denoise(step, after)
            x = base + width * (
                _weighted(changes, corrected[:-1], x) + corrected[-1] * (found - denoised)
            )
            known = [*known, (levels[i + 1], found)][-3:]
        else:
            x = step
        yield Step(i, without_the_rest(x, i, sigmas, flow=sampling.flow), denoised)


def deis(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator"."""
    slopes: list[torch.Tensor] = []
    times, begin, end = _vp_times(sigmas)
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        slopes = [derivative(x, sigma, denoised), *slopes][:DEIS_ORDER]
        if after == 0 or len(slopes) == 1:
            x = x + slopes[0] * (after - sigma)
        else:
            points = times[i - len(slopes) + 1 : i + 1].flip(0)
            shares = _deis_shares(points, times[i], times[i + 1], begin, end)
            for slope, share in zip(slopes, shares, strict=True):
                x = x + slope * share
        yield Step(i, x, denoised)


def ipndm(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zhang and Chen: the coefficients of Adams and Bashforth, as if steps were equally wide."""
    slopes: list[torch.Tensor] = []
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        slopes = [derivative(x, sigma, denoised), *slopes][:4]
        if after == 0:
            x = denoised
        else:
            x = x + (after - sigma) * _weighted(slopes, IPNDM[len(slopes) - 1], x)
        yield Step(i, x, denoised)


def res_multistep(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zhang et al., "Improved Order Analysis and Design of Exponential Integrator"."""
    before: torch.Tensor | None = None
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0 or before is None:
            x = x + derivative(x, sigma, denoised) * (after - sigma)
        else:
            width = log_ratio(sigma, after)
            place = -log_ratio(sigmas[i - 1], sigma) / width
            first = torch.expm1(-width) / -width
            second = (first - 1) / -width
            share = second / place
            x = (-width).exp() * x + width * ((first - share) * denoised + share * before)
        before = denoised
        yield Step(i, x, denoised)


def gradient_estimation(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Permenter and Yuan, "Interpreting and Improving Diffusion Models"."""
    before: torch.Tensor | None = None
    for i, (sigma, after) in steps(sigmas):
        denoised = denoise(x, sigma)
        slope = derivative(x, sigma, denoised)
        if after == 0:
            x = denoised
        else:
            estimate = slope if before is None else slope + (ESTIMATION - 1) * (slope - before)
            x = x + estimate * (after - sigma)
        before = slope
        yield Step(i, x, denoised)


def _weighted(
    tensors: list[torch.Tensor], shares: "list[float] | tuple[float, ...]", like: torch.Tensor
) -> torch.Tensor:
    total = torch.zeros_like(like)
    for tensor, share in zip(tensors, shares, strict=True):
        total = total + tensor * share
    return total


def _lms_share(points: list[float], j: int, begin: float, end: float) -> float:
    """The integral of the j-th Lagrange polynomial through the points."""

    def polynomial(at: float) -> float:
        return math.prod(
            (at - point) / (points[j] - point) for k, point in enumerate(points) if k != j
        )

    return float(integrate.quad(polynomial, begin, end, epsrel=1e-4)[0])


def _unipc_shares(ratios: list[float], width: float) -> tuple[list[float], list[float]]:
    """The weights of the predictor and of the corrector; `width` is negative for a picture."""
    order = len(ratios)
    term = math.expm1(width) / width - 1
    rows, targets, factorial = [], [], 1
    for i in range(1, order + 1):
        rows.append([ratio ** (i - 1) for ratio in ratios])
        targets.append(term * factorial / width)
        factorial *= i + 1
        term = term / width - 1 / factorial
    matrix = torch.tensor(rows, dtype=torch.float64)
    wanted = torch.tensor(targets, dtype=torch.float64)
    corrected = [0.5] if order == 1 else torch.linalg.solve(matrix, wanted).tolist()
    predicted: list[float] = []
    if order == 2:
        predicted = [0.5]
    elif order > 2:
        predicted = torch.linalg.solve(matrix[:-1, :-1], wanted[:-1]).tolist()
    return predicted, corrected


def _vp_times(sigmas: torch.Tensor) -> tuple[torch.Tensor, float, float]:
    """The times of these levels in the variance-preserving process from 0.002 to 80, and where its
    linear beta begins and ends.
    """
    low, high, least = math.log(0.002**2 + 1), math.log(80.0**2 + 1), 1e-3
    slope = 2 * (low / least - high) / (least - 1)
    begin = high - 0.5 * slope
    times = ((begin**2 + 2 * slope * (sigmas.double() ** 2 + 1).log()).sqrt() - begin) / slope
    return times, begin, begin + slope


def _deis_shares(
    points: torch.Tensor, begin: torch.Tensor, end: torch.Tensor, first: float, last: float
) -> list[float]:
    """The integrals of dsigma / dt times the Lagrange polynomials through the points."""
    times = torch.linspace(float(begin), float(end), DEIS_POINTS, dtype=torch.float64)
    rate = first + (last - first) * times
    signal = (-(first * times + 0.5 * (last - first) * times**2)).exp()
    slope = 0.5 * rate / (signal * (1 - signal)).sqrt()
    shares = []
    for j, point in enumerate(points):
        polynomial = torch.ones_like(times)
        for k, other in enumerate(points):
            if k != j:
                polynomial = polynomial * (times - other) / (point - other)
        shares.append(float((slope * polynomial).sum() * (end - begin) / DEIS_POINTS))
    return shares
