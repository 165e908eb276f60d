"""How long a job will take, from how long others took."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from generation.job import Job
from generation.request import GenerationRequest
from generation.samplers import SAMPLERS
from generation.schedule import Planned

RATE: Final = 0.5
"""Seconds for a step of a megapixel where nothing was measured: a middling GPU."""
LOADING: Final = 10.0
"""Seconds to load a model where that was not measured."""
RECENT: Final = 15
"""Measurements of one kind that count; a machine may be faster today than last year."""
SHORTEST: Final = 0.05
"""Seconds; a job that costs nothing would have no place in a fair order."""


class Measurement(msgspec.Struct, frozen=True):
    """A finished job: its request, and its seconds with and for the loading of its model."""

    request: GenerationRequest
    seconds: float
    seconds_loading: float


def work(request: GenerationRequest) -> float:
    """What a request asks of the denoiser: network calls times megapixels, of all pictures."""
    share = request.denoising_strength if request.init_picture is not None else 1.0
    sampler = SAMPLERS.get(request.sampler)
    calls = max(1.0, request.steps * share) * (sampler.order if sampler else 1)
    return calls * request.width * request.height / 1e6 * request.count


class Estimates:
    """Rates by model and size, newest measurements first.

    A size that was never measured goes by the model's others, per megapixel; a model that was not,
    by all models'.
    """

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self._by_size: dict[tuple[str, int], list[float]] = {}
        self._by_model: dict[str, list[float]] = {}
        self._all: list[float] = []
        self._loading: dict[str, list[float]] = {}
        for measured in measurements:
            self._add(measured)

    def _add(self, measured: Measurement) -> None:
        request = measured.request
        rate = max(0.0, measured.seconds - measured.seconds_loading) / work(request)
        pixels = request.width * request.height
        for rates in (
            self._by_size.setdefault((request.model, pixels), []),
            self._by_model.setdefault(request.model, []),
            self._all,
        ):
            if len(rates) < RECENT:
                rates.append(rate)
        if measured.seconds_loading > 0.1:
            self._loading.setdefault(request.model, []).append(measured.seconds_loading)

    def making(self, request: GenerationRequest) -> float:
        """Seconds that a request takes once its model is loaded."""
        size = (request.model, request.width * request.height)
        for rates in (
            self._by_size.get(size),
            self._by_model.get(request.model),
            self._all,
        ):
            if rates:
                return max(SHORTEST, statistics.median(rates) * work(request))
        return max(SHORTEST, RATE * work(request))

    def loading(self, model: str) -> float:
        """Seconds that it takes to load a model."""
        measured = self._loading.get(model)
        if measured:
            return statistics.median(measured[:RECENT])
        others = [seconds for times in self._loading.values() for seconds in times[:RECENT]]
        return statistics.median(others) if others else LOADING


def plan(
    ordered: Sequence[Job], estimates: Estimates, *, loaded: str, seconds_left: float
) -> list[Planned]:
    """When each of the jobs in order will run, after a running job with `seconds_left`."""
    planned = []
    clock = seconds_left
    for place, job in enumerate(ordered):
        swap = job.request.model != loaded
        start = clock
        clock += estimates.making(job.request)
        if swap:
            clock += estimates.loading(job.request.model)
        loaded = job.request.model
        planned.append(Planned(job, place, start, clock, swap))
    return planned
