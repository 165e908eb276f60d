"""The pipe to the parent: frames read in one thread, written in another."""

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

import msgspec
import structlog

from generation.messages import (
    FRAME_MAX,
    LENGTH_BYTES,
    Cancel,
    FromRuntime,
    Generate,
    Preview,
    Progress,
    Stop,
    ToRuntime,
    frame,
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
                kept = [other for other in self._waiting if type(other) is not type(message)]
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
                self._stream.write(frame(message))
                self._stream.flush()
            except OSError:
                return  # the parent is gone; the inbox notices too and ends the process


class Inbox:
    """Reads messages in a thread of its own, so that a Cancel is seen while a job runs.

    `closed` is called in that thread once nothing more will come: the parent said Stop or is gone.
    """

    def __init__(self, stream: BinaryIO, closed: Callable[[], None]) -> None:
        self.messages: queue.SimpleQueue[ToRuntime] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._ending = False
        self._stream = stream
        self._closed = closed
        threading.Thread(target=self._read_all, name="inbox", daemon=True).start()

    def is_cancelled(self, job: str) -> bool:
        """Whether this job is to stop."""
        return self._ending or job in self._cancelled

    def _read_all(self) -> None:
        while not isinstance(message := self._read(), Stop):
            match message:
                case Cancel():
                    self._cancelled.add(message.job)
                case Generate():
                    # a job that is tried again keeps its name, but not what was said of it before
                    self._cancelled.discard(message.job)
                    self.messages.put(message)
                case _:
                    self.messages.put(message)
        self._ending = True
        self.messages.put(message)
        self._closed()

    def _read(self) -> ToRuntime:
        """The next message; Stop when there is none, or none that can be read."""
        start = self._stream.read(LENGTH_BYTES)
        length = int.from_bytes(start, "little")
        if len(start) < LENGTH_BYTES or length > FRAME_MAX:
            return Stop()
        body = self._stream.read(length)
        try:
            return read_to_runtime(body) if len(body) == length else Stop()
        except msgspec.MsgspecError as error:
            log.error("the parent wrote what is no message", error=str(error))
            return Stop()
