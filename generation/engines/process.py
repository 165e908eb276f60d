"""The engine that is used: a child process which holds the models, at the end of a pipe."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from generation.engines import EngineError
from generation.job import Failure
from generation.messages import (
    LENGTH_BYTES,
    Cancel,
    Configure,
    EngineEvent,
    EngineWork,
    Failed,
    Finished,
    FromRuntime,
    MessageError,
    Progress,
    Ready,
    RuntimeSettings,
    Stop,
    frame,
    frame_length,
    read_from_runtime,
)

log = structlog.get_logger(__name__)

PROJECT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 180.0
"""Importing torch and diffusers from a slow disk, with a virus scanner looking on."""
CANCEL_SECONDS: Final = 2.0
PIPES_SECONDS: Final = 2.0
KILLED: Final = -9
"""The exit status on Linux of a process that the kernel ended."""
LOADING_FACTOR: Final = 5
"""Loading a checkpoint says nothing for long; drawing gives signs of life within each step."""
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
"""Which cards CUDA and ROCm show a process; among these, it counts them from 0."""
LINES_KEPT: Final = 30
"""Of what the child wrote to stderr, for the report of its death."""


class ProcessEngine:
    """Runs `python -m generation.runtime` and gives it one job after the other.

    The child reads ahead: a job that it is handed while it draws another waits in its inbox.
    The child is killed and started anew when it is silent for `hang_after` seconds during a job,
    and killed when it has not ended `stop_within` seconds after it was asked to.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        *,
        cache: Path,
        hang_after: float = 120.0,
        stop_within: float = 10.0,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "generation.runtime"),
    ) -> None:
        self._settings, card = _on_its_card(settings)
        self._cache = cache
        self._hang_after = hang_after
        self._stop_within = stop_within
        self._environment = {**card, **(environment or {})}
        self._command = tuple(command)
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._cancelled: set[str] = set()
        """Jobs that nobody wants any more, which the child may not have heard of."""

    @property
    def ready(self) -> Ready | None:
        """What the child said when it started."""
        return self._child.ready if self._child is not None else None

    async def start(self) -> Ready:
        """Start the child unless it runs. Raises EngineError when it does not come up."""
        async with self._starting:
            child = self._child
            if child is not None and child.alive and child.ready is not None:
                return child.ready
            await self._end_child(child)
            try:
                configure = frame(Configure(self._settings, self._cache))
            except MessageError as error:
                raise EngineError(str(error)) from error
            child = self._child = await _Child.spawn(self._command, self._child_environment())
            try:
                await child.send(configure, START_SECONDS)
                event = await child.receive(START_SECONDS)
            except (TimeoutError, _ChildDiedError) as error:
                reason = await self._end_child(child)
                raise EngineError(f"the worker did not start: {error}\n{reason}") from error
            if not isinstance(event, Ready):
                await self._end_child(child)
                if isinstance(event, Failed):
                    failure = Failure(event.code, event.params)
                    raise EngineError(f"the worker can't work so: {event.detail}", failure)
                raise EngineError(f"the worker began with {type(event).__name__}")
            child.ready = event
            log.info("worker ready", device=event.device_name, precision=event.precision)
            if event.remark:
                log.warning(event.remark)
            return event

    async def generate(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """The events of one job; see Engine. Closing the iterator cancels the job."""
        try:
            message = frame(work)
            await self.start()
        except MessageError as error:
            yield Failed(work.job, "request_unsendable", detail=str(error))
            return
        except EngineError as error:
            failure = error.failure or Failure("worker_died")
            yield Failed(work.job, failure.code, failure.params, str(error))
            return
        child = self._child
        if child is None:  # stopped meanwhile
            yield Failed(work.job, "worker_died", detail="the engine was stopped")
            return
        ended = False
        patience = self._hang_after * LOADING_FACTOR
        try:
            handed = child.ahead == work.job
            if handed:
                child.ahead = None
            elif child.ahead is not None:
                self.withdraw(child.ahead)
            await child.free(patience, work.job if handed else None)
            if work.job in self._cancelled:
                ended = True
                self._cancelled.discard(work.job)
                yield Failed(work.job, "cancelled")
                return
            if not handed:
                await child.begin(work.job, message, patience)
            while not ended:
                event = await child.receive(patience)
                if isinstance(event, Ready) or event.job != work.job:
                    continue
                if isinstance(event, Progress):
                    loading = event.stage == "loading"
                    patience = self._hang_after * (LOADING_FACTOR if loading else 1)
                if isinstance(event, Finished) and event.remark:
                    log.warning(event.remark)
                ended = isinstance(event, Finished | Failed)
                if ended:
                    self._cancelled.discard(work.job)
                yield event
        except TimeoutError:
            ended = True
            lines = await self._end_child(child)
            yield Failed(work.job, "worker_hung", detail=f"silent for {patience:g} s\n{lines}")
        except _ChildDiedError as error:
            ended = True
            lines = await self._end_child(child)
            yield Failed(work.job, "worker_died", detail=f"{error}\n{lines}")
        finally:
            if not ended:
                await self._send_cancel(work.job)

    async def cancel(self, job: str) -> None:
        """Ask the child to stop at the next denoising step; a job that has not begun never will."""
        self._cancelled.add(job)
        await self._send_cancel(job)

    def hand_ahead(self, work: EngineWork) -> bool:
        """Send it at once, to lie in the child's inbox; see Engine."""
        child = self._child
        if child is None or not child.alive or len(child.jobs) != 1:
            return False
        try:
            child.write(frame(work))
        except (MessageError, _ChildDiedError):
            return False
        child.jobs.append(work.job)
        child.ahead = work.job
        return True

    def withdraw(self, job: str) -> None:
        """Tell the child, which answers that it was cancelled."""
        child = self._child
        if child is not None and child.ahead == job:
            child.ahead = None
            with contextlib.suppress(_ChildDiedError):
                child.write(frame(Cancel(job)))

    async def _send_cancel(self, job: str) -> None:
        if self._child is not None and job in self._child.jobs:
            # one that can't even read is for the watchdog
            with contextlib.suppress(_ChildDiedError, TimeoutError):
                await self._child.send(frame(Cancel(job)), CANCEL_SECONDS)

    async def stop(self) -> None:
        """End the child: it is asked first, and killed if it does not go."""
        await self._ask_to_end(self._child)
        async with self._starting:  # a start that was under way has failed or ended by now
            await self._ask_to_end(self._child)

    async def _ask_to_end(self, child: "_Child | None") -> None:
        if child is not None:
            with contextlib.suppress(_ChildDiedError, TimeoutError):
                await child.send(frame(Stop()), min(CANCEL_SECONDS, self._stop_within))
            await self._end_child(child, grace=self._stop_within)

    async def _end_child(self, child: "_Child | None", *, grace: float = 0) -> str:
        """End a child, after `grace` by force; returns the last lines that it wrote to stderr."""
        if child is None:
            return ""
        lines = await child.end(grace)
        if self._child is child:
            self._child = None
        return lines

    def _child_environment(self) -> dict[str, str]:
        paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            # else a file of the folder that we run in could pass for one of our modules
            "PYTHONSAFEPATH": "1",
            **self._environment,
        }


