"""What has gone for its age or for room, as people see it."""

import asyncio

from playground.person import Person
from storage.retention import RetentionSettings
from tests.acceptance.conftest import Rig, finished
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_managers_at_once import dialogs, settings
from tests.acceptance.test_servers import guild, say
from tests.patience import PATIENCE

__all__ = ["guild"]
NO_ROOM = RetentionSettings(disk_gib=1e-9)


async def test_a_picture_that_has_gone_is_drawn_again_and_a_server_says_how_long(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    await imagine(ada, general, seed=5)
    await delivered(rig, 1)
    async with asyncio.timeout(PATIENCE):
        # until the emoji are under it somebody waits for it
        while not (await rig.studio.store.retention.keep_to(NO_ROOM)).pictures:
            await asyncio.sleep(0.05)
    job = await rig.studio.store.jobs.get(1)
    assert job is not None
    assert job.pictures[0].removed
    act = await ada.command(general, "replay", job=1)
    again = await finished(ada, general, await act.deferred())
    assert "The same as #1, to the last bit" in again["content"]

    panel = await say(ada, general, "settings")
    [dialog] = await dialogs(ada, panel, "keep_prompts", 1)
    await (await dialog.submit(value="30")).wait_for("INTERACTION_SUCCESS")
    assert (await settings(rig, guild)).keep_prompts == 30
