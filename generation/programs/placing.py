"""Which jobs programs of others draw, of several workers or alone."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from generation import preparing
from generation.catalog import Catalog
from generation.job import Job, JobState, Origin
from generation.messages import EngineWork
from generation.refusal import Refused
from generation.request import GenerationRequest

REMEMBERED = 10_000
"""Jobs of which it is known whether one can draw them."""


class Program(Protocol):
    """What is to be known of one that runs."""

    @property
    def there(self) -> bool:
        """Whether it answered when it was asked last."""

    @property
    def told(self) -> object:
        """What it said of itself then; another once that has changed."""

    def check(self, request: GenerationRequest) -> None:
        """Raise Refused for what it can't be told."""

    def check_work(self, work: EngineWork) -> None:
        """The same, and for files that it can't load or does not find."""


class ProgramPlaces:
    """`programs` are all of them, by worker. Where nothing else draws (`alone`), one of them takes
    what none can draw, and says why.
    """

    def __init__(self, programs: Mapping[str, Program], catalog: Catalog, *, alone: bool) -> None:
        self._programs = programs
        self._catalog = catalog
        self._alone = alone
        self._known: dict[str, tuple[object, dict[int, bool]]] = {}

    def check(self, worker: str, request: GenerationRequest) -> None:
        """Raise Refused for what it can't draw, as far as that is known before it is told."""
        program = self._programs[worker]
        program.check(request)
        program.check_work(preparing.found_for(_job(request), self._catalog))

    def runs(self, worker: str) -> Callable[[Job], bool]:
        """Which jobs are for it now."""
        would = self.would(worker)
        return lambda job: self._programs[worker].there and would(job)

    def would(self, worker: str) -> Callable[[Job], bool]:
        """Which jobs are for it, also while it is away."""

        def would(job: Job) -> bool:
            if self._can(worker, job):
                return True
            return self._alone and not any(self._can(other, job) for other in self._programs)

        return would

    def _can(self, worker: str, job: Job) -> bool:
        told = self._programs[worker].told
        asked, known = self._known.get(worker, (None, {}))
        if asked is not told or len(known) > REMEMBERED:
            known = {}
            self._known[worker] = told, known
        if job.id not in known:
            try:
                self.check(worker, job.request)
            except Refused:
                known[job.id] = False
            else:
                known[job.id] = True
        return known[job.id]


def _job(request: GenerationRequest) -> Job:
    return Job(
        id=0,
        state=JobState.QUEUED,
        request=request,
        origin=Origin(user_id=0, user_name=""),
        created_at=datetime.now(UTC),
    )
