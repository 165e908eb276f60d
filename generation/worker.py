"""One worker coroutine: the next job goes to its engine, what comes back is recorded."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, assert_never

import msgspec
import structlog

from generation import metadata, preparing
from generation.ahead import Ahead
from generation.catalog import Catalog
from generation.engines import Engine, EngineError
from generation.estimate import Hand, Measurement
from generation.job import (
    TRIES_AFTER_FAULT,
    Failure,
    IllegalTransitionError,
    Job,
    PictureRecord,
    Provenance,
)
from generation.job_queue import JobQueue
from generation.messages import (
    ControlSeen,
    Described,
    EngineEvent,
    Failed,
    Finished,
    JobEvent,
    Picture,
    Preview,
    Progress,
    Ready,
)
from generation.pace import Pace
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.saving import SAVED_WITHIN, Saver, UnwantedError
from generation.waiting_jobs import LOOK_AGAIN_AFTER, Runs, WaitingJobs

log = structlog.get_logger(__name__)

FAULTS: Final = frozenset(("worker_died", "worker_hung"))
"""Failures that say nothing about the request: it is tried once more."""
PAUSE_AFTER_FAULT = 2.0
"""Seconds; an engine that cannot start must not spin."""
PAUSE_AFTER_ERROR = 5.0
"""Seconds until the database is asked again after an error."""

Tell = Callable[[Job, JobEvent | None], None]
"""Told of a job's every event; None says that its record has changed (claimed, ended, requeued)."""


Tellable = Callable[[GenerationRequest], None]
"""Raises Refused for a request that an engine can't be told."""


