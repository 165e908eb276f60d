"""What does beside the programs of others what these can't."""

import asyncio
import io

import pytest
from PIL import Image

from generation.engines.fake import FakeEngine
from generation.engines.helper import Helper, HelperError
from generation.messages import NO_CHECK, RuntimeSettings
from generation.models import ModelKind
from tests.patience import PATIENCE
from tests.unit.generation.catalogs import a_model

NAMED = RuntimeSettings(picture_check_model="a-classifier")


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(file, "PNG")
    return file.getvalue()


async def test_it_says_how_unsafe_a_picture_is_and_each_of_several_in_its_turn() -> None:
    engine = FakeEngine(unsafe=(0.75,))
    helper = Helper(engine, NAMED)
    asked = [helper.unsafe(str(number), png(), (16, 8), None) for number in range(3)]
    assert await asyncio.gather(*asked) == [0.75] * 3
    assert engine.began == ["0", "1", "2"]
    await helper.stop()


@pytest.mark.parametrize(
    ("named", "tagger", "looks"),
    [("", False, False), ("", True, True), ("a-classifier", False, True), (NO_CHECK, True, False)],
)
async def test_it_looks_where_the_settings_or_a_tagger_say_so(
    named: str, tagger: bool, looks: bool
) -> None:
    engine = FakeEngine(unsafe=(0.25,))
    helper = Helper(engine, RuntimeSettings(picture_check_model=named))
    rater = a_model("wd", kind=ModelKind.TAGGER) if tagger else None
    assert await helper.unsafe("1", png(), (16, 8), rater) == (0.25 if looks else None)
    assert engine.began == ["1"] * looks, "nothing is started that is not needed"
    await helper.stop()


async def test_what_can_not_be_looked_at_is_no_safe_picture() -> None:
    engine = FakeEngine(failures=("picture_check_broken",))
    helper = Helper(engine, NAMED)
    for _ in range(2):  # then one that says nothing
        with pytest.raises(HelperError) as wrong:
            await helper.unsafe("1", png(), (16, 8), None)
        assert wrong.value.failed.code == "picture_check_broken"
    await helper.stop()


async def test_who_rests_is_ended_and_started_anew_when_there_is_work() -> None:
    engine = FakeEngine(unsafe=(0.5,))
    helper = Helper(engine, NAMED, rests=0.01)
    assert await helper.unsafe("1", png(), (16, 8), None) == 0.5
    async with asyncio.timeout(PATIENCE):
        while engine.ready is not None:
            await asyncio.sleep(0.01)
    assert await helper.unsafe("2", png(), (16, 8), None) == 0.5
    await helper.stop()


async def test_a_job_is_cancelled_that_it_works_for_and_no_other() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Event()
    helper = Helper(engine, NAMED)
    asked = asyncio.create_task(helper.unsafe("1", png(), (16, 8), None))
    async with asyncio.timeout(PATIENCE):
        while not engine.began:
            await asyncio.sleep(0.01)
        await helper.cancel("another")
        await helper.cancel("1")
        engine.gate.set()
        with pytest.raises(HelperError) as ended:
            await asked
    assert ended.value.failed.code == "cancelled"
    await helper.stop()
