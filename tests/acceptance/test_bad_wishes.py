"""What can't be done is one sentence at every door, and nothing is queued for it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import onnx
import pytest

from bot.config import Config
from generation.describing import DescribingSettings
from playground.person import Act, Person
from tests.acceptance.conftest import Json, Rig, png, with_limits
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_info import by_a1111
from tests.acceptance.test_retry import RETRY, answer_to, shown
from tests.fixtures.onnx_files import network, wd_tags

Door = Callable[[Person, str, Json], Awaitable[Act]]
"""Is given who, where, and a message with a picture that was drawn here."""
LARGEST: Final = "as large as pictures get: at most 500 pixels a side"
WORKFLOW: Final = '{"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}'


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a network among the taggers that is none."""
    folder = tmp_path / "models" / "wd14_tagger" / "own"
    folder.mkdir(parents=True)
    onnx.save(network({"tokens": (1, 77)}, {"numbers": (1, 7)}), folder / "model.onnx")
    (folder / "selected_tags.csv").write_text(wd_tags(), encoding="utf-8")
    replace = msgspec.structs.replace
    models = replace(config.models, folders=(tmp_path / "models",))
    return replace(config, models=models, describing=DescribingSettings(tagger="own"))


async def uploaded(person: Person, data: bytes) -> str:
    return await person.upload("a.png", data)


async def posted(person: Person, channel: str, data: bytes) -> Json:
    return await person.say_with_file(channel, "a.png", data)


LARGE: Final = png(size=(500, 500))
ENLARGING: Final[Mapping[str, Door]] = {
    "button": lambda who, _where, drawn: who.click(drawn, "Upscale"),
    "menu": lambda who, _where, drawn: who.use_on_message("Upscale", drawn),
    "/upscale job": lambda who, where, _drawn: who.command(where, "upscale", job=1),
}


async def said_to(act: Act) -> str:
    return str((await answer_to(act))["content"])


async def test_a_picture_as_large_as_pictures_get_is_enlarged_nowhere(
    rig: Rig, ada: Person, general: str
) -> None:
    drawn = await imagine(ada, general, width=512, height=512, count=1)
    await delivered(rig, 1)
    rig.config = with_limits(rig.config, side=512, upscaled_side=500)
    await rig.restart()
    for door in ENLARGING.values():
        assert LARGEST in await said_to(await door(ada, general, drawn))
    theirs = await posted(ada, general, LARGE)
    assert LARGEST in await said_to(await ada.use_on_message("Upscale", theirs))
    upload = await uploaded(ada, LARGE)
    assert LARGEST in await said_to(await ada.command(general, "upscale", picture=upload))
    direct = await ada.channel("dm")
    await ada.react(drawn, "🔍")
    told = await ada.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == direct)
    assert LARGEST in told["content"]
    assert await rig.studio.jobs.newest_id() == 1


async def test_a_workflow_with_nothing_to_run_is_no_request(
    rig: Rig, ada: Person, general: str
) -> None:
    data = by_a1111("", prompt=WORKFLOW)
    upload = await uploaded(ada, data)
    for act in (
        await ada.command(general, "info", file=upload),
        await ada.use_on_message("Parameters", await posted(ada, general, data)),
    ):
        assert "a workflow of ComfyUI in which nothing draws a picture" in await said_to(act)
    assert await rig.studio.jobs.newest_id() == 0


async def test_a_tagger_of_another_layout_is_named_before_a_picture_is_fetched(
    rig: Rig, ada: Person, general: str
) -> None:
    said = "model.onnx is no model of a kind that is known"
    upload = await uploaded(ada, png())
    drawn = await imagine(ada, general, count=1)
    await delivered(rig, 1)
    for act in (
        await ada.command(general, "describe", picture=upload),
        await ada.use_on_message("Describe", await posted(ada, general, png())),
        await ada.use_on_message("Describe", drawn),
    ):
        assert said in await said_to(act)
    assert await rig.studio.jobs.newest_id() == 1


async def test_a_grid_of_ten_thousand_pictures_is_not_proposed(
    rig: Rig, ada: Person, general: str
) -> None:
    hundred = ", ".join(str(seed) for seed in range(100))
    written = {"prompt": "a fox", "x": "seed", "x_values": hundred}
    said = await answer_to(
        await ada.command(general, "grid", **written, y="guidance", y_values="1-10 [100]")
    )
    assert "That grid would have 10,000 pictures; at most" in said["content"]
    act = await ada.click(said, RETRY)
    assert (await shown(act))["y"] == "guidance: 1-10 [100]"
    again = await said_to(await act.submit(prompt="a fox", x=f"seed: {hundred}", y="steps: 1-100"))
    assert "That grid would have 10,000 pictures; at most" in again
    line = await ada.command(general, "grid", prompt="a fox", x="seed", x_values="1-10000")
    assert "seed would have 10,000 values; at most 100" in await said_to(line)
    assert await rig.studio.jobs.newest_id() == 0
