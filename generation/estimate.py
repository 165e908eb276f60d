"""How long a job will take, from how long others took."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from operator import attrgetter
from typing import Final

import msgspec

from generation import hires
from generation.course import Course, Times
from generation.enlarging import second_pass
from generation.job import Job
from generation.request import GenerationRequest
from generation.samplers import SAMPLERS, sampler_of
from generation.schedule import Planned

RATE: Final = 0.5
"""Seconds for a step of a megapixel where nothing was measured: a middling GPU."""
LOADING: Final = 10.0
"""Seconds to load a model where that was not measured."""
MEASURED: Final = 300
"""Finished jobs, the newest, that the estimates go by."""
RECENT: Final = 15
"""Measurements of one kind that count; a machine may be faster today than last year."""
SHORTEST: Final = 0.05
"""Seconds; a job that costs nothing would have no place in a fair order."""
LOADED: Final = 0.1
"""Seconds of loading below which a model was in memory."""
APART: Final = 1.5
"""Ratio of steps from which two measurements tell what a step takes."""
TILE_STRIDE: Final = 0.75
"""Of a tile's side, from one tile to the next."""


class Measurement(msgspec.Struct, frozen=True):
    """A finished job: its request, and its seconds with and for the loading of its model."""

    request: GenerationRequest
    seconds: float
    seconds_loading: float
    worker: str = ""
    """Who made it; "" where that was not noted."""


class Speed(msgspec.Struct, frozen=True):
    """Seconds that a megapixel of one picture takes: `fixed`, and `step` times network calls."""

    step: float
    fixed: float = 0.0

    def seconds(self, request: GenerationRequest) -> float:
        """For all pictures of a request, its model loaded."""
        each = self.fixed + self.step * calls(request)
        return max(SHORTEST, each * megapixels(request) * request.count)


def calls(request: GenerationRequest) -> float:
    """Network calls for one picture; one without guidance is half of one with it."""
    if request.only_enlarges or request.describing is not None:
        return 1.0
    if request.enlargement is not None:
        request = second_pass(request)
    if request.hires is not None:
        # as many of the second pass would take as long as both do
        small, large = hires.passes(request)
        return calls(large) + calls(small) * megapixels(small) / megapixels(large)
    share = request.denoising_strength if request.init_picture is not None else 1.0
    sampler = SAMPLERS.get(sampler_of(request))
    guided = 1.0 if request.guidance_scale > 1 else 0.5
    return max(1.0, request.steps * share) * (sampler.order if sampler else 1) * guided


def megapixels(request: GenerationRequest) -> float:
    """What the denoiser sees of one picture; where there are tiles, all of them together. Of one
    that is only enlarged, what comes out; one that is described is seen at the same size each time.
    """
    if request.describing is not None:
        return 1.0
    if request.enlargement is not None:
        if request.only_enlarges:
            return request.enlargement.width * request.enlargement.height / 1e6
        request = second_pass(request)
    if request.hires is not None:
        request = hires.second_pass(request)
    across, down = _seen(request.width, request.tile), _seen(request.height, request.tile)
    return across * down / 1e6


def _seen(length: int, tile: int) -> int:
    if not tile or length <= tile:
        return length
    return tile * (1 + math.ceil((length - tile) / (tile * TILE_STRIDE)))