class Worker:
    """Takes jobs from the queue one by one, for as long as `run` runs.

    Which jobs wait is known by the pool that it is one of, which `tell` goes to as well.
    """

    def __init__(
        self,
        name: str,
        queue: JobQueue,
        engine: Engine,
        catalog: Catalog,
        waiting: WaitingJobs,
        tell: Tell,
        *,
        runs: Runs | None = None,
        go: asyncio.Event | None = None,
        check: Tellable | None = None,
        would: Runs | None = None,
        program: str = "",
    ) -> None:
        self.name = name
        self.program = program
        """Of others, that draws for it; "" where this one does."""
        self.would = would
        """Which jobs it can run, also while its engine is away; None where that is never away."""
        self._go = go or _always()
        """Whether it may take jobs; what runs comes to its end."""
        self.current: Job | None = None
        self.loaded = ""
        """The checkpoint of the last job, which the next may use without loading."""
        self.engine = engine
        self.runs = runs
        """Which jobs it can run; None for all."""
        self.check = check
        """Raises Refused for what its engine can't be told; None where it can be told all."""
        self._queue = queue
        self._catalog = catalog
        self._tell = tell
        self._waiting = waiting
        self._ahead = Ahead(name, queue, waiting, engine, catalog, runs)
        self._alone = False
        """Whether one job is all that is to be drawn."""
        self._pace = Pace()
        self._begun = False
        """Whether the pictures of the running job are being drawn: before that, no try counts."""
        self._controls: list[PictureRecord] = []
        """What the ControlNets of the running job were shown."""
        self._faults: dict[int, int] = {}
        """How often the engine broke under a job that has not ended."""
        self._unsure: set[int] = set()
        """Jobs of which a broken connection left open whether they were claimed."""
        self._saver = Saver(queue, tell)
        self._wake = asyncio.Event()

    @property
    def ready(self) -> Ready | None:
        """What pictures are made on; None until the engine has started."""
        return self.engine.ready

    def takes(self, job: Job) -> bool:
        """Whether it can run a job."""
        return self.runs is None or self.runs(job)

    def know(self, catalog: Catalog) -> None:
        """Learn what is on its machine now."""
        self._catalog = catalog
        self._ahead.catalog = catalog

    def wake(self) -> None:
        """Say that something waits that it may run."""
        self._wake.set()

    def forget(self, job: Job) -> None:
        """Learn that a job has ended."""
        self._ahead.forget(job)
        self._faults.pop(job.id, None)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await self._work_for_ever()
        finally:
            await self._ahead.give_up()

    async def _work_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                job = None
                if self._go.is_set():
                    job = await self._next()
                else:
                    await self._rest()
            except Exception as error:
                if self._queue.trouble(error) is not None:
                    log.warning("the queue can't be read", error=str(error))
                else:
                    log.exception("the queue can't be read")
                await asyncio.sleep(PAUSE_AFTER_ERROR)
                continue
            if job is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_AFTER):
                        await self._wake.wait()
                continue
            await self._work(job)

    async def run_only(self, job_id: int) -> None:
        """Work until this one job has ended, and touch no other."""
        self._alone = True
        try:
            while (job := await self._queue.claim(job_id, self.name)) is not None:
                await self._work(job)
        except asyncio.CancelledError:
            # whoever waited for it has left
            await self._before_stopping(self._queue.fail(job_id, Failure("cancelled")))
            raise

    async def cancel(self, job_id: int) -> None:
        """Stop a running job at its next denoising step; a waiting one is the store's to cancel."""
        if self.current is not None and self.current.id == job_id:
            self._saver.unwanted.set()
            await self.engine.cancel(str(job_id))

    async def hand(self) -> Hand:
        """When it is free, and what it has loaded then."""
        loaded = self.loaded if self.current is None else self._model_after(self.current)
        times = await self._waiting.estimates(self.name)
        return Hand(self.name, loaded, times, await self.seconds_left(), self.runs)

    async def seconds_left(self) -> float:
        """Until the running job is done; 0 where none runs."""
        if self.current is None:
            return 0.0
        estimates = await self._waiting.estimates(self.name)
        if self.current is None:
            return 0.0
        expected = estimates.making(self.current.request)
        if self._model_after(self.current) != self.loaded:
            expected += estimates.loading(self.current.request.checkpoint)
        return self._pace.left(expected)

    async def _rest(self) -> None:
        """Take nothing, and know what waits all the same."""
        await self._ahead.give_up()
        await self._waiting.look()

    async def _next(self) -> Job | None:
        await self._ahead.settled()
        for job_id in tuple(self._unsure):
            with contextlib.suppress(IllegalTransitionError):
                self._waiting.hear(await self._queue.requeue(job_id))
            self._unsure.discard(job_id)
        async with self._waiting.choosing:
            job = await self._claim_next()
        if job is None:
            await self._ahead.give_up()
        return job

    async def _claim_next(self) -> Job | None:
        while True:
            found = await self._waiting.next(self.name, self.loaded, self.runs)
            if found is None:
                return None
            candidate, turns = found
            try:
                job = await self._queue.claim(candidate.id, self.name)
            except Exception:
                self._unsure.add(candidate.id)
                raise
            if job is not None:
                self._waiting.take(job, turns)
                return job
            self._waiting.discard(candidate.id)

    async def _work(self, job: Job) -> None:
        self.current = job
        structlog.contextvars.bind_contextvars(job=job.id)
        self._pace = Pace()
        self._begun = False
        self._controls = []
        self._saver.unwanted.clear()
        try:
            await self._make(job)
        except asyncio.CancelledError:
            await self._before_stopping(self._queue.requeue(job.id, job.attempts, job.lease))
            raise
        except IllegalTransitionError:
            # this process slept so long that another took it over
            log.warning("the job is another's by now", job=job.id)
        except UnwantedError:
            await self._end(job, Failed(str(job.id), "cancelled"))
        except Exception as error:
            # a picture that is none, a row that is gone: the queue must go on
            log.exception("the job can't be recorded", job=job.id)
            await self._give_up(job, error)
        finally:
            structlog.contextvars.unbind_contextvars("job")
            self.current = None
            self.loaded = self._model_after(job)

    def _model_after(self, job: Job) -> str:
        """The checkpoint that is loaded once a job is done: an upscaler leaves it alone."""
        return job.request.checkpoint or self.loaded

    async def _give_up(self, job: Job, error: Exception) -> None:
        try:
            await self._end(job, Failed(str(job.id), "internal_error", detail=str(error)))
        except Exception:
            log.exception("the failure can't be recorded; the next start finds it", job=job.id)

    async def _before_stopping(self, noting: Coroutine[Any, Any, Job]) -> None:
        """Note what became of a job, within a time that a stop can wait."""
        try:
            async with asyncio.timeout(SAVED_WITHIN):
                job = await noting
        except IllegalTransitionError:
            return  # it had ended when the stop came
        except Exception as error:  # noqa: BLE001 - the next start finds it running and takes it up
            log.warning("a job is left as it is", error=str(error) or type(error).__name__)
        else:
            self._tell(job, None)

    async def _make(self, job: Job) -> None:
        self._tell(job, None)
        try:
            work = self._ahead.take(job) or await preparing.work_for(
                job, self._catalog, self._queue, partial(self._saver.save, job)
            )
        except Refused as refused:
            await self._end(job, Failed(str(job.id), refused.code, _texts(refused)))
            return
        try:
            # closed on cancellation too, which tells the engine to stop
            async with contextlib.aclosing(self.engine.generate(work)) as events:
                async for event in events:
                    await self._record(job, event)
        except EngineError as error:
            await self._record(job, Failed(str(job.id), "worker_died", detail=str(error)))

    async def _record(self, job: Job, event: EngineEvent) -> None:
        match event:
            case Progress():
                if event.stage != "loading" and not self._begun:
                    self._begun = True
                    await self._saver.save(job, partial(self._queue.begin, job.id, job.lease))
                self._pace.hear(event)
                if self._pace.ending and not self._alone and self._go.is_set():
                    self._ahead.hand(self._model_after(job))
                self._tell(job, event)
            case Preview():
                self._tell(job, event)
            case Picture():
                await self._keep(job, event)
                self._tell(job, event)
            case ControlSeen():
                await self._keep_control(job, event)
            case Described():
                act = partial(self._queue.add_description, job.id, event.description, job.lease)
                await self._saver.save(job, act)
                self._tell(job, event)
            case Finished() | Failed():
                await self._end(job, event)
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
        ready = self.engine.ready
        about = metadata.About(
            request=job.request,
            index=picture.index,
            seed=picture.seed,
            variation_seed=picture.variation_seed,
            hashes=picture.hashes,
            versions=ready.versions if ready else {},
            numerics=picture.numerics,
        )
        file = await asyncio.to_thread(metadata.embed, picture.file, about)
        act = partial(self._queue.add_picture, job.id, record, file, job.lease)
        await self._saver.save(job, act, drawn=True)

    async def _keep_control(self, job: Job, seen: ControlSeen) -> None:
        file = await self._saver.save(
            job, partial(self._queue.add_control_picture, job.id, seen.file), drawn=True
        )
        self._controls.append(
            PictureRecord(
                index=seen.index,
                seed=0,
                width=seen.width,
                height=seen.height,
                file=file,
                pixels_sha256="",
                unsafe=seen.unsafe,
            )
        )

    async def _end(self, job: Job, event: Finished | Failed) -> None:
        """Record how a job has ended, or that it is tried again."""
        if isinstance(event, Failed) and event.code in FAULTS:
            # nobody has it any more
            await self._ahead.give_up()
        if isinstance(event, Finished):
            log.info("job finished", job=job.id, seconds=round(event.seconds, 2))
            act = partial(self._queue.finish, job.id, self._provenance(event), job.lease)
        elif event.code in FAULTS and self._try_again(job):
            log.warning("job is tried again", job=job.id, code=event.code, detail=event.detail)
            # first the pause: a stop that broke the engine in its course costs no try
            await asyncio.sleep(PAUSE_AFTER_FAULT)
            act = partial(self._queue.requeue, job.id, lease=job.lease)
            self._tell(await self._record_end(job, act), None)
            return
        else:
            level = log.info if event.code == "cancelled" else log.error
            level("job ended", job=job.id, code=event.code, detail=event.detail)
            act = partial(self._queue.fail, job.id, Failure(event.code, event.params), job.lease)
        ended = await self._record_end(job, act, drawn=isinstance(event, Finished))
        if isinstance(event, Finished):
            took = Measurement(job.request, event.seconds, event.seconds_loading, self.name)
            self._waiting.measure(took)
        self._tell(ended, event)

    async def _record_end(
        self, job: Job, act: Callable[[], Coroutine[Any, Any, Job]], *, drawn: bool = False
    ) -> Job:
        """The job as it stands after `act`, which may have been done by a try that seemed to fail,
        or by somebody else.
        """
        try:
            return await self._saver.save(job, act, drawn=drawn, insist=True)
        except IllegalTransitionError:
            found = await self._saver.save(job, partial(self._queue.get, job.id), insist=True)
            return found or job

    def _provenance(self, finished: Finished) -> Provenance:
        ready = self.engine.ready
        return Provenance(
            seconds=finished.seconds,
            seconds_loading=finished.seconds_loading,
            batch_size=finished.batch_size,
            memory_peak=finished.memory_peak,
            hashes=finished.hashes,
            versions=finished.versions,
            device=ready.device_name if ready else "",
            worker=self.name,
            numerics=finished.numerics,
            spared=finished.spared,
            faceless=finished.faceless,
            controls=tuple(self._controls),
        )

    def _try_again(self, job: Job) -> bool:
        """Whether a job that the engine broke under gets another try.

        An engine that breaks before a picture is begun costs the job none of its tries, but a job
        can't wait for ever for one that never starts.
        """
        faults = self._faults[job.id] = self._faults.get(job.id, 0) + 1
        return max(faults, job.attempts + self._begun) < TRIES_AFTER_FAULT


def _always() -> asyncio.Event:
    go = asyncio.Event()
    go.set()
    return go


def _texts(refused: Refused) -> dict[str, str]:
    return {name: str(value) for name, value in msgspec.to_builtins(refused.params).items()}
