"""Pictures decoded in a process of their own, one at a time, within bounds of time and memory."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import psutil
import structlog

from bot.pictures.decoder_messages import (
    FILE_MAX,
    HEADER_MAX,
    LENGTH_BYTES,
    Made,
    Task,
    Work,
    header,
    read_answer,
)
from generation.refusal import Refused

log = structlog.get_logger(__name__)

PROJECT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 10.0
"""Of computing for one picture; one of 40 megapixels takes one or two."""
BUSY: Final = 3
"""So many times as long it may take where other programs compute too."""
SECONDS_MORE: Final = 5.0
"""After which the child ends itself, when we did not."""
START_SECONDS: Final = 60.0
"""Importing Pillow from a slow disk, with a virus scanner looking on."""
STOP_SECONDS: Final = 2.0
CHUNK: Final = 2**18
"""Bytes that are copied at once, so that the event loop turns between them."""
LOOK_EVERY: Final = 0.05
"""Seconds between two measurements of the child."""
LINES_KEPT: Final = 30
TRIES: Final = 2


class DecoderFailedError(Exception):
    """The decoding process does not start, or ends whatever it is given."""


class DecodingProcess:
    """Runs `python -m bot.pictures.decoder`, started with the first picture and reused for others.

    `seconds` (of computing, and BUSY times as many of waiting) and `memory` (bytes) bound one
    picture; a child that goes over them is killed, and the next picture starts another. Closed by
    `close` or as a context manager.
    """

    def __init__(
        self, *, memory: int, seconds: float = SECONDS, command: Sequence[str] | None = None
    ) -> None:
        self._memory = memory
        self._seconds = seconds
        self._command = command or (sys.executable, "-m", "bot.pictures.decoder", str(memory))
        self._child: _DecoderChild | None = None
        self._one = asyncio.Lock()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def make(
        self, work: Work, files: Sequence[bytes], name: str, seconds: float | None = None
    ) -> bytes:
        """The file that `work` makes of `files`; one at a time, in the order of asking.

        Raises Refused about the file `name`: what `normalised` raises, and picture_too_slow,
        picture_too_much_memory. Raises DecoderFailedError when the process can't be had.
        """
        async with self._one:
            for _ in range(TRIES):
                try:
                    return await self._make(work, files, seconds or self._seconds)
                except Refused as refused:
                    raise Refused(refused.code, **{"file": name, **refused.params}) from None
                except _DiedError as error:
                    # it may have been ended from outside between two pictures
                    log.warning("the picture decoder ended", file=name, error=str(error))
            raise Refused("picture_unreadable", file=name)

    async def close(self) -> None:
        """End the child; whoever waits for a picture is left with a DecoderFailedError."""
        self._closed = True
        await self._end(grace=STOP_SECONDS)

    async def _make(self, work: Work, files: Sequence[bytes], seconds: float) -> bytes:
        child = await self._started()
        task = Task(work, tuple(map(len, files)), BUSY * seconds + SECONDS_MORE)
        watching = asyncio.create_task(child.exceeds(seconds, self._memory))
        making = asyncio.create_task(child.make(task, files))
        done = False
        try:
            await asyncio.wait(
                {watching, making}, timeout=BUSY * seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if making.done():
                answer = making.result()
                done = True
            elif watching.done():
                raise Refused(watching.result())
            else:
                raise Refused("picture_too_slow")
        finally:
            watching.cancel()
            making.cancel()
            await asyncio.gather(watching, making, return_exceptions=True)
            if not done:
                await self._end()
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def _started(self) -> "_DecoderChild":
        if self._child is not None and self._child.alive and not self._closed:
            return self._child
        await self._end()
        if self._closed:
            raise DecoderFailedError("the bot stops")
        child = await _DecoderChild.spawn(self._command)
        try:
            async with asyncio.timeout(START_SECONDS):
                await child.ready()
            if self._closed:
                raise DecoderFailedError("the bot stops")
            self._child = child
        except (TimeoutError, _DiedError) as error:
            raise DecoderFailedError(f"it does not start: {error}") from error
        finally:
            if self._child is not child:
                await child.end(0)
        return child

    async def _end(self, *, grace: float = 0) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end(grace)


class _DiedError(Exception):
    """The pipe to the child is closed."""


class _DecoderChild:
    """A started process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._reading = asyncio.create_task(self._read_stderr())

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> "_DecoderChild":
        paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            # else a file of the folder that we run in could pass for one of our modules
            "PYTHONSAFEPATH": "1",
        }
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
            )
        except OSError as error:
            raise DecoderFailedError(f"{command[0]} can't be run: {error}") from error
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ready(self) -> None:
        """Wait until it can be given something. Raises _DiedError."""
        await self._answer()

    async def make(self, task: Task, files: Sequence[bytes]) -> bytes | Refused:
        """Have a task done. Raises _DiedError."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(header(task))
            for file in files:
                view = memoryview(file)
                for at in range(0, len(file), CHUNK):
                    stdin.write(view[at : at + CHUNK])
                    await stdin.drain()
            await stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise _DiedError(await self._status()) from error
        return await self._answer()

    async def _answer(self) -> bytes | Refused:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            length = int.from_bytes(await stdout.readexactly(LENGTH_BYTES), "little")
            if length > HEADER_MAX:
                raise _DiedError(f"a header of {length} bytes")
            answer = read_answer(await stdout.readexactly(length))
            if not isinstance(answer, Made):
                return Refused(answer.code, **answer.params)
            if answer.size > FILE_MAX:
                raise _DiedError(f"a file of {answer.size} bytes")
            parts, missing = [], answer.size
            while missing:
                parts.append(await stdout.readexactly(min(missing, CHUNK)))
                missing -= len(parts[-1])
            return b"".join(parts)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise _DiedError(await self._status()) from error
        except msgspec.MsgspecError as error:
            raise _DiedError(f"no answer: {error}") from error

    async def exceeds(self, seconds: float, memory: int) -> str:
        """Why to end it, once it has computed for so long or takes so many bytes."""
        try:
            process = psutil.Process(self._process.pid)
            begun = _computed(process)
            while True:
                if process.memory_info().rss > memory:
                    return "picture_too_much_memory"
                if _computed(process) - begun > seconds:
                    return "picture_too_slow"
                await asyncio.sleep(LOOK_EVERY)
        except psutil.Error:
            # it has ended, and its pipe says so
            never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            return await never

    async def end(self, grace: float) -> str:
        """Close its input, wait so many seconds, then kill it; returns its last lines."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await asyncio.wait([self._reading], timeout=STOP_SECONDS)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await stdin.wait_closed()
        return "\n".join(self._lines)

    async def _status(self) -> str:
        # the pipe closes a moment before the status is known
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._process.wait()
        return f"status {self._process.returncode}; {' '.join(self._lines)}"

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
            self._lines.append(line.decode(errors="replace").rstrip())


def _computed(process: psutil.Process) -> float:
    """Seconds of a processor's time that it has taken."""
    spent = process.cpu_times()
    return float(spent.user + spent.system)
