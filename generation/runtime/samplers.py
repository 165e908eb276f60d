"""Samplers: each takes a picture in the making from the first sigma to the last.

A sampler is a generator: it yields after each step, so that what is to happen between steps
(progress, previews, cancelling) is plain code in the loop of whoever draws. It calls
`denoise(x, sigma)` and knows neither network nor family.

Sources: k-diffusion (Crowson) and A1111's webui for the computation, the papers named at each for
the method. For flow models ComfyUI's forms.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

import torch
from scipy import integrate

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.schedules import karras_between

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
ER_POINTS: Final = 200
"""Of the sums that stand for integrals."""
TCD_ETA: Final = 0.3
COMFYUI_END: Final = 0.001
"""Where ComfyUI's UniPC ends."""
ESTIMATION: Final = 2.0
"""How far gradient estimation goes along the change of the derivative."""


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


def euler(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Karras et al. 2022, algorithm 2 without churn and second order."""
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        x = x + _slope(x, sigma, denoised) * (after - sigma)
        yield Step(i, x, denoised)


def euler_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            down, renoise = _ancestral(sigma, after, sampling.flow)
            x = x + _slope(x, sigma, denoised) * (down - sigma)
            x = renoise(x, noise.normal(x))
        yield Step(i, x, denoised)


def heun(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Karras et al. 2022, algorithm 1 without churn."""
    for i, (sigma, after) in _steps(sigmas):
        x, denoised = _heun_step(denoise, x, sigma, after)
        yield Step(i, x, denoised)


def heunpp2(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Heun's method with a look one step further ahead."""
    last = len(sigmas) - 2
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        slope, change = _slope(x, sigma, denoised), after - sigma
        if i < last:
            second = x + slope * change
            slope_2 = _slope(second, after, denoise(second, after))
            if i + 1 < last:
                further = sigmas[i + 2]
                third = second + slope_2 * (further - after)
                slope_3 = _slope(third, further, denoise(third, further))
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
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        x = _midpoint_step(denoise, x, sigma, after, denoised)
        yield Step(i, x, denoised)


def dpm_2_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            down, renoise = _ancestral(sigma, after, sampling.flow)
            x = _midpoint_step(denoise, x, sigma, down, denoised)
            x = renoise(x, noise.normal(x))
        yield Step(i, x, denoised)


def lms(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Linear multistep: the polynomial through the last derivatives, integrated."""
    known = [float(sigma) for sigma in sigmas]
    slopes: list[torch.Tensor] = []
    for i, (sigma, _) in _steps(sigmas):
        denoised = denoise(x, sigma)
        slopes = [_slope(x, sigma, denoised), *slopes][:LMS_ORDER]
        if sampling.flow and known[i + 1] == 0:
            x = denoised
        else:
            for j, slope in enumerate(slopes):
                points = known[i - len(slopes) + 1 : i + 1][::-1]
                x = x + slope * _lms_share(points, j, known[i], known[i + 1])
        yield Step(i, x, denoised)


def dpmpp_2s_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", second order in a single step."""
    for i, (sigma, after) in _steps(sigmas):
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


def dpmpp_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", second order, with the noise of a Brownian path."""
    path = noise.brownian(x, sigmas)
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            # to the last bit as in k-diffusion: a path differs much at times that differ little
            time, end = sigma.log().neg(), after.log().neg()
            middle = (time + (end - time) / 2).neg().exp()
            here, there = time.neg().exp(), end.neg().exp()
            down, up = _down_and_up(sigma, middle)
            second = _decayed(x, sigma, down, denoised) + path(here, middle) * up
            denoised_2 = denoise(second, middle)
            down, up = _down_and_up(sigma, after)
            x = _decayed(x, sigma, down, denoised_2) + path(here, there) * up
        yield Step(i, x, denoised)


def dpmpp_2m(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", second order over two steps."""
    before: torch.Tensor | None = None
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        towards = denoised
        if before is not None and after != 0:
            ratio = _log_ratio(sigmas[i - 1], sigma) / _log_ratio(sigma, after)
            share = 1 / (2 * ratio)
            towards = (1 + share) * denoised - share * before
        x = _decayed(x, sigma, after, towards)
        before = denoised
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
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            width = _log_ratio(sigma, after)
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


def restart(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Xu et al., "Restart Sampling for Improving Generative Processes", with A1111's intervals.

    From 20 steps on a part of them goes back from a low level of noise to a high one.
    """
    plan = _with_restarts(sigmas)
    total, level = len(sigmas) - 1, plan[0][0]
    for i, (sigma, after) in enumerate(plan):
        if sigma > level:
            x = x + noise.normal(x) * (sigma**2 - level**2) ** 0.5
        x, denoised = _heun_step(denoise, x, sigma, after)
        level = after
        yield Step(min(i, total - 1) if i < len(plan) - 1 else total - 1, x, denoised)


def ddim(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Song et al., "Denoising Diffusion Implicit Models", without noise."""
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        x = denoised + _slope(x, sigma, denoised) * after
        yield Step(i, _without_the_rest(x, i, sigmas), denoised)


def ddim_cfg_pp(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Chung et al., "CFG++": the noise is that which the negative prompt finds."""
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        assert denoise.uncond is not None
        x = denoised + _slope(x, sigma, denoise.uncond) * after
        yield Step(i, _without_the_rest(x, i, sigmas), denoised)


def plms(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds"."""
    slopes: list[torch.Tensor] = []
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        slope = _slope(x, sigma, denoised)
        slopes = [slope, *slopes][:4]
        if len(slopes) == 1:
            # the first has no other before it: it looks one step ahead
            if after > 0:
                second = x + slope * (after - sigma)
                slope = (slope + _slope(second, after, denoise(second, after))) / 2
        else:
            shares = IPNDM[len(slopes) - 1]
            slope = sum(
                (one * share for one, share in zip(slopes, shares, strict=True)),
                start=torch.zeros(()).to(x),
            )
        x = x + slope * (after - sigma)
        yield Step(i, _without_the_rest(x, i, sigmas), denoised)


def unipc(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zhao et al., "UniPC", of third order with B(h) = h, the last steps of lower order."""
    last = len(sigmas) - 2
    if sampling.conventions == "comfyui" and not sampling.flow and sigmas[-1] == 0:
        sigmas = torch.cat((sigmas[:-1], torch.tensor([COMFYUI_END])))
    levels = [float(-sigma.log()) if sigma > 0 else math.inf for sigma in sigmas]
    known: list[tuple[float, torch.Tensor]] = [(levels[0], denoise(x, sigmas[0]))]
    for i, (_, after) in _steps(sigmas):
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
        yield Step(i, _without_the_rest(x, i, sigmas), denoised)


def lcm(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Luo et al., "Latent Consistency Models": the picture at once, and new noise."""
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        x = sampling.again(denoised, noise.normal(x), after) if after > 0 else denoised
        yield Step(i, x, denoised)


def tcd(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zheng et al., "Trajectory Consistency Distillation": part of the noise stays, part is new."""
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            kept = sampling.sigma_of((1 - TCD_ETA) * sampling.timestep(after))
            slope = _slope(x, sigma, denoised)
            x = denoised + slope * kept + noise.normal(x) * (after**2 - kept**2).clamp(min=0).sqrt()
        yield Step(i, x, denoised)


def ddpm(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Ho et al., "Denoising Diffusion Probabilistic Models"."""
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        signal, signal_after = 1 / (sigma**2 + 1), 1 / (after**2 + 1)
        kept = signal / signal_after
        scaled = x * signal.sqrt()
        slope = _slope(x, sigma, denoised)
        x = (scaled - (1 - kept) * slope / (1 - signal).sqrt()) / kept.sqrt()
        if after > 0:
            spread = ((1 - kept) * (1 - signal_after) / (1 - signal)).sqrt()
            x = (x + spread * noise.normal(x)) / signal_after.sqrt()
        yield Step(i, x, denoised)


def deis(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator"."""
    slopes: list[torch.Tensor] = []
    times, begin, end = _vp_times(sigmas)
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        slopes = [_slope(x, sigma, denoised), *slopes][:DEIS_ORDER]
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
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        slopes = [_slope(x, sigma, denoised), *slopes][:4]
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
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0 or before is None:
            x = x + _slope(x, sigma, denoised) * (after - sigma)
        else:
            width = _log_ratio(sigma, after)
            place = -_log_ratio(sigmas[i - 1], sigma) / width
            first = torch.expm1(-width) / -width
            second = (first - 1) / -width
            share = second / place
            x = (-width).exp() * x + width * ((first - share) * denoised + share * before)
        before = denoised
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
    for i, (sigma, after) in _steps(levels):
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


def gradient_estimation(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, sampling: ModelSampling
) -> Iterator[Step]:
    """Permenter and Yuan, "Interpreting and Improving Diffusion Models"."""
    before: torch.Tensor | None = None
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        slope = _slope(x, sigma, denoised)
        if after == 0:
            x = denoised
        else:
            estimate = slope if before is None else slope + (ESTIMATION - 1) * (slope - before)
            x = x + estimate * (after - sigma)
        before = slope
        yield Step(i, x, denoised)


SAMPLING: Final[dict[str, SamplerFunction]] = {
    "Euler": euler,
    "Euler a": euler_ancestral,
    "Heun": heun,
    "Heun++ 2": heunpp2,
    "LMS": lms,
    "DPM2": dpm_2,
    "DPM2 a": dpm_2_ancestral,
    "DPM++ 2S a": dpmpp_2s_ancestral,
    "DPM++ SDE": dpmpp_sde,
    "DPM++ 2M": dpmpp_2m,
    "DPM++ 2M SDE": dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": dpmpp_2m_sde_heun,
    "DPM++ 3M SDE": dpmpp_3m_sde,
    "Restart": restart,
    "DDIM": ddim,
    "DDIM CFG++": ddim_cfg_pp,
    "PLMS": plms,
    "UniPC": unipc,
    "LCM": lcm,
    "TCD": tcd,
    "DDPM": ddpm,
    "DEIS": deis,
    "IPNDM": ipndm,
    "Res Multistep": res_multistep,
    "ER SDE": er_sde,
    "Gradient Estimation": gradient_estimation,
}


def _steps(sigmas: torch.Tensor) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
    return enumerate(pairwise(sigmas))


def _slope(x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor) -> torch.Tensor:
    """dx / dsigma: the noise that is left in x."""
    return (x - denoised) / sigma


def _log_ratio(sigma: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """How far apart two levels are on the logarithmic scale of DPM-Solver."""
    return sigma.log() - after.log()


def _decayed(
    x: torch.Tensor, sigma: torch.Tensor, after: torch.Tensor, towards: torch.Tensor
) -> torch.Tensor:
    """x at a lower level, if the denoised picture stays `towards`."""
    ratio = after / sigma
    return ratio * x - (ratio - 1) * towards


def _between(sigma: torch.Tensor, after: torch.Tensor, flow: bool) -> torch.Tensor:
    """The level half way of two on the scale of the logarithm of noise to picture."""
    if not flow:
        return (sigma * after).sqrt()
    if sigma == 1:
        return torch.tensor(0.9999)
    return torch.sigmoid((torch.logit(sigma) + torch.logit(after)) / 2)


def _down_and_up(sigma: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Down to which level a step goes, and how much noise brings it up again to `after`."""
    up = torch.minimum(after, (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5)
    return (after**2 - up**2) ** 0.5, up


def _ancestral(
    sigma: torch.Tensor, after: torch.Tensor, flow: bool
) -> tuple[torch.Tensor, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """The level that an ancestral step goes down to, and how noise is put on what it came to."""
    if not flow:
        down, up = _down_and_up(sigma, after)
        return down, lambda x, noise: x + noise * up
    down = after * (after / sigma)
    ratio = (1 - after) / (1 - down)
    amount = (after**2 - down**2 * ratio**2) ** 0.5
    return down, lambda x, noise: ratio * x + noise * amount


def _heun_step(
    denoise: Denoise, x: torch.Tensor, sigma: torch.Tensor, after: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    denoised = denoise(x, sigma)
    slope = _slope(x, sigma, denoised)
    if after != 0:
        second = x + slope * (after - sigma)
        slope = (slope + _slope(second, after, denoise(second, after))) / 2
    return x + slope * (after - sigma), denoised


def _midpoint_step(
    denoise: Denoise,
    x: torch.Tensor,
    sigma: torch.Tensor,
    after: torch.Tensor,
    denoised: torch.Tensor,
) -> torch.Tensor:
    slope = _slope(x, sigma, denoised)
    if after != 0:
        middle = (sigma * after).sqrt()
        second = x + slope * (middle - sigma)
        slope = _slope(second, middle, denoise(second, middle))
    return x + slope * (after - sigma)


def _dpmpp_2m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Streams, *, heuns: bool
) -> Iterator[Step]:
    """Lu et al., "DPM-Solver++", SDE form of second order over two steps."""
    path = noise.brownian(x, sigmas)
    before: torch.Tensor | None = None
    width_before = torch.ones(())
    for i, (sigma, after) in _steps(sigmas):
        denoised = denoise(x, sigma)
        if after == 0:
            x = denoised
        else:
            width = _log_ratio(sigma, after)
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


def _with_restarts(sigmas: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The pairs of levels that restart sampling goes through, from so many sigmas of its job."""
    steps, again, times = len(sigmas) - 1, 0, 0
    if steps >= 20:
        again, times = (9, 1) if steps < 36 else (steps // 4, 2)
    if not times:
        return list(pairwise(sigmas))
    low, high = float(sigmas[-2]), float(sigmas[0])
    shorter = torch.cat((karras_between(low, high, steps - again * times), torch.zeros(1)))
    back = int((shorter - 0.1).abs().argmin())
    top = int((shorter - 2.0).abs().argmin())
    plan: list[tuple[torch.Tensor, torch.Tensor]] = []
    for i in range(len(shorter) - 1):
        plan.append((shorter[i], shorter[i + 1]))
        if i + 1 == back and top < back:
            loop = karras_between(float(shorter[back]), float(shorter[top]), again + 1)
            plan += list(pairwise(loop)) * times
    return plan


def _without_the_rest(x: torch.Tensor, step: int, sigmas: torch.Tensor) -> torch.Tensor:
    """What runs over timesteps ends at the first, with its noise, and scales it away."""
    return x / (1 + sigmas[-1] ** 2) ** 0.5 if step == len(sigmas) - 2 else x


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


def _er_noise(ratio: torch.Tensor) -> torch.Tensor:
    return ratio * ((ratio**0.3).exp() + 10)


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