class Estimates:
    """Times by model and size, from measurements in the order of their making, newest first.

    A size that was never measured goes by the model's others, per megapixel; a model that was not,
    by the times of `others`, and without them by all models'.
    """

    def __init__(
        self, measurements: Iterable[Measurement] = (), others: "Estimates | None" = None
    ) -> None:
        self._others = others
        self._points: dict[tuple[object, ...], list[tuple[float, float]]] = {}
        """By kind, model, or nothing: network calls, and seconds of a picture's megapixel."""
        self._speeds: dict[tuple[object, ...], Speed] = {}
        self._loading: dict[str, list[float]] = {}
        self._loads: dict[str, float] = {}
        """What `loading` has found already."""
        newest_first = list(measurements)
        models = [measured.request.checkpoint for measured in newest_first]
        for measured, model_before in zip(newest_first, [*models, None][1:], strict=True):
            self._add(measured, model_before)

    def _add(self, measured: Measurement, model_before: str | None) -> None:
        request = measured.request
        making = max(0.0, measured.seconds - measured.seconds_loading)
        point = (calls(request), making / (megapixels(request) * request.count))
        for kind in _kinds(request):
            points = self._points.setdefault(kind, [])
            if len(points) < RECENT:
                points.append(point)
        # a swap to a model that is kept in memory takes next to nothing, and counts as such
        model = request.checkpoint
        swapped = bool(model_before) and model_before != model
        if model and (swapped or measured.seconds_loading > LOADED):
            self._loading.setdefault(model, []).append(measured.seconds_loading)

    def making(self, request: GenerationRequest) -> float:
        """Seconds that a request takes once its model is loaded."""
        for kind in _kinds(request):
            if not kind and self._others is not None:
                return self._others.making(request)
            if kind in self._points:
                if kind not in self._speeds:
                    self._speeds[kind] = _fit(self._points[kind])
                return self._speeds[kind].seconds(request)
        return Speed(RATE).seconds(request)

    def measured(self, request: GenerationRequest) -> float | None:
        """As `making`, by measurements of its own model; None where there are none."""
        if (request.model,) in self._points:
            return self.making(request)
        return None if self._others is None else self._others.measured(request)

    def loading(self, model: str) -> float:
        """Seconds from a job of another model to the first of this one; "" needs none."""
        if not model:
            return 0.0
        if model not in self._loads:
            self._loads[model] = self._median_load(model)
        return self._loads[model]

    def _median_load(self, model: str) -> float:
        measured = self._loading.get(model)
        if measured:
            return statistics.median(measured[:RECENT])
        if self._others is not None:
            return self._others.loading(model)
        others = [seconds for times in self._loading.values() for seconds in times[:RECENT]]
        return statistics.median(others) if others else LOADING


def _kinds(request: GenerationRequest) -> tuple[tuple[object, ...], ...]:
    """What a request is measured with, from the most like it to all."""
    if request.describing is not None:
        seen_by = (request.describing.tagger, request.describing.captioner)
        return (("", *seen_by), ("describing",))
    if request.enlargement is not None:
        if request.only_enlarges:
            return (("", request.enlargement.upscaler), ("",))
        request = second_pass(request)
    shown = (len(request.controls), len(request.shown))
    size: tuple[object, ...] = (
        *(request.width * request.height, request.tile, *shown, request.refiner),
    )
    if request.hires is not None:
        size = (*size, request.drawn_size, request.hires_upscaler, request.hires_model)
    return ((request.model, *size), (request.model,), ())


def _fit(points: Sequence[tuple[float, float]]) -> Speed:
    """A line through (calls, seconds) by the medians of slopes and rests (Theil and Sen): what is
    far off, because the machine was busy or asleep, does not move it.
    """
    slopes = [
        (second[1] - first[1]) / (second[0] - first[0])
        for first, second in combinations(sorted(points), 2)
        if second[0] >= first[0] * APART
    ]
    if slopes:
        step = statistics.median(slopes)
        fixed = statistics.median(seconds - step * x for x, seconds in points)
        if step > 0 and fixed >= 0:
            return Speed(step, fixed)
    return Speed(statistics.median(seconds / x for x, seconds in points))


class Hand(msgspec.Struct, frozen=True):
    """A worker as the plan sees it: when it is free, and what it has loaded then."""

    name: str
    loaded: str
    times: Times
    seconds_left: float = 0.0
    runs: Callable[[Job], bool] | None = None
    """Which jobs it can run; None for all."""

    def takes(self, job: Job) -> bool:
        """Whether it can run a job."""
        return self.runs is None or self.runs(job)


def plan(
    course: Course, hands: Sequence[Hand], held_for: Mapping[int, str] | None = None
) -> Iterator[Planned | None]:
    """When each of the jobs will run, and on which worker: the next of the order goes to who is
    free first and can run it; what is held for a worker, to that one.

    Gives None wherever it finds that among the jobs.
    """
    held_for = held_for or {}
    free = {hand.name: hand for hand in hands}
    place = 0
    while free:
        course.loaded = min(free.values(), key=attrgetter("seconds_left")).loaded
        try:
            job = next(course)
        except StopIteration:
            return
        if job is None:
            yield None
            continue
        able = [hand for hand in free.values() if hand.takes(job)] or list(free.values())
        hand = free.get(held_for.get(job.id, "")) or min(able, key=attrgetter("seconds_left"))
        model = job.request.checkpoint or hand.loaded
        swap = model != hand.loaded
        done = hand.seconds_left + hand.times.making(job.request)
        if swap:
            done += hand.times.loading(model)
        yield Planned(job, place, hand.seconds_left, done, swap, hand.name)
        free[hand.name] = msgspec.structs.replace(hand, loaded=model, seconds_left=done)
        place += 1
