"""A program of others that runs and draws as an engine: what is the same of all of them."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Final

import msgspec
import structlog

from generation.ending import ended
from generation.engines import EngineError
from generation.engines.helper import Helper, HelperError
from generation.info.file_hashes import FileHashes
from generation.messages import (
    ControlSeen,
    Describe,
    EngineEvent,
    EngineWork,
    Enlarge,
    Failed,
    Finished,
    Generate,
    Picture,
    Progress,
    Ready,
)
from generation.models import ModelFile, ModelKind
from generation.programs import web
from generation.programs.faults import EndedError, ServerError
from generation.refusal import Refused
from generation.request import GenerationRequest

log = structlog.get_logger(__name__)

AWAY_EVERY: Final = 3.0
"""Seconds between the looks whether one that was away is back."""
ASK_EVERY: Final = 30.0
"""Seconds between the looks at what it has, which anybody may change."""
FutureHashes = asyncio.Future[dict[str, str]]
"""Of the files of a job, while they are made."""


class ProgramEngine(ABC):
    """Has a program draw that somebody else runs. While it is away, no job is begun.

    It is given up on when it is silent for `hang_after` seconds with a picture in hand.
    """

    title: ClassVar[str]
    """What people call it."""
    upscales: ClassVar[bool] = False
    """Whether it makes pictures larger by networks, which the helper does else."""

    def __init__(
        self,
        address: str,
        *,
        cache: Path,
        hang_after: float,
        preview_every: float,
        helper: Helper | None = None,
    ) -> None:
        """`helper` looks at its pictures."""
        self.address = web.without_login(address)[0]
        """Without a password."""
        self.moved: Callable[[], None] = lambda: None
        """Called whenever it has gone or is back."""
        self._helper = helper
        self._faceless: tuple[int, ...] = ()
        """Of which pictures of the last job the faces were to be restored and there were none."""
        self._hashes = FileHashes(cache)
        self._hang_after = hang_after
        self._preview_every = preview_every
        self._ready: Ready | None = None
        self._there = False
        self._lost = asyncio.Event()
        """Set while it is away."""
        self._watching: asyncio.Task[None] | None = None
        self._current = ""
        self._stopping = asyncio.Event()
        """Set once nobody wants the running job."""

    @property
    def ready(self) -> Ready | None:
        """What it said that it draws on, when it was there last."""
        return self._ready

    @property
    def there(self) -> bool:
        """Whether it answered when it was asked last."""
        return self._there

    @property
    @abstractmethod
    def told(self) -> object:
        """What it said that it has, when it was asked last."""

    @abstractmethod
    def check(self, request: GenerationRequest) -> None:
        """Raise Refused for what it can't be told."""

    @abstractmethod
    def check_work(self, work: EngineWork) -> None:
        """The same, and for files that it can't load or does not find."""

    @abstractmethod
    async def _ask(self) -> Ready:
        """Ask what it is and what it has. Raises ServerError."""

    @abstractmethod
    def _files(self, work: Generate) -> Iterable[ModelFile]:
        """All that it is to load."""

    @abstractmethod
    def _each(self, work: Generate, hashing: FutureHashes) -> AsyncGenerator[EngineEvent, None]:
        """The events of one job after its first, but the last. Raises EndedError, Refused and
        ServerError; closed, it has the program leave the job.
        """

    def _larger(self, work: Enlarge, hashing: FutureHashes) -> AsyncGenerator[EngineEvent, None]:
        """The same where a network makes a picture larger, of a program that `upscales`."""
        raise NotImplementedError

    @abstractmethod
    async def _close(self) -> None:
        """Leave it."""

    def _versions(self) -> Mapping[str, str]:
        """What drew the job that has just ended."""
        return self._ready.versions if self._ready is not None else {}

    async def start(self) -> Ready:
        """Look what it is, and from now on whether it is there. Raises EngineError where not."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return await self._look()

    async def _look(self) -> Ready:
        try:
            self._ready = await self._ask()
        except ServerError as error:
            self._lose()
            text = f"{self.title} does not answer: {error}"
            raise EngineError(text, error.failure) from error
        back, self._there = not self._there, True
        self._lost.clear()
        if back:
            log.info(
                f"{self.title} is there", device=self._ready.device_name, **self._ready.versions
            )
            self.moved()
        return self._ready

    def _lose(self) -> None:
        gone, self._there = self._there, False
        self._lost.set()
        if gone:
            log.warning(f"{self.title} is away; it is looked for")
            self.moved()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY):
                    await self._lost.wait()
                await asyncio.sleep(AWAY_EVERY)
            with contextlib.suppress(EngineError):
                await self._look()

    async def generate(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """The events of one job; see Engine. Closing the iterator cancels the job."""
        self._current = work.job
        self._stopping.clear()
        try:
            await self.start()
            self.check_work(work)
            # one that is closed closes what it stands on at once, which has the program leave it
            async with contextlib.aclosing(self._events(work)) as events:
                async for event in events:
                    yield event
        except (EngineError, ServerError) as error:
            self._lose()
            yield Failed(work.job, "worker_died", detail=str(error))
        except Refused as refused:
            params = {name: str(value) for name, value in refused.params.items()}
            yield Failed(work.job, refused.code, params)
        except EndedError as error:
            yield Failed(work.job, error.code, error.params, error.detail)
        except HelperError as error:
            yield error.failed
        finally:
            self._current = ""

    def hand_ahead(self, _work: EngineWork) -> bool:
        """Nothing is: the program keeps what it has loaded."""
        return False

    def withdraw(self, job: str) -> None:  # noqa: B027 - nothing was handed
        """Nothing was handed ahead."""

    async def cancel(self, job: str) -> None:
        """Have it stop at its next step."""
        if job == self._current:
            self._stopping.set()
            if self._helper is not None:
                await self._helper.cancel(job)

    async def stop(self) -> None:
        """Leave it; it runs on."""
        self._stopping.set()
        watching, self._watching = self._watching, None
        await ended(watching)
        await self._close()

    def _events(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        upscaled = isinstance(work, Enlarge) and work.upscaler is not None and self.upscales
        if isinstance(work, Describe) or (isinstance(work, Enlarge) and not upscaled):
            return self._helped(work)
        return self._drawn(work)

    async def _helped(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """What the helper does alone, which checks its pictures itself."""
        if self._helper is None:
            raise EndedError("internal_error", detail="nothing is there that does it")
        async with contextlib.aclosing(self._helper.events(work)) as events:
            async for event in events:
                yield event

    async def _drawn(self, work: Generate | Enlarge) -> AsyncGenerator[EngineEvent, None]:
        request = work.request
        began, first_step = time.monotonic(), 0.0
        yield Progress(work.job, "loading", 0, request.steps * request.count)
        # a checkpoint takes seconds, in which the program draws
        hashing = asyncio.ensure_future(asyncio.to_thread(self._hashed, work))
        try:
            if isinstance(work, Generate):
                each = self._each(work, hashing)
            else:
                each = self._larger(work, hashing)
            async with contextlib.aclosing(each) as events:
                async for event in events:
                    if not first_step and isinstance(event, Progress) and event.step:
                        first_step = time.monotonic()
                    if isinstance(event, Picture | ControlSeen):
                        yield await self._looked_at(work, event)
                    else:
                        yield event
            hashes = await hashing
        finally:
            hashing.cancel()
        yield Finished(
            job=work.job,
            seconds=time.monotonic() - began,
            seconds_loading=max(0.0, first_step - began),
            batch_size=1,
            memory_peak=0,
            hashes=hashes,
            versions=dict(self._versions()),
            faceless=self._faceless,
        )

    async def _looked_at(
        self, work: Generate | Enlarge, event: Picture | ControlSeen
    ) -> Picture | ControlSeen:
        """A picture with what the picture check says of it. Raises HelperError, and EndedError
        where it is to be looked at and nothing can.
        """
        if self._stopping.is_set():
            raise EndedError("cancelled")
        unsafe = None
        if self._helper is not None:
            size = event.width, event.height
            unsafe = await self._helper.unsafe(work.job, event.file, size, work.rater)
        elif work.rater is not None:
            raise EndedError("picture_check_broken", {"why": "nothing is there to do it"})
        return msgspec.structs.replace(event, unsafe=unsafe)

    def _hashed(self, work: Generate | Enlarge) -> dict[str, str]:
        files = [*work.finishing.files, *work.annotators.values()]
        files += [file for file in (work.upscaler,) if file is not None]
        files += self._files(work) if isinstance(work, Generate) else ()
        found = {f"{file.kind}:{file.name}": file for file in files}
        hashes = {key: self._hashes.of(file) for key, file in found.items()}
        hashes |= {
            f"tensors:{file.name}": self._hashes.of(file, tensors=True)
            for file in found.values()
            if file.kind is ModelKind.LORA
        }
        return {key: value for key, value in hashes.items() if value}
