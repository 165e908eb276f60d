"""Restart sampling: a part of the steps is gone back over."""

from collections.abc import Iterator
from itertools import pairwise

import torch

from generation.runtime.model_sampling import ModelSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers.deterministic import heun_step
from generation.runtime.samplers.step import Denoise, Step
from generation.runtime.schedules import karras_between


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
        x, denoised = heun_step(denoise, x, sigma, after)
        level = after
        yield Step(min(i, total - 1) if i < len(plan) - 1 else total - 1, x, denoised)


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
