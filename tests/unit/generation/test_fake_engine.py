"""The engine that stands in for the real one keeps to what the real one promises."""

import asyncio
from pathlib import Path

import pytest

from generation.engines import Engine
from generation.engines.fake import READY, FakeEngine
from generation.messages import Failed, Finished, Generate, JobEvent, Picture, Progress
from generation.models import Kind, ModelFile
from generation.request import GenerationRequest
from tests.fixtures.requests import a_request


def work(request: GenerationRequest | None = None, job: str = "1") -> Generate:
    model = ModelFile(kind=Kind.CHECKPOINT, name="demo", path=Path("demo"), family="sd1")
    return Generate(job, request or a_request(), model)


async def events(engine: Engine, job: Generate) -> list[JobEvent]:
    return [event async for event in engine.generate(job)]


def pictures(found: list[JobEvent]) -> list[str]:
    return [event.pixels_sha256 for event in found if isinstance(event, Picture)]


async def test_equal_requests_give_equal_pictures() -> None:
    engine = FakeEngine()
    found = await events(engine, work(a_request(count=3)))
    assert isinstance(found[-1], Finished)
    assert len(set(pictures(found))) == 3
    assert pictures(await events(engine, work(a_request(count=3)))) == pictures(found)
    assert pictures(await events(engine, work(a_request(seed=8)))) == pictures(found)[1:2]
    assert engine.ready == READY
    await engine.stop()
    assert engine.ready is None


async def test_failures_come_in_the_order_in_which_they_were_asked_for() -> None:
    engine = FakeEngine(failures=("worker_died", "nan_pictures"))
    ends = [(await events(engine, work()))[-1] for _ in range(3)]
    assert [end.code if isinstance(end, Failed) else "" for end in ends] == [
        "worker_died",
        "nan_pictures",
        "",
    ]


async def test_a_cancelled_job_ends_at_its_next_step_and_can_be_tried_again() -> None:
    engine = FakeEngine()
    found: list[JobEvent] = []
    async for event in engine.generate(work()):
        found.append(event)
        if isinstance(event, Progress) and event.step == 2:
            await engine.cancel("1")
    assert isinstance(found[-1], Failed)
    assert found[-1].code == "cancelled"
    assert isinstance((await events(engine, work()))[-1], Finished)


async def test_one_that_hangs() -> None:
    engine = FakeEngine(failures=("hang",))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(events(engine, work()), 0.1)
