"""Workers of other processes that take their jobs from the same queue, as they said last."""

import time

import msgspec

from generation.course import Times
from generation.engines.nats import NatsEngine
from generation.estimate import Hand
from generation.job import Job
from generation.waiting_jobs import Runs
from generation.worker import Worker


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a process tells the others of a worker of its own."""

    name: str
    device: str = ""
    """What it draws on; "" until it has started."""
    model: str = ""
    """The checkpoint that it has loaded."""
    model_after: str = ""
    """The checkpoint that it has loaded once it is free."""
    job: int | None = None
    """What it draws."""
    seconds_left: float = 0.0
    tells_all: bool = True
    """Whether its engine can be told all that a request may say."""
    host: str = ""
    """The machine that it is on, where that is met over NATS."""


async def status_of(worker: Worker) -> WorkerStatus:
    """A worker of this process as others are told of it."""
    hand = await worker.hand()
    return WorkerStatus(
        name=worker.name,
        device="" if worker.ready is None else worker.ready.device_name,
        model=worker.loaded,
        model_after=hand.loaded,
        job=None if worker.current is None else worker.current.id,
        seconds_left=hand.seconds_left,
        tells_all=worker.check is None,
        host=worker.engine.host if isinstance(worker.engine, NatsEngine) else "",
    )


class OtherWorker:
    """One of another process. `runs` says which jobs it can run; None for all, as processes have
    the same models, unless its engine can't be told all: then nobody here knows.
    """

    def __init__(self, status: WorkerStatus, runs: Runs | None = None) -> None:
        self.status = status
        self._runs = runs
        self._free_at = time.monotonic() + status.seconds_left

    @property
    def seconds_left(self) -> float:
        """Until it is free."""
        return max(0.0, self._free_at - time.monotonic())

    def takes(self, job: Job) -> bool:
        """Whether it can run a job."""
        return self.status.tells_all and (self._runs is None or self._runs(job))

    def hand(self, times: Times) -> Hand:
        """When it is free, and what it has loaded then."""
        name, model = self.status.name, self.status.model_after
        runs = None if self._runs is None and self.status.tells_all else self.takes
        return Hand(name, model, times, self.seconds_left, runs)
