"""The pipe to the parent: frames read in one thread, written in another."""

import enum
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

import structlog

from generation.messages import (
    LENGTH_BYTES,
    Cancel,
    Enlarge,
    Failed,
    FromRuntime,
    Generate,
    MessageError,
    Preview,
    Progress,
    Ready,
    Stop,
    ToRuntime,
    frame,
    frame_length,
    read_to_runtime,
)

log = structlog.get_logger(__name__)

STALE_BEYOND = 8
"""Waiting frames after which a newer Progress or Preview replaces the older ones."""


class Outbox:
    """Writes messages in a thread of its own, so that a slow parent never delays a step."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: deque[FromRuntime] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="outbox", daemon=True)
        self._thread.start()

    def send(self, message: FromRuntime) -> None:
        """Have a message written. Only Progress and Preview may be dropped for a newer one."""
        with self._changed:
            if isinstance(message, Progress | Preview) and len(self._waiting) > STALE_BEYOND:
                kept = [other for other in self._waiting if not _is_stale(other, message)]
                self._waiting = deque(kept)
            self._waiting.append(message)
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, then end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                message = self._waiting.popleft()
            try:
                self._stream.write(_frame(message))
                self._stream.flush()
            except OSError:
                return  # the parent is gone; the inbox notices too and ends the process


def _is_stale(older: FromRuntime, newer: Progress | Preview) -> bool:
    return isinstance(older, type(newer)) and older.job == newer.job


def _frame(message: FromRuntime) -> bytes:
    """The frame of a message, or where it can't be one, of the failure of its job."""
    try:
        return frame(message)
    except MessageError as error:
        log.error("an answer can't be sent", error=str(error))
        job = "" if isinstance(message, Ready) else message.job
        return frame(Failed(job, "internal_error", detail=ascii(str(error))))


class End(enum.IntEnum):
    """Why nothing more comes from the parent, as a status to exit with."""

    STOPPED = 0
    """It said Stop."""
    ALONE = 1
    """It is gone."""
    CONFUSED = 3
    """What it wrote is no message, or none that is due."""
    UNUSABLE = 4
    """This machine can't do what its settings ask for."""


class Inbox:
    """Reads messages in a thread of its own, so that a Cancel is seen while a job runs.

    `closed` is called in that thread once nothing more will come: why, and whether there was work.
    """

    def __init__(self, stream: BinaryIO, closed: Callable[[End, bool], None]) -> None:
        self.messages: queue.SimpleQueue[ToRuntime] = queue.SimpleQueue()
        self.end = End.STOPPED
        """Why nothing more comes, once that is so."""
        self._cancelled: set[str] = set()
        self._ending = False
        self._worked = False
        self._stream = stream
        self._closed = closed
        threading.Thread(target=self._read_all, name="inbox", daemon=True).start()

    def is_cancelled(self, job: str) -> bool:
        """Whether this job is to stop."""
        return self._ending or job in self._cancelled

    def _read_all(self) -> None:
        self.end = End.CONFUSED
        try:
            self.end = self._read_to_end()
        except (MessageError, MemoryError) as error:
            log.error("the parent wrote what is no message", error=str(error))
        except OSError as error:
            log.error("the pipe from the parent is broken", error=str(error))
            self.end = End.ALONE
        finally:
            # without this thread nobody would notice that the parent is gone
            self._ending = True
            self.messages.put(Stop())
            self._closed(self.end, self._worked)

    def _read_to_end(self) -> End:
        while (message := self._read()) is not None:
            match message:
                case Stop():
                    return End.STOPPED
                case Cancel():
                    self._cancelled.add(message.job)
                case Generate() | Enlarge():
                    # a job that is tried again keeps its name, but not what was said of it before
                    self._cancelled.discard(message.job)
                    self._worked = True
                    self.messages.put(message)
                case _:
                    self.messages.put(message)
        return End.ALONE

    def _read(self) -> ToRuntime | None:
        """The next message; None when the parent is gone. Raises MessageError."""
        start = self._stream.read(LENGTH_BYTES)
        if len(start) < LENGTH_BYTES:
            return None
        length = frame_length(start)
        body = self._stream.read(length)
        return read_to_runtime(body) if len(body) == length else None
