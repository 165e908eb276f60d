"""A preset for certain roles binds what was made with it, whatever becomes of its name."""

import pytest

from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_own_preset_jobs import OILS
from tests.acceptance.test_permissions import answer, granted
from tests.acceptance.test_permissions import guild as guild
from tests.acceptance.test_pictures import pressed
from tests.acceptance.test_preset_panel import choose
from tests.acceptance.test_servers import preset_of, save_preset, say

BOUND = "for those with the role"


@pytest.fixture
async def first(rig: Rig, control: Control, ada: Person, general: str, guild: str) -> Json:
    """A picture that Ada, who is a painter, made with a preset for painters."""
    role = await granted(control, guild, ada, 0, "painters")
    await save_preset(ada, general, "oils", OILS.format(role=role))
    return await imagine(ada, general, preset="oils")


async def test_it_binds_by_its_new_name(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str, first: Json
) -> None:
    panel = await say(ada, general, "preset edit", name="oils")
    act = await choose(ada, panel, "part", "texts", name="oils")
    act = await act.submit(name="paint")
    await act.wait_for("INTERACTION_SUCCESS")
    # nor is another of its old name the one that binds
    await save_preset(ada, general, "oils", '[[preset]]\nname = "oils"\n')
    assert BOUND in await answer(bo, first, "Reroll")
    assert "paint" in await answer(bo, first, "Reroll")
    job = await pressed(rig, ada, general, first, "Reroll")
    assert job.preset == (await rig.job(1)).preset
    # what it is now holds, by whatever name
    panel = await say(ada, general, "preset edit", name="paint")
    act = await choose(ada, panel, "preset_roles", name="paint")
    await act.wait_for("INTERACTION_SUCCESS")
    await pressed(rig, bo, general, first, "Reroll")


async def test_deleted_it_leaves_its_roles(
    rig: Rig, ada: Person, bo: Person, general: str, first: Json
) -> None:
    await say(ada, general, "preset delete", name="oils")
    await rig.restart()
    assert "There is no preset" in (await say(ada, general, "preset show", name="oils"))["content"]
    assert BOUND in await answer(bo, first, "Reroll")
    assert preset_of(await pressed(rig, ada, general, first, "Reroll")) == "oils"
    # a new one of that name takes its place
    await save_preset(ada, general, "oils", '[[preset]]\nname = "oils"\n')
    await pressed(rig, bo, general, first, "Reroll")


async def test_without_roles_when_it_was_deleted_it_binds_nobody(
    rig: Rig, ada: Person, bo: Person, general: str, first: Json
) -> None:
    panel = await say(ada, general, "preset edit", name="oils")
    act = await choose(ada, panel, "preset_roles", name="oils")
    await act.wait_for("INTERACTION_SUCCESS")
    await say(ada, general, "preset delete", name="oils")
    await pressed(rig, bo, general, first, "Reroll")
