"""Where a job can be drawn: wherever all of its files are."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from generation import embedding_uses, preparing
from generation.catalog import Catalog
from generation.fleet.catalog import FleetCatalog
from generation.job import Job, JobState, Origin
from generation.messages import Describe, EngineWork, Generate
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.waiting_jobs import Breath

REMEMBERED: Final = 100_000
"""Jobs of which it is known what they need."""

_Shape = tuple[object, ...]


class Places:
    """Which of the machines can draw a request, by what each has."""

    def __init__(self, catalog: FleetCatalog, *, here: bool) -> None:
        self._catalog = catalog
        self._here = here
        self.may_draw: Callable[[str], bool] = lambda _host: True
        """Whether a host does what else is asked of one."""
        self._version = -1
        self._words: frozenset[str] = frozenset()
        """Which embeddings there are: whether prompts hold them has a say in what they need."""
        self._kinds: dict[object, int] = {}
        """What requests need, which is the same for many, by numbers."""
        self._kind_of: dict[int, int] = {}
        """By job."""
        self._known: dict[tuple[int, str], bool] = {}
        """Whether that machine has what that kind needs."""

    def of(self, request: GenerationRequest) -> tuple[str, ...]:
        """The machines that have all of its files, here "", also those that are away."""
        job = _job(request)
        here = ("",) if self._here and self._draws(job, self._catalog.own) else ()
        hosts = self._catalog.hosts
        return (*here, *(host for host in hosts if self._draws(job, hosts[host])))

    def runs_here(self, job: Job) -> bool:
        """Whether the bot's own machine can draw a job."""
        return self._runs(job, "")

    def runs_on(self, host: str) -> Callable[[Job], bool]:
        """Whether that host can."""
        return lambda job: self.may_draw(host) and self._runs(job, host)

    def _runs(self, job: Job, host: str) -> bool:
        key = (self._kind(job), host)
        if key not in self._known:
            catalog = self._catalog.of(host) if host else self._catalog.own
            self._known[key] = self._draws(job, catalog)
        return self._known[key]

    async def learn(self, jobs: Iterable[Job]) -> None:
        """Work out what many jobs need before anybody asks, letting others go first in between."""
        breath = Breath()
        for job in jobs:
            self._kind(job)
            await breath.take()

    def _kind(self, job: Job) -> int:
        """The number of what a job needs."""
        if self._version != self._catalog.version:
            self._version = self._catalog.version
            self._known.clear()
            words = frozenset(one.path.stem for one in self._catalog.embeddings)
            if words != self._words:
                self._words = words
                self._forget()
        if len(self._kind_of) > REMEMBERED:
            self._forget()
        kind = self._kind_of.get(job.id)
        if kind is None:
            kind = self._kinds.setdefault(self._needs(job.request), len(self._kinds))
            self._kind_of[job.id] = kind
        return kind

    def _forget(self) -> None:
        for known in (self._known, self._kinds, self._kind_of):
            known.clear()

    def _needs(self, request: GenerationRequest) -> object:
        """The request but for what has no say in which files it needs."""
        words = embedding_uses.words_in(request, self._catalog)
        return msgspec.structs.replace(request, prompt="", negative_prompt="", seed=0), words

    def _draws(self, job: Job, catalog: Catalog) -> bool:
        """Whether what is in a catalogue suffices, and makes of the request what all together would
        make of it: a word that is an embedding elsewhere is no mere word there.
        """
        try:
            there = _shape(preparing.found_for(job, catalog))
        except Refused:
            return False
        try:
            return there == _shape(preparing.found_for(job, self._catalog))
        except Refused:
            # what all together can't draw is refused by whoever draws it
            return True


def _shape(work: EngineWork) -> _Shape:
    """What of a job's files may be left out without a word where they are not there."""
    if isinstance(work, Describe):
        return (work.tagger is None, work.captioner is None)
    done = work.finishing
    finishing = (done.restorer is None, done.detector is None, done.remover is None)
    annotators = tuple(sorted(work.annotators))
    if not isinstance(work, Generate):
        return (finishing, annotators, work.upscaler is None)
    embeddings = tuple(sorted(file.name for file in work.embeddings))
    return (finishing, annotators, work.upscaler is None, embeddings)


def _job(request: GenerationRequest) -> Job:
    return Job(
        id=0,
        state=JobState.QUEUED,
        request=request,
        origin=Origin(user_id=0, user_name=""),
        created_at=datetime.now(UTC),
    )
