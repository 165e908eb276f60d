"""How well samplers solve: their order, where they end, and the noise that they draw.

The ancestral ones are held against plain formulations of what their sources publish: k-diffusion's
for models of noise, ComfyUI's for flow models.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from generation.abilities import NO_FLOW
from generation.runtime.model_sampling import FlowSampling, ModelSampling, discrete
from generation.runtime.noise import Streams
from generation.runtime.samplers import SAMPLING
from generation.runtime.schedules import sigmas_of, timeline
from generation.samplers import AUTOMATIC, SAMPLERS, SCHEDULES, read, sampler_of, schedule_of
from generation.samplers import schedule as schedule_named
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.test_samplers import Toy

SHAPE = (4, 4, 4)
SEEDS = (7, 8)
EPS = discrete({}, "a1111")
FLOW = FlowSampling(3.0)
MODELS = {
    "eps": EPS,
    "zero snr": discrete(
        {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, "a1111"
    ),
    "flow": FLOW,
}


def end(
    name: str,
    sigmas: torch.Tensor,
    sampling: ModelSampling,
    denoise: Any = None,
    x: torch.Tensor | None = None,
    seeds: tuple[int, ...] = SEEDS,
) -> torch.Tensor:
    noise = Streams(seeds)
    initial = noise.initial(SHAPE)
    begun = sampling.begin(initial, sigmas[0]) if x is None else x
    return list(SAMPLING[name](denoise or Toy(), begun, sigmas, noise, sampling))[-1].x


# plain formulations, on float64, with the same noise

Plain = Callable[[torch.Tensor, list[float], Callable[[], torch.Tensor]], torch.Tensor]


def model(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return Toy()(x, torch.tensor(sigma, dtype=torch.float64))


def up_down(sigma: float, after: float) -> tuple[float, float]:
    up = min(after, math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2))
    return math.sqrt(after**2 - up**2), up


def euler_a(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    for i in range(len(sigmas) - 1):
        down, up = up_down(sigmas[i], sigmas[i + 1])
        slope = (x - model(x, sigmas[i])) / sigmas[i]
        x = x + slope * (down - sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + noise() * up
    return x


def dpm2_a(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    for i in range(len(sigmas) - 1):
        down, up = up_down(sigmas[i], sigmas[i + 1])
        slope = (x - model(x, sigmas[i])) / sigmas[i]
        if down == 0:
            x = x + slope * (down - sigmas[i])
        else:
            middle = math.exp((math.log(sigmas[i]) + math.log(down)) / 2)
            second = x + slope * (middle - sigmas[i])
            x = x + (second - model(second, middle)) / middle * (down - sigmas[i])
            x = x + noise() * up
    return x


def dpmpp_2s_a(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    for i in range(len(sigmas) - 1):
        down, up = up_down(sigmas[i], sigmas[i + 1])
        denoised = model(x, sigmas[i])
        if down == 0:
            x = x + (x - denoised) / sigmas[i] * (down - sigmas[i])
        else:
            t, after = -math.log(sigmas[i]), -math.log(down)
            h = after - t
            s = t + h / 2
            second = math.exp(-s) / math.exp(-t) * x - math.expm1(-h / 2) * denoised
            denoised = model(second, math.exp(-s))
            x = math.exp(-after) / math.exp(-t) * x - math.expm1(-h) * denoised
            x = x + noise() * up
    return x


def lcm(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    for i in range(len(sigmas) - 1):
        x = model(x, sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + noise() * sigmas[i + 1]
    return x


def lcm_flow(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    for i in range(len(sigmas) - 1):
        x = model(x, sigmas[i])
        if sigmas[i + 1] > 0:
            x = sigmas[i + 1] * noise() + (1 - sigmas[i + 1]) * x
    return x


def ddpm(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    for i in range(len(sigmas) - 1):
        eps = (x - model(x, sigmas[i])) / sigmas[i]
        total, before = 1 / (sigmas[i] ** 2 + 1), 1 / (sigmas[i + 1] ** 2 + 1)
        alpha = total / before
        small = x / math.sqrt(1 + sigmas[i] ** 2)
        x = math.sqrt(1 / alpha) * (small - (1 - alpha) * eps / math.sqrt(1 - total))
        if sigmas[i + 1] > 0:
            x = x + math.sqrt((1 - alpha) * (1 - before) / (1 - total)) * noise()
            x = x * math.sqrt(1 + sigmas[i + 1] ** 2)
    return x


def euler_a_flow(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i])
        if sigmas[i + 1] == 0:
            return denoised
        down = sigmas[i + 1] * (1 + (sigmas[i + 1] / sigmas[i] - 1))
        again = math.sqrt(sigmas[i + 1] ** 2 - down**2 * (1 - sigmas[i + 1]) ** 2 / (1 - down) ** 2)
        ratio = down / sigmas[i]
        x = ratio * x + (1 - ratio) * denoised
        x = (1 - sigmas[i + 1]) / (1 - down) * x + noise() * again
    return x


def restart(x: torch.Tensor, sigmas: list[float], noise: Callable[[], torch.Tensor]) -> Any:
    """Of 22 steps: 13 of Karras, and nine once more from where 0.1 is near to where 2 is."""

    def between(low: float, high: float, n: int) -> list[float]:
        ends = low ** (1 / 7), high ** (1 / 7)
        return [(ends[1] + i / (n - 1) * (ends[0] - ends[1])) ** 7 for i in range(n)]

    shorter = [*between(sigmas[-2], sigmas[0], 13), 0.0]
    back = min(range(14), key=lambda i: abs(shorter[i] - 0.1))
    top = min(range(14), key=lambda i: abs(shorter[i] - 2))
    again = between(shorter[back], shorter[top], 10)
    path = [*pairwise(shorter[: back + 1])]
    path += pairwise(again)
    path += pairwise(shorter[back:])
    level = path[0][0]
    for sigma, after in path:
        if sigma > level:
            x = x + noise() * math.sqrt(sigma**2 - level**2)
        slope = (x - model(x, sigma)) / sigma
        second = x + slope * (after - sigma)
        if after > 0:
            slope = (slope + (second - model(second, after)) / after) / 2
        x = x + slope * (after - sigma)
        level = after
    return x


PLAIN: list[tuple[str, ModelSampling, Plain, int]] = [
    ("Euler a", EPS, euler_a, 8),
    ("DPM2 a", EPS, dpm2_a, 8),
    ("DPM++ 2S a", EPS, dpmpp_2s_a, 8),
    ("LCM", EPS, lcm, 8),
    ("DDPM", EPS, ddpm, 8),
    ("Restart", EPS, restart, 22),
    ("Euler a", FLOW, euler_a_flow, 8),
    ("LCM", FLOW, lcm_flow, 8),
    ("DDPM", FLOW, ddpm, 8),
]


@pytest.mark.parametrize(("name", "sampling", "plain", "steps"), PLAIN)
def test_samplers_that_draw_noise_are_those_of_their_sources(
    name: str, sampling: ModelSampling, plain: Plain, steps: int
) -> None:
    schedule = "Simple" if sampling.flow else "Karras"
    sigmas = sigmas_of(schedule, "Euler", sampling, steps)
    found = end(name, sigmas, sampling)
    streams = Streams(SEEDS)
    x = sampling.begin(streams.initial(SHAPE), sigmas[0]).double()
    expected = plain(x, sigmas.double().tolist(), lambda: streams.normal(x).double())
    assert float((found - expected).abs().max()) < 1e-4


# order


class Growth:
    """denoised(x, sigma) = x (1 - sigma cos(sigma)), so that dx / dsigma = x cos(sigma)."""

    uncond: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x * (1 - sigma * torch.cos(sigma))


@pytest.mark.parametrize(
    ("name", "order"),
    [("Euler", 1), ("Heun", 2), ("DPM2", 2), ("LMS", 2), ("IPNDM", 2), ("DPM++ 2M", 2)],
)
def test_the_error_falls_with_the_order_of_a_sampler(name: str, order: int) -> None:
    """From 2 to 1, where x = exp(sin(sigma)) up to a factor."""
    errors = []
    for steps in (20, 40, 80):
        sigmas = torch.linspace(math.log(2), 0, steps + 1, dtype=torch.float64).exp()
        x = torch.ones(1, *SHAPE, dtype=torch.float64)
        found = end(name, sigmas, EPS, Growth(), x)
        errors.append(float((found - math.exp(math.sin(1) - math.sin(2))).abs().max()))
    for coarse, fine in pairwise(errors):
        if fine > 1e-9:
            assert coarse / fine > 2**order * 0.7, errors
    if order == 1:
        assert errors[0] / errors[1] < 2.5


# where they end


class Perfect:
    """A model that always sees the same picture."""

    def __init__(self) -> None:
        self.calls = 0
        self.uncond: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.uncond = torch.full_like(x, 0.7)
        return self.uncond


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_perfect_model_is_followed_to_its_picture(name: str, kind: str) -> None:
    sampling = MODELS[kind]
    for schedule in SCHEDULES.keys() - {AUTOMATIC} - (NO_FLOW if sampling.flow else set()):
        for steps in (3, 20) if schedule in ("Karras", "Beta") else (3,):
            perfect = Perfect()
            times = timeline(schedule, name, sampling, steps)
            found = end(name, times.sigmas, sampling, perfect)
            # what is left of the noise at the last sigma, which KL Optimal and timesteps end at
            assert float((found - 0.7).abs().max()) < 0.15 + 5 * float(times.sigmas[-1]), schedule
            done = len(times.sigmas) - 1
            assert done <= perfect.calls <= done * SAMPLERS[name].order + 1, schedule


@pytest.mark.parametrize("name", SAMPLERS)
def test_image_to_image_begins_anywhere(name: str) -> None:
    for strength in (0.05, 0.3, 0.75, 1.0):
        times = timeline("Karras", name, EPS, 20, strength)
        noise = Streams(SEEDS)
        start = torch.full((2, *SHAPE), -0.4)
        x = EPS.begin(noise.initial(SHAPE), times.noise, start) * times.gain
        assert len(times.sigmas) <= int(min(strength, 0.999) * 20) + 2
        if SAMPLERS[name].timesteps and strength < 0.3:
            # A1111 puts the noise of one timestep more on it than it takes off: of few, much
            continue
        found = list(SAMPLING[name](Perfect(), x, times.sigmas, noise, EPS))[-1].x
        assert float((found - 0.7).abs().max()) < 0.3, strength


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_picture_is_the_same_whatever_it_is_drawn_beside(name: str) -> None:
    sigmas = sigmas_of("Karras", name, EPS, 6)
    several = end(name, sigmas, EPS, seeds=(5, 6, 7, 8))
    alone = end(name, sigmas, EPS, seeds=(7,))
    assert torch.allclose(several[2:3], alone, atol=1e-6)


# names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("dpm++ 2m sde  exponential", ("DPM++ 2M SDE", "Exponential")),
        ("LMS Karras", ("LMS", "Karras")),
        ("euler A", ("Euler a", None)),
        ("PNDM", ("PLMS", None)),
        ("dpmpp_2m_sde", ("DPM++ 2M SDE", None)),
        ("DDIM", ("DDIM", None)),
        ("Eulr a", None),
        ("", None),
    ],
)
def test_samplers_are_known_by_every_name_that_they_had(name: str, expected: object) -> None:
    assert read(name) == expected


def test_schedules_are_known_by_both_names() -> None:
    assert schedule_named("sgm_uniform") == schedule_named("SGM uniform") == "SGM Uniform"
    assert schedule_named("ddim_uniform") == "DDIM"
    assert schedule_named("nothing") is None


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("DPM++ 2M", "Automatic", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE", "Automatic", ("DPM++ 2M SDE", "Exponential")),
        ("Euler a", "Automatic", ("Euler a", "Uniform")),
        ("DPM++ 2M", "Uniform", ("DPM++ 2M", "Uniform")),
        # as requests of before have it
        ("DPM++ 2M Karras", "Uniform", ("DPM++ 2M", "Karras")),
    ],
)
def test_what_a_request_is_drawn_with(
    sampler: str, schedule: str, expected: tuple[str, str]
) -> None:
    request = a_request(sampler=sampler, schedule=schedule)
    assert (sampler_of(request), schedule_of(request)) == expected
