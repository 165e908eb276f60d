"""Two workers under one bot: both draw, and members see who does what."""

import asyncio

from generation.engines.fake import FakeEngine
from generation.job import JobState
from playground.person import Person
from tests.acceptance.conftest import Rig, finished
from tests.acceptance.test_servers import say


async def test_two_draw_at_once_and_are_shown(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    second = FakeEngine(step_seconds=0.01)
    rig.studio.workers.add("second", second)
    rig.engine.gate, second.gate = asyncio.Event(), asyncio.Event()
    messages = [
        await (await person.command(general, "imagine", prompt=prompt, seed=7)).deferred()
        for person, prompt in ((ada, "a red fox"), (bo, "a blue fox"), (ada, "a green fox"))
    ]
    for number in (1, 2):
        await rig.until(lambda job: job.attempts > 0, number)
    said = (await say(ada, general, "queue"))["embeds"][0]["description"]
    assert "a red fox" in said
    assert "on main" in said
    assert "on second" in said
    assert "a blue fox" not in said, "others' prompts stay theirs"
    shown = {
        field["name"]: field["value"]
        for field in (await say(ada, general, "stats"))["embeds"][0]["fields"]
    }
    assert [line.split("**")[1] for line in shown["Workers"].splitlines()] == ["main", "second"]
    # somebody cancels what the second draws
    await say(bo, general, "cancel", job=2)
    second.gate.set()
    cancelled = await rig.until(lambda job: job.ended, 2)
    assert cancelled.state is JobState.CANCELLED
    rig.engine.gate.set()
    for message in (messages[0], messages[2]):
        await finished(ada, general, message)
    assert len(rig.engine.began) + len(second.began) == 3
    assert min(len(rig.engine.began), len(second.began)) > 0
