"""The single worker coroutine: the next job goes to the engine, what comes back is recorded."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, assert_never

import msgspec
import structlog

from generation import estimate, metadata, schedule
from generation.catalog import Catalog
from generation.engines import Engine, EngineError
from generation.estimate import Estimates, Measurement
from generation.job import (
    TRIES_AFTER_FAULT,
    Failure,
    IllegalTransitionError,
    Job,
    PictureRecord,
    Provenance,
)
from generation.messages import (
    Failed,
    Finished,
    Generate,
    JobEvent,
    Picture,
    Preview,
    Progress,
    Ready,
)
from generation.models import ModelKind
from generation.refusal import Refused
from generation.schedule import Planned

log = structlog.get_logger(__name__)

FAULTS = frozenset(("worker_died", "worker_hung"))
"""Failures that say nothing about the request: it is tried once more."""
PAUSE_AFTER_FAULT = 2.0
"""Seconds; an engine that cannot start must not spin."""
PAUSE_AFTER_ERROR = 5.0
"""Seconds until the database is asked again after an error."""
LOOK_AGAIN_AFTER = 1.0
"""Seconds; the command line of another process queues jobs too and can't wake us."""


NOTED_WITHIN = 5.0
"""Seconds that a stop waits for the database."""


class JobQueue(Protocol):
    """The jobs, as the worker sees the store."""

    async def waiting(self) -> Sequence[Job]:
        """The queued jobs."""

    async def measurements(self) -> Sequence[Measurement]:
        """How long recent jobs took, newest first."""

    async def claim(self, job_id: int) -> Job | None:
        """Make a queued job running; None when it is no longer queued."""

    async def begin(self, job_id: int) -> None:
        """Note that the pictures of a running job were begun: one more of its `attempts`."""

    async def requeue(self, job_id: int, attempts: int | None = None) -> Job:
        """Make a running job queued again, without the pictures it had; with `attempts`, as one
        that was begun only so many times.
        """

    async def add_picture(self, job_id: int, picture: PictureRecord, png: bytes) -> None:
        """Keep a finished picture and its file."""

    async def finish(self, job_id: int, provenance: Provenance) -> Job:
        """Make a running job finished."""

    async def fail(self, job_id: int, failure: Failure) -> Job:
        """Make a job failed, or cancelled when that is the failure."""

    async def read_upload(self, sha256: str) -> bytes:
        """The file of an init or control picture."""


Listener = Callable[[Job, JobEvent | None], None]
"""Told of a job's every event; None says that its record has changed (claimed, ended, requeued)."""


