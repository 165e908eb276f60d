"""Which jobs ComfyUI draws, of several workers or alone."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from generation import preparing
from generation.catalog import Catalog
from generation.comfyui import expressing
from generation.comfyui.names import Names
from generation.job import Job, JobState, Origin
from generation.refusal import Refused
from generation.request import GenerationRequest

REMEMBERED = 10_000
"""Jobs of which it is known whether it can draw them."""


class ComfyUI(Protocol):
    """What is to be known of one that runs."""

    @property
    def there(self) -> bool:
        """Whether it answered when it was asked last."""

    @property
    def names(self) -> Names | None:
        """What it had when it was asked last."""


class ComfyUIPlaces:
    """`engines` are all of them, by worker. Where nothing else draws (`alone`), one of them takes
    what none can draw, and says why.
    """

    def __init__(self, engines: Mapping[str, ComfyUI], catalog: Catalog, *, alone: bool) -> None:
        self._engines = engines
        self._catalog = catalog
        self._alone = alone
        self._known: dict[str, tuple[Names | None, dict[int, bool]]] = {}

    def check(self, worker: str, request: GenerationRequest) -> None:
        """Raise Refused for what it can't draw, as far as that is known before it is told."""
        names = self._engines[worker].names
        expressing.check(request, names)
        expressing.check_work(preparing.found_for(_job(request), self._catalog), names)

    def runs(self, worker: str) -> Callable[[Job], bool]:
        """Which jobs are for it."""

        def runs(job: Job) -> bool:
            if not self._engines[worker].there:
                return False
            if self._can(worker, job):
                return True
            return self._alone and not any(self._can(other, job) for other in self._engines)

        return runs

    def _can(self, worker: str, job: Job) -> bool:
        names = self._engines[worker].names
        asked, known = self._known.get(worker, (None, {}))
        if asked is not names or len(known) > REMEMBERED:
            known = {}
            self._known[worker] = names, known
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
