"""The pipe: what is dropped, what never is, and how it ends."""

import contextlib
import io
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from generation import messages
from generation.messages import (
    LENGTH_BYTES,
    Cancel,
    Configure,
    Failed,
    Finished,
    FromRuntime,
    Generate,
    MessageError,
    Picture,
    Preview,
    Progress,
    RuntimeSettings,
    Stop,
    ToRuntime,
    frame,
    read_from_runtime,
    read_to_runtime,
)
from generation.models import ModelFile, ModelKind
from generation.runtime.pipe import STALE_BEYOND, End, Inbox, Outbox
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


def test_what_is_said_of_the_next_job_drops_nothing_of_the_one_before() -> None:
    pipe = SlowPipe()
    outbox = Outbox(pipe)
    outbox.send(Progress("1", "denoising", 4, 4))
    outbox.send(Finished("1", 1.0, 0.0, 1, 0, {}, {}))
    for step in range(100):
        outbox.send(Progress("2", "denoising", step, 100))
    pipe.opened.set()
    outbox.close()
    first = [message for message in pipe.messages() if getattr(message, "job", "") == "1"]
    assert [type(message) for message in first] == [Progress, Finished]


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
        self.end: End | None = None
        self._reading = os.fdopen(reading, "rb")
        self.writing = os.fdopen(writing, "wb", buffering=0)
        self.inbox = Inbox(self._reading, self._close)

    def _close(self, end: End, _worked: bool) -> None:
        self.end = end
        self.closed.set()

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


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


NOT_UTF8 = frame(Cancel("ab")).replace(b"ab", b"\xff\xfe")


@pytest.mark.parametrize(
    ("wrong", "end"),
    [
        (b"", End.ALONE),
        (b"\x03\x00", End.ALONE),
        (frame(work("1"))[:-3], End.ALONE),
        (frame(Stop()), End.STOPPED),
        (framed(b"abc"), End.CONFUSED),
        (framed(b""), End.CONFUSED),
        (framed(b"\x91" * 5000), End.CONFUSED),
        (framed(msgspec.msgpack.encode({"type": "Dance"})), End.CONFUSED),
        (framed(msgspec.msgpack.encode({"type": "Cancel", "job": 7})), End.CONFUSED),
        (NOT_UTF8, End.CONFUSED),
        (b"\xff\xff\xff\xff", End.CONFUSED),
    ],
)
def test_whatever_is_no_message_is_an_end(wrong: bytes, end: End) -> None:
    told = Told()
    told.writing.write(wrong)
    told.writing.close()
    assert isinstance(told.next(), Stop)
    told.close()
    assert told.end is told.inbox.end is end


@pytest.mark.slow
@pytest.mark.parametrize("read", [read_to_runtime, read_from_runtime])
def test_no_bytes_are_more_than_no_message(read: Callable[[bytes], object]) -> None:
    """Half of them at random, half of them true messages with some bytes changed."""
    chance = random.Random(9)
    whole = [
        frame(message)[LENGTH_BYTES:]
        for message in (
            work("1"),
            Cancel("1"),
            Configure(RuntimeSettings(), Path("cache")),
            Progress("1", "denoising", 1, 2),
            Failed("1", "cancelled", {"a": "b"}),
            Picture("1", 0, 7, b"png", 64, 64, "0" * 64),
        )
    ]
    understood = 0
    for case in range(10_000):
        body = bytearray(
            chance.choice(whole) if case % 2 else chance.randbytes(chance.randrange(99))
        )
        for _ in range(chance.randrange(4) if body else 0):
            body[chance.randrange(len(body))] = chance.randrange(256)
        cut = body[: chance.randrange(len(body) + 1)] if chance.random() < 0.2 else body
        with contextlib.suppress(MessageError):
            read(bytes(cut))
            understood += 1
    assert 0 < understood < 9_000


def test_a_path_that_is_not_utf8_arrives_as_it_is() -> None:
    path = Path(os.fsdecode(b"models/\xc4\xe3.safetensors"))
    model = ModelFile(kind=ModelKind.CHECKPOINT, name="demo", path=path, family="sd1")
    message = Generate("1", a_request(), model)
    assert read_to_runtime(frame(message)[LENGTH_BYTES:]) == message


def test_what_can_not_be_sent_is_said_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messages, "FRAME_MAX", 5000)
    named = ModelFile(kind=ModelKind.CHECKPOINT, name="\udcc4", path=Path("x"), family="sd1")
    plain = msgspec.structs.replace(named, name="demo")
    huge = Generate("1", a_request(), plain, pictures={"0" * 64: bytes(5000)})
    for message in (
        Generate("1", a_request(), named),
        huge,
    ):
        with pytest.raises(MessageError, match="Generate can't be sent"):
            frame(message)


def test_an_answer_that_can_not_be_sent_fails_its_job() -> None:
    pipe = SlowPipe()
    pipe.opened.set()
    outbox = Outbox(pipe)
    outbox.send(Failed("1", "model_broken", {"file": "\udcc4"}))
    outbox.send(Failed("2", "cancelled"))
    outbox.close()
    first, second = pipe.messages()
    assert isinstance(first, Failed)
    assert (first.job, first.code) == ("1", "internal_error")
    assert second == Failed("2", "cancelled")


def test_a_process_whose_parent_is_gone_ends_whatever_it_is_doing() -> None:
    """Its main thread is deep in a library: only the one that reads can end it."""
    code = (
        "import time\n"
        "from generation.runtime import __main__ as runtime\n"
        "from generation.runtime.pipe import Inbox\n"
        "runtime.GRACE = 0.1\n"
        "messages, _ = runtime.claim_pipes()\n"
        "inbox = Inbox(messages, runtime.leave)\n"
        "time.sleep(600)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"", timeout=30, check=False)
    assert done.returncode == End.ALONE


def test_nothing_that_a_library_prints_reaches_the_parent() -> None:
    code = (
        "import os, sys\n"
        "from generation.runtime.__main__ import claim_pipes\n"
        "messages, answers = claim_pipes()\n"
        "print('hello'); os.write(1, b'from C'); os.system('echo from a child')\n"
        "answers.write(messages.read()); answers.flush()\n"
    )
    configure = frame(Configure(RuntimeSettings(), Path("cache")))
    done = subprocess.run(
        [sys.executable, "-c", code], input=configure, capture_output=True, check=True
    )
    assert done.stdout == configure
    for said in (b"hello", b"from C", b"from a child"):
        assert said in done.stderr
