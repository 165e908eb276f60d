"""The pipe: what is dropped, what never is, and how it ends."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from generation.messages import (
    Cancel,
    Configure,
    Failed,
    FromRuntime,
    Generate,
    Preview,
    Progress,
    RuntimeSettings,
    Stop,
    ToRuntime,
    frame,
    read_from_runtime,
)
from generation.models import ModelFile, ModelKind
from generation.runtime.pipe import STALE_BEYOND, Inbox, Outbox
from tests.fixtures.requests import a_request


class SlowPipe(io.BytesIO):
    """A pipe that is full until somebody opens it."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.opened.wait(10)
        return super().write(data)

    def messages(self) -> list[FromRuntime]:
        data, found = self.getvalue(), []
        while data:
            length = int.from_bytes(data[:4], "little")
            found.append(read_from_runtime(data[4 : 4 + length]))
            data = data[4 + length :]
        return found


def test_a_full_pipe_delays_nobody_and_loses_only_what_is_stale() -> None:
    pipe = SlowPipe()
    outbox = Outbox(pipe)
    for step in range(1000):
        outbox.send(Progress("1", "denoising", step, 1000))
        if step % 10 == 0:
            outbox.send(Preview("1", b"jpeg"))
        if step % 100 == 0:
            outbox.send(Failed(str(step), "cancelled"))
    pipe.opened.set()
    outbox.close()
    messages = pipe.messages()
    failed = [message.job for message in messages if isinstance(message, Failed)]
    assert failed == [str(step) for step in range(0, 1000, 100)]
    steps = [message.step for message in messages if isinstance(message, Progress)]
    assert len(steps) <= STALE_BEYOND + 2
    assert steps == sorted(steps)
    assert steps[-1] == 999


def test_an_outbox_outlives_its_reader() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        outbox = Outbox(stream)
        outbox.send(Failed("1", "cancelled"))
        outbox.close()


class Told:
    """An inbox at the end of a real pipe."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.closed = threading.Event()
        self._reading = os.fdopen(reading, "rb")
        self.writing = os.fdopen(writing, "wb", buffering=0)
        self.inbox = Inbox(self._reading, self.closed.set)

    def tell(self, message: ToRuntime) -> None:
        self.writing.write(frame(message))

    def next(self) -> ToRuntime:
        return self.inbox.messages.get(timeout=5)

    def close(self) -> None:
        self.writing.close()
        assert self.closed.wait(5)
        self._reading.close()


def soon(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return condition()


def work(job: str) -> Generate:
    model = ModelFile(kind=ModelKind.CHECKPOINT, name="demo", path=Path("demo"), family="sd1")
    return Generate(job, a_request(), model)


def test_a_cancel_is_seen_while_nobody_asks_for_messages() -> None:
    told = Told()
    told.tell(work("1"))
    told.tell(Cancel("1"))
    assert soon(lambda: told.inbox.is_cancelled("1"))
    assert not told.inbox.is_cancelled("2")
    told.close()


def test_a_cancel_that_came_too_late_does_not_stop_the_next_try() -> None:
    told = Told()
    told.tell(Cancel("1"))
    told.tell(work("1"))
    assert told.next() == work("1")
    assert not told.inbox.is_cancelled("1")
    told.close()


def test_a_closed_pipe_stops_everything() -> None:
    told = Told()
    told.tell(work("1"))
    told.close()
    assert [told.next(), told.next()] == [work("1"), Stop()]
    assert told.inbox.is_cancelled("1")


def test_half_a_message_or_none_is_an_end() -> None:
    for wrong in (frame(work("1"))[:-3], b"\x03\x00\x00\x00abc", b"\xff\xff\xff\xff"):
        told = Told()
        told.writing.write(wrong)
        told.writing.close()
        assert isinstance(told.next(), Stop)
        told.close()


def test_nothing_that_a_library_prints_reaches_the_parent() -> None:
    code = (
        "import os, sys\n"
        "from generation.runtime.__main__ import claim_pipes\n"
        "messages, answers = claim_pipes()\n"
        "print('hello'); os.write(1, b'from C'); os.system('echo from a child')\n"
        "answers.write(messages.read()); answers.flush()\n"
    )
    configure = frame(Configure(RuntimeSettings(), "cache"))
    done = subprocess.run(
        [sys.executable, "-c", code], input=configure, capture_output=True, check=True
    )
    assert done.stdout == configure
    for said in (b"hello", b"from C", b"from a child"):
        assert said in done.stderr