class Worker:
    """Takes jobs from the queue one by one, for as long as `run` runs."""

    def __init__(
        self, queue: JobQueue, engine: Engine, catalog: Catalog, *, affinity: float = 0.0
    ) -> None:
        self.current: Job | None = None
        self.loaded = ""
        """The checkpoint of the last job, which the next may use without loading."""
        self._queue = queue
        self._engine = engine
        self._catalog = catalog
        self._listeners: list[Listener] = []
        self._affinity = affinity
        self._turns = schedule.Turns()
        self._estimates: Estimates | None = None
        self._pace = Pace()
        self._begun = False
        """Whether the pictures of the running job are being drawn: before that, no try counts."""
        self._faults: dict[int, int] = {}
        """How often the engine broke under a job that has not ended."""
        self._wake = asyncio.Event()

    @property
    def ready(self) -> Ready | None:
        """What pictures are made on; None until the engine has started."""
        return self._engine.ready

    def listen(self, listener: Listener) -> None:
        """Have `listener` told of all that happens; it must return at once and never raise."""
        self._listeners.append(listener)

    def wake(self) -> None:
        """Say that a job was queued."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            try:
                job = await self._next()
            except Exception:
                log.exception("the queue can't be read")
                await asyncio.sleep(PAUSE_AFTER_ERROR)
                continue
            if job is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_AGAIN_AFTER)
                continue
            await self._work(job)

    async def run_only(self, job_id: int) -> None:
        """Work until this one job has ended, and touch no other."""
        try:
            while (job := await self._queue.claim(job_id)) is not None:
                await self._work(job)
        except asyncio.CancelledError:
            # whoever waited for it has left
            await self._before_stopping(self._queue.fail(job_id, Failure("cancelled")))
            raise

    async def cancel(self, job_id: int) -> None:
        """Stop a running job at its next denoising step; a waiting one is the store's to cancel."""
        if self.current is not None and self.current.id == job_id:
            await self._engine.cancel(str(job_id))

    async def plan(self) -> list[Planned]:
        """The waiting jobs in their order, with when each will run."""
        waiting = await self._queue.waiting()
        estimates = await self._known_times()
        loaded = self.loaded if self.current is None else self.current.request.model
        left = await self.seconds_left()
        ordered = schedule.order(
            waiting, self._turns, estimates, loaded=loaded, affinity=self._affinity
        )
        return estimate.plan(ordered, estimates, loaded=loaded, seconds_left=left)

    async def seconds_left(self) -> float:
        """Until the running job is done; 0 where none runs."""
        if self.current is None:
            return 0.0
        estimates = await self._known_times()
        expected = estimates.making(self.current.request)
        if self.current.request.model != self.loaded:
            expected += estimates.loading(self.current.request.model)
        return self._pace.left(expected)

    async def _next(self) -> Job | None:
        waiting = list(await self._queue.waiting())
        estimates = await self._known_times()
        if not waiting:
            self._turns = schedule.Turns()  # who comes next has nobody to catch up with
        while waiting:
            candidate, turns = schedule.next_job(
                waiting, self._turns, estimates, loaded=self.loaded, affinity=self._affinity
            )
            job = await self._queue.claim(candidate.id)
            if job is not None:
                self._turns = turns
                return job
            waiting.remove(candidate)
        return None

    async def _known_times(self) -> Estimates:
        if self._estimates is None:
            self._estimates = Estimates(await self._queue.measurements())
        return self._estimates

    async def _work(self, job: Job) -> None:
        self.current = job
        self._pace = Pace()
        self._begun = False
        try:
            await self._make(job)
        except asyncio.CancelledError:
            await self._before_stopping(self._queue.requeue(job.id, job.attempts))
            raise
        except Exception as error:
            # a full disk, a database that is locked for long: the queue must go on
            log.exception("the job can't be recorded", job=job.id)
            await self._give_up(job, error)
        finally:
            self.current = None
            self.loaded = job.request.model

    async def _before_stopping(self, noting: Coroutine[Any, Any, Job]) -> None:
        """Note what became of a job, within a time that a stop can wait."""
        try:
            job = await asyncio.wait_for(noting, NOTED_WITHIN)
        except IllegalTransitionError:
            return  # it had ended when the stop came
        except Exception as error:  # noqa: BLE001 - the next start finds it running and takes it up
            log.warning("a job is left as it is", error=str(error) or type(error).__name__)
        else:
            self.tell(job, None)

    async def _give_up(self, job: Job, error: Exception) -> None:
        """Note that a job failed, however long that takes: without it nobody would be told."""
        failed = Failed(str(job.id), "internal_error", detail=str(error))
        while True:
            try:
                await self._end_failed(job, failed)
            except IllegalTransitionError:
                return  # it had ended when the error came
            except Exception:
                log.exception("the failure can't be recorded", job=job.id)
                await asyncio.sleep(PAUSE_AFTER_ERROR)
            else:
                return

    async def _make(self, job: Job) -> None:
        self.tell(job, None)
        try:
            work = await self._prepare(job)
        except Refused as refused:
            await self._end_failed(job, Failed(str(job.id), refused.code, _texts(refused)))
            return
        try:
            # closed on cancellation too, which tells the engine to stop
            async with contextlib.aclosing(self._engine.generate(work)) as events:
                async for event in events:
                    await self._record(job, event)
        except EngineError as error:
            await self._record(job, Failed(str(job.id), "worker_died", detail=str(error)))

    async def _prepare(self, job: Job) -> Generate:
        """Find the files that the request names. They may have gone since it was accepted."""
        request = job.request
        hashes = {control.picture for control in request.controls}
        if request.init_picture is not None:
            hashes.add(request.init_picture)
        return Generate(
            job=str(job.id),
            request=request,
            checkpoint=self._catalog.get(ModelKind.CHECKPOINT, request.model),
            loras=tuple(self._catalog.get(ModelKind.LORA, use.name) for use in request.loras),
            controlnets=tuple(
                self._catalog.get(ModelKind.CONTROLNET, use.name) for use in request.controls
            ),
            pictures={sha256: await self._queue.read_upload(sha256) for sha256 in hashes},
            vae=self._catalog.get(ModelKind.VAE, request.vae) if request.vae is not None else None,
            one_by_one=job.attempts > 0,
        )

    async def _record(self, job: Job, event: JobEvent) -> None:
        match event:
            case Progress():
                if event.stage != "loading" and not self._begun:
                    self._begun = True
                    await self._queue.begin(job.id)
                self._pace.hear(event)
                self.tell(job, event)
            case Preview():
                self.tell(job, event)
            case Picture():
                await self._keep(job, event)
                self.tell(job, event)
            case Finished():
                ready = self._engine.ready
                provenance = Provenance(
                    seconds=event.seconds,
                    seconds_loading=event.seconds_loading,
                    batch_size=event.batch_size,
                    memory_peak=event.memory_peak,
                    hashes=event.hashes,
                    versions=event.versions,
                    device=ready.device_name if ready else "",
                )
                ended = await self._queue.finish(job.id, provenance)
                self._faults.pop(job.id, None)
                self._estimates = None  # one more is known
                log.info("job finished", job=job.id, seconds=round(event.seconds, 2))
                self.tell(ended, event)
            case Failed():
                await self._end_failed(job, event)
            case _:
                assert_never(event)

    async def _keep(self, job: Job, picture: Picture) -> None:
        record = PictureRecord(
            index=picture.index,
            seed=picture.seed,
            width=picture.width,
            height=picture.height,
            file="",
            pixels_sha256=picture.pixels_sha256,
            variation_seed=picture.variation_seed,
            unsafe=picture.unsafe,
        )
        ready = self._engine.ready
        about = metadata.About(
            request=job.request,
            index=picture.index,
            seed=picture.seed,
            variation_seed=picture.variation_seed,
            hashes=picture.hashes,
            versions=ready.versions if ready else {},
        )
        png = await asyncio.to_thread(metadata.embed, picture.png, about)
        await self._queue.add_picture(job.id, record, png)

    async def _end_failed(self, job: Job, failed: Failed) -> None:
        if failed.code in FAULTS and self._try_again(job):
            log.warning("job is tried again", job=job.id, code=failed.code, detail=failed.detail)
            # first the pause: a stop that broke the engine in its course costs no try
            await asyncio.sleep(PAUSE_AFTER_FAULT)
            self.tell(await self._queue.requeue(job.id), None)
            return
        level = log.info if failed.code == "cancelled" else log.error
        level("job ended", job=job.id, code=failed.code, detail=failed.detail)
        ended = await self._queue.fail(job.id, Failure(failed.code, failed.params))
        self._faults.pop(job.id, None)
        self.tell(ended, failed)

    def _try_again(self, job: Job) -> bool:
        """Whether a job that the engine broke under gets another try.

        An engine that breaks before a picture is begun costs the job none of its tries, but a job
        can't wait for ever for one that never starts.
        """
        faults = self._faults[job.id] = self._faults.get(job.id, 0) + 1
        return max(faults, job.attempts + self._begun) < TRIES_AFTER_FAULT

    def tell(self, job: Job, event: JobEvent | None = None) -> None:
        """Tell the listeners; also for a change that somebody else made."""
        for listener in self._listeners:
            try:
                listener(job, event)
            except Exception:
                # whoever shows a job can't keep it from being made
                log.exception("a listener failed", job=job.id)


class Pace:
    """How far the running job is, and how long it still takes at its pace so far."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._denoising: tuple[float, int] | None = None
        self._progress: Progress | None = None

    def hear(self, progress: Progress) -> None:
        """Take note of a step."""
        self._progress = progress
        if progress.stage == "denoising" and self._denoising is None:
            self._denoising = (time.monotonic(), progress.step)

    def left(self, expected: float) -> float:
        """Seconds to its end; before it has a pace, what is left of `expected`."""
        now, progress = time.monotonic(), self._progress
        if progress is not None and self._denoising is not None:
            since, first = self._denoising
            if progress.step > first:
                return (now - since) / (progress.step - first) * (progress.steps - progress.step)
        return max(0.0, expected - (now - self._begun))


def _texts(refused: Refused) -> dict[str, str]:
    return {name: str(value) for name, value in msgspec.to_builtins(refused.params).items()}