def _on_its_card(settings: RuntimeSettings) -> tuple[RuntimeSettings, dict[str, str]]:
    """The settings of a child that is to see one of several graphics cards, and the environment
    that shows it no other, so that whatever it loads or measures is of that one.
    """
    device, _, number = settings.device.partition(":")
    if not number:
        return settings, {}
    there = [card for card in os.environ.get(VISIBLE, "").split(",") if card.strip()]
    card = number if not there else there[int(number)] if int(number) < len(there) else "none"
    return msgspec.structs.replace(settings, device=device), {VISIBLE: card}


class _ChildDiedError(Exception):
    """The pipe to the child is closed."""


class _Child:
    """A started process, its pipes and the tasks that read them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.ready: Ready | None = None
        self.jobs: deque[str] = deque()
        """Those that it was given and has not ended, as far as was received: the first it works on.
        """
        self.ahead: str | None = None
        """The last of them, where it was handed ahead and nobody has asked for its events yet."""
        self._process = process
        self._events: asyncio.Queue[FromRuntime | None] = asyncio.Queue()
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._readers = [
            asyncio.create_task(self._read_frames()),
            asyncio.create_task(self._read_stderr()),
        ]

    @classmethod
    async def spawn(cls, command: Sequence[str], environment: Mapping[str, str]) -> "_Child":
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise EngineError(f"{command[0]} can't be run: {error}") from error
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._readers[0].done()

    async def free(self, seconds: float, job: str | None = None) -> None:
        """Wait until the jobs before, which nobody listens to any more, have ended; with `job`, all
        that come before it.

        Raises TimeoutError when it is silent for so long, _ChildDiedError at its end.
        """
        while self.jobs and self.jobs[0] != job:
            await self.receive(seconds)

    async def begin(self, job: str, message: bytes, seconds: float) -> None:
        """Give it a job. Raises as `send` does."""
        self.jobs.append(job)
        await self.send(message, seconds)

    def write(self, message: bytes) -> None:
        """Have a frame written whenever it is read. Raises _ChildDiedError."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(message)
        except (ConnectionError, RuntimeError) as error:
            raise _ChildDiedError("its pipe is closed") from error

    async def send(self, message: bytes, seconds: float) -> None:
        """Write a frame. Raises TimeoutError when nobody reads it, _ChildDiedError at the end."""
        stdin = self._process.stdin
        assert stdin is not None
        self.write(message)
        try:
            async with asyncio.timeout(seconds):
                await stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise _ChildDiedError(f"its pipe is closed; {await self._status()}") from error

    async def receive(self, seconds: float) -> FromRuntime:
        """The next event. Raises TimeoutError after that silence, _ChildDiedError at the end."""
        async with asyncio.timeout(seconds):
            event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            raise _ChildDiedError(await self._status())
        if isinstance(event, Finished | Failed) and self.jobs and event.job == self.jobs[0]:
            self.jobs.popleft()
        return event

    async def end(self, grace: float) -> str:
        """Close its input, wait so many seconds, then kill it; may be called more than once."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()
        except asyncio.CancelledError:
            self._kill()
            raise
        # a program that the child started may hold its pipes open for ever
        await asyncio.wait(self._readers, timeout=PIPES_SECONDS)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await stdin.wait_closed()
        return "\n".join(self._lines)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _status(self) -> str:
        # the pipe closes a moment before the status is known
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._process.wait()
        status = self._process.returncode
        if status is None:
            return "it closed its output"
        hint = ", killed: often because memory ran out" if status == KILLED else ""
        return f"it ended with status {status}{hint}"

    async def _read_frames(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            while True:
                length = frame_length(await stdout.readexactly(LENGTH_BYTES))
                self._events.put_nowait(read_from_runtime(await stdout.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except MessageError as error:
            log.error("the worker wrote what is no message", error=str(error))
            self._kill()
        finally:
            self._events.put_nowait(None)

    async def _read_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while True:
            try:
                line = await stderr.readline()
            except ValueError:  # longer than the reader's limit
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._lines.append(text)
            log.debug("worker", line=text)
