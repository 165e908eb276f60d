"""Every way in which a worker process can fail, and that the next job finds a new one."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import psutil
import pytest
from structlog.testing import capture_logs

from generation.engines import EngineError, process
from generation.engines.process import ProcessEngine
from generation.job import Failure
from generation.messages import (
    Device,
    Failed,
    Finished,
    Generate,
    JobEvent,
    Progress,
    RuntimeSettings,
    frame,
)
from generation.models import ModelFile, ModelKind
from tests.fixtures.requests import a_request
from tests.patience import PATIENCE

HANG_AFTER = 1.0
STOP_WITHIN = 0.5
SCRIPT = "tests.fixtures.runtimes.misbehave"
DEMO = ModelFile(kind=ModelKind.CHECKPOINT, name="demo", path=Path("demo"), family="sd1")
Make = Callable[[str], ProcessEngine]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    engines: list[ProcessEngine] = []

    def engine(way: str) -> ProcessEngine:
        command = (sys.executable, "-m", SCRIPT, way, str(tmp_path / "marker"))
        made = ProcessEngine(
            RuntimeSettings(),
            cache=tmp_path,
            hang_after=HANG_AFTER,
            stop_within=STOP_WITHIN,
            command=command,
        )
        engines.append(made)
        return made

    yield engine
    for made in engines:
        await made.stop()


async def events(engine: ProcessEngine) -> list[JobEvent]:
    return [event async for event in engine.generate(Generate("1", a_request(), DEMO))]


def only_child() -> psutil.Process:
    (child,) = psutil.Process().children()
    return child


def failure(found: Sequence[JobEvent]) -> Failed:
    assert isinstance(found[-1], Failed)
    return found[-1]


async def test_one_that_does_not_start(make: Make) -> None:
    engine = make("dies at start")
    with pytest.raises(EngineError, match="no module named torch"):
        await engine.start()
    failed = failure(await events(engine))
    assert failed.code == "worker_died"


async def test_one_that_dies_mid_picture(make: Make) -> None:
    failed = failure(await events(make("dies")))
    assert failed.code == "worker_died"
    assert "status 3" in failed.detail
    assert "illegal memory access" in failed.detail


async def test_one_that_dies_while_it_loads(make: Make) -> None:
    assert failure(await events(make("dies while loading"))).code == "worker_died"


@pytest.mark.skipif(sys.platform == "win32", reason="the status is that of Linux")
async def test_one_that_the_kernel_ends_for_want_of_memory(make: Make) -> None:
    failed = failure(await events(make("is killed")))
    assert failed.code == "worker_died"
    assert "memory ran out" in failed.detail


async def test_one_that_hangs_is_killed(make: Make) -> None:
    engine = make("hangs")
    await engine.start()
    child = only_child()
    assert failure(await events(engine)).code == "worker_hung"
    assert not child.is_running()


@pytest.mark.slow
async def test_loading_may_take_longer_than_a_step(make: Make) -> None:
    failed = failure(await events(make("takes its time while loading")))
    assert failed.params == {"model": "second time"}


@pytest.mark.slow
async def test_a_slow_one_that_gives_signs_of_life_is_left_alone(make: Make) -> None:
    assert failure(await events(make("is slow"))).code == "nan_pictures"


async def test_one_that_says_nothing_more(make: Make) -> None:
    assert failure(await events(make("closes its output"))).code == "worker_died"


async def test_one_that_does_not_end_is_killed_after_a_while(make: Make) -> None:
    engine = make("does not end")
    await engine.start()
    child = only_child()
    await engine.stop()
    assert not child.is_running()
    assert engine.ready is None


async def test_stop_does_not_wait_for_a_start(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    engine = ProcessEngine(
        RuntimeSettings(), cache=tmp_path, stop_within=STOP_WITHIN, command=command
    )
    start = asyncio.create_task(engine.start())
    while not psutil.Process().children():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    async with asyncio.timeout(process.START_SECONDS / 3):
        await engine.stop()
        with pytest.raises(EngineError):
            await start
    assert psutil.Process().children() == []


async def test_what_lies_in_the_folder_that_we_run_in_is_not_imported(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("msgspec", "generation", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the wrong place')")
    monkeypatch.chdir(tmp_path)
    assert (await make("dies").start()).device == "cpu"


BROKEN_FRAMES = (
    "writes rubbish",
    "cuts off a frame",
    "writes text that is no text",
    "writes a message that nobody knows",
    "writes a frame without end",
)


@pytest.mark.parametrize("way", BROKEN_FRAMES)
async def test_one_that_breaks_the_protocol(make: Make, way: str) -> None:
    assert failure(await events(make(way))).code == "worker_died"


@pytest.mark.parametrize("way", ["dies once", "hangs once", "writes text that is no text once"])
async def test_the_next_job_finds_a_new_worker(make: Make, way: str) -> None:
    engine = make(way)
    assert failure(await events(engine)).code in ("worker_died", "worker_hung")
    assert failure(await events(engine)).params == {"model": "second time"}


async def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    engine = ProcessEngine(RuntimeSettings(), cache=tmp_path, command=(str(tmp_path / "nothing"),))
    with pytest.raises(EngineError, match="can't be run"):
        await engine.start()


async def test_stop_while_a_job_runs_ends_the_job(make: Make) -> None:
    engine = make("hangs")
    job = asyncio.create_task(events(engine))
    await engine.start()
    await asyncio.sleep(0.1)
    await engine.stop()
    assert failure(await job).code in ("worker_died", "worker_hung")


async def test_a_job_that_is_cancelled_while_the_worker_starts_never_begins(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "marker").touch()
    engine = make("dies once")
    asking = asyncio.create_task(events(engine))
    await asyncio.sleep(0.01)
    assert engine.ready is None
    await engine.cancel("1")
    assert [getattr(event, "code", "") for event in await asking] == ["cancelled"]
    # a later one of that name is another
    assert failure(await events(engine)).code == "nan_pictures"


async def test_what_is_said_of_another_job_is_nothing_to_this_one(make: Make) -> None:
    found = await events(make("speaks of another job"))
    assert {event.job for event in found} == {"1"}
    assert failure(found).code == "nan_pictures"


def work(job: str) -> Generate:
    return Generate(job, a_request(), DEMO)


async def next_of(drawn: AsyncGenerator[JobEvent, None]) -> JobEvent:
    return await asyncio.wait_for(anext(drawn), PATIENCE)


async def until_there(file: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while not file.exists():
            await asyncio.sleep(0.01)


async def test_one_that_is_handed_ahead_begins_before_anybody_asks_for_it(
    make: Make, tmp_path: Path
) -> None:
    engine = make("waits to be told")
    assert not engine.hand_ahead(work("1")), "nothing runs"
    first = engine.generate(work("1"))
    assert (await next_of(first)).job == "1"
    assert engine.hand_ahead(work("2"))
    assert not engine.hand_ahead(work("3")), "one ahead, no more"
    (tmp_path / "end-1").touch()
    assert {event.job async for event in first} == {"1"}
    await until_there(tmp_path / "begun-2")
    (tmp_path / "end-2").touch()
    await asyncio.sleep(HANG_AFTER * 1.5)  # nobody listens, and that is no fault of its
    found = [event async for event in engine.generate(work("2"))]
    assert [(type(event), event.job) for event in found] == [(Progress, "2"), (Failed, "2")]
    assert failure(found).code == "nan_pictures"
    assert (tmp_path / "begun-2").read_text() == "once\n"
    assert not (tmp_path / "begun-3").exists()
    assert not engine.hand_ahead(work("4")), "nothing runs any more"


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_another_than_was_handed_ahead_is_drawn_when_asked_for(
    make: Make, tmp_path: Path, withdrawn: bool
) -> None:
    engine = make("waits to be told")
    first = engine.generate(work("1"))
    await next_of(first)
    assert engine.hand_ahead(work("2"))
    if withdrawn:
        engine.withdraw("2")
    assert not engine.hand_ahead(work("3")), "the child has two to end"
    for number in (1, 2, 3):
        (tmp_path / f"end-{number}").touch()
    assert {event.job async for event in first} == {"1"}
    found = [event async for event in engine.generate(work("3"))]
    assert {event.job for event in found} == {"3"}
    assert failure(found).code == "nan_pictures"


async def test_one_that_dies_leaves_what_was_handed_ahead_to_the_next(
    make: Make, tmp_path: Path
) -> None:
    engine = make("dies when told once")
    first = engine.generate(work("1"))
    await next_of(first)
    assert engine.hand_ahead(work("2"))
    (tmp_path / "end-1").touch()
    left = [event async for event in first]
    assert [(event.job, event.code) for event in left if isinstance(event, Failed)] == [
        ("1", "worker_died")
    ]
    assert not (tmp_path / "begun-2").exists()
    found = [event async for event in engine.generate(work("2"))]
    assert [type(event) for event in found] == [Failed]
    assert failure(found).params == {"model": "second time"}


async def test_who_cancels_one_that_was_handed_ahead_when_it_is_asked_for(
    make: Make, tmp_path: Path
) -> None:
    engine = make("waits to be told")
    first = engine.generate(work("1"))
    await next_of(first)
    assert engine.hand_ahead(work("2"))
    await engine.cancel("2")
    for number in (1, 2):
        (tmp_path / f"end-{number}").touch()
    assert {event.job async for event in first} == {"1"}
    found = [event async for event in engine.generate(work("2"))]
    assert [getattr(event, "code", "") for event in found] == ["cancelled"]
    assert failure(await events(engine)).code == "nan_pictures"


@pytest.mark.slow
async def test_a_job_that_can_not_be_sent_fails_at_once_and_the_next_is_drawn(make: Make) -> None:
    engine = make("is slow")
    await engine.start()
    child = only_child()
    named = msgspec.structs.replace(DEMO, name="\udcc4\udce3")
    work = Generate("7", a_request(), named)
    found = [event async for event in engine.generate(work)]
    assert failure(found).code == "request_unsendable"
    assert failure(await events(engine)).code == "nan_pictures"
    assert only_child() == child, "the same process goes on"


@pytest.mark.slow
async def test_settings_that_the_machine_can_not_follow_are_said_in_a_sentence(
    tmp_path: Path,
) -> None:
    """Of the real child; no machine of ours has Apple's device and NVIDIA's at once."""
    device: Device = "mps" if sys.platform != "darwin" else "cuda"
    engine = ProcessEngine(RuntimeSettings(device=device), cache=tmp_path)
    with pytest.raises(EngineError) as caught:
        await engine.start()
    assert caught.value.failure == Failure("device_missing", {"device": device})
    assert "Traceback" not in str(caught.value)
    failed = failure(await events(engine))
    assert (failed.code, failed.params) == ("device_missing", {"device": device})
    await engine.stop()


async def test_what_a_job_went_round_is_a_line_of_the_log(make: Make) -> None:
    with capture_logs() as logs:
        found = await events(make("remarks"))
    assert isinstance(found[-1], Finished)
    said = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert said == ["it went another way"]


@pytest.mark.slow
async def test_what_the_settings_ask_for_in_vain_is_a_line_of_the_log(tmp_path: Path) -> None:
    """Of the real child, on a machine without a compiler."""
    settings = RuntimeSettings(device="cpu", compile=True)
    engine = ProcessEngine(settings, cache=tmp_path, environment={"CXX": "no-such-compiler"})
    with capture_logs() as logs:
        ready = await engine.start()
    await engine.stop()
    assert not ready.compiled
    (said,) = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert said == ready.remark
    assert "no-such-compiler is not found" in said


RUNTIME = (sys.executable, "-m", "generation.runtime")
OUT_OF_TURN = (
    frame(Generate("1", a_request(), DEMO)),
    b"\x02\x00\x00\x00\xa1\xff",
    b"\xff\xff\xff\xff",
)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", OUT_OF_TURN)
async def test_the_real_one_ends_with_a_line_when_it_is_told_nonsense(wrong: bytes) -> None:
    child = await asyncio.create_subprocess_exec(
        *RUNTIME, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(wrong)
    await child.stdin.drain()
    said = (await child.stderr.read()).decode()
    assert await child.wait() == 3
    child.stdin.close()
    assert "Traceback" not in said
    assert "level=error" in said


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", *sys.argv[1:]], stdin=subprocess.PIPE)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    "module", ["generation.runtime", "playground --port 0 --until-stdin-closes"]
)
async def test_a_child_does_not_outlive_its_parent_also_while_it_loads(module: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, *module.split()), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(child.wait, 20)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends the signals of a terminal")
async def test_signals_to_the_whole_group_are_left_to_the_parent(tmp_path: Path) -> None:
    engine = ProcessEngine(RuntimeSettings(device="cpu"), cache=tmp_path)
    await engine.start()
    child = only_child()
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    assert child.is_running()
    await engine.stop()
    assert not child.is_running()


@pytest.mark.parametrize(
    ("visible", "device", "seen"),
    [
        (None, "cuda", ("cuda", None)),
        (None, "cuda:1", ("cuda", "1")),
        ("2,3", "cuda:1", ("cuda", "3")),
        ("GPU-aa, GPU-bb", "cuda:0", ("cuda", "GPU-aa")),
        ("2", "cuda:1", ("cuda", "none")),
        ("0", "cpu", ("cpu", "0")),
    ],
)
async def test_each_sees_its_own_graphics_card_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    device: Device,
    seen: tuple[str, str | None],
) -> None:
    """Of those that this process sees, if it does not see all."""
    monkeypatch.delenv(process.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(process.VISIBLE, visible)
    marker = tmp_path / "marker"
    engine = ProcessEngine(
        RuntimeSettings(device=device),
        cache=tmp_path,
        command=(sys.executable, "-m", SCRIPT, "says its card", str(marker)),
    )
    await engine.start()
    await engine.stop()
    assert tuple(json.loads(marker.read_text())) == seen
