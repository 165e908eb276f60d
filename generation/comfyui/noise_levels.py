"""When a ControlNet acts: a request says it by shares of the steps, and ComfyUI by how far the
noise has fallen, so that the limits are laid between the noise levels of two steps.

What is 999 at the most noise and 0 at the least are the timesteps of Stable Diffusion's training,
also between two. Sources of the schedules: see `generation/runtime/schedules.py`.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from generation.request import GenerationRequest
from generation.request_parts import ControlUse
from generation.samplers import SAMPLERS, UNIFORM, sampler_of, schedule_of

Timesteps = np.ndarray[Any, np.dtype[np.float64]]
LAST: Final = 999
RHO: Final = 7.0
AHEAD: Final = "UniPC"
"""A sampler that asks the network for the noise that a step ends with."""


@functools.cache
def _logarithms() -> Timesteps:
    """Of the noise level of each timestep."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, LAST + 1) ** 2
    signal = np.cumprod(1 - betas)
    return np.log(((1 - signal) / signal) ** 0.5)


def _timesteps(logarithms: Timesteps) -> Timesteps:
    known = _logarithms()
    return np.interp(logarithms, known, np.arange(len(known)))


def _karras(n: int) -> Timesteps:
    known = np.exp(_logarithms())
    small, large = known[0] ** (1 / RHO), known[-1] ** (1 / RHO)
    return _timesteps(RHO * np.log(large + np.linspace(0, 1, n) * (small - large)))


def _exponential(n: int) -> Timesteps:
    known = _logarithms()
    return _timesteps(np.linspace(known[-1], known[0], n))


def _normal(n: int) -> Timesteps:
    return np.linspace(LAST, 0, n)


def _sgm_uniform(n: int) -> Timesteps:
    return np.linspace(LAST, 0, n + 1)[:-1]


def _simple(n: int) -> Timesteps:
    return np.array([LAST - int(x * (LAST + 1) / n) for x in range(n)], float)


SCHEDULES: Final[dict[str, Callable[[int], Timesteps]]] = {
    UNIFORM: _normal,
    "Normal": _normal,
    "SGM Uniform": _sgm_uniform,
    "Simple": _simple,
    "Karras": _karras,
    "Exponential": _exponential,
}
"""The timesteps that so many steps begin at, by schedule type."""


def knows(request: GenerationRequest) -> bool:
    """Whether it is known at which noise the steps of a request begin, and that the network is
    called for no other.
    """
    sampler = sampler_of(request)
    once = SAMPLERS[sampler].order == 1 and sampler != AHEAD
    return once and schedule_of(request) in SCHEDULES


def shares(request: GenerationRequest, use: ControlUse, *, begun: bool) -> tuple[float, float]:
    """ComfyUI's start and end of a ControlNet; `begun` says that the pass goes over a picture."""
    if (use.start, use.end) == (0.0, 1.0):
        return 0.0, 1.0
    steps = request.steps
    first = next((n for n in range(steps) if n / steps >= use.start), steps)
    last = next((n for n in range(steps) if n / steps >= use.end), steps)
    times = _begin_at(request, begun=begun)

    def before(step: int) -> float:
        if step == 0:
            return 0.0
        if step >= steps:
            return 1.0
        return float(1 - (times[step - 1] + times[step]) / 2 / LAST)

    return before(first), 1.0 if use.end >= 1 else before(last)


def _begin_at(request: GenerationRequest, *, begun: bool) -> Timesteps:
    """The timesteps at which its steps begin."""
    steps = request.steps
    if begun and 0 < request.denoising_strength < 1:
        steps = int(steps / request.denoising_strength)
    return SCHEDULES[schedule_of(request)](steps)[-request.steps :]
