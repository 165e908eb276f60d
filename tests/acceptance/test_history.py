"""One's own history: pages, search, the tree, again, send, delete; replay; personal data."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.features import mydata
from playground.control import Control
from playground.person import Person, fields_of
from storage.export import Exporter
from storage.personal_data import PersonalStore
from tests.acceptance.conftest import Json, Rig, finished
from tests.acceptance.test_actions import delivered
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import pressed
from tests.acceptance.test_servers import say, texts
from tests.patience import PATIENCE


async def made(rig: Rig, person: Person, channel: str, *prompts: str) -> None:
    for prompt in prompts:
        await imagine(person, channel, prompt=prompt, steps=1)


def entries(message: Json) -> list[str]:
    """The numbers of a page's entries, in its menu."""
    for component in fields_of(message["components"]):
        if component["custom_id"] == "darkroom:entry":
            return [option["value"] for option in component["options"]]
    raise AssertionError("the page has no menu")


async def history(person: Person, channel: str, **options: object) -> Json:
    return await say(person, channel, "history", **options)


async def test_newest_first_with_thumbnails_and_pages(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await made(rig, ada, general, *(f"picture {n}" for n in range(8)))
    await made(rig, bo, general, "somebody else's")
    page = await history(ada, general)
    assert entries(page) == ["8", "7", "6", "5", "4", "3"]
    shown = texts(page["components"])
    assert "picture 7" in shown
    assert "somebody" not in shown
    media = [c["accessory"]["media"] for c in page["components"] if "accessory" in c]
    assert len(media) == 6
    status, content = await rig.control.get(media[0]["url"])
    assert (status, content[8:12]) == (200, b"WEBP")
    await rig.restart()
    act = await ada.click(page, "Older")
    await act.wait_for("INTERACTION_SUCCESS")
    await ada.wait_for(
        "MESSAGE_UPDATE", lambda m: m["id"] == page["id"] and entries(m) == ["2", "1"]
    )
    act = await ada.click(await ada.message(general, page["id"]), "Newer")
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == page["id"] and entries(m)[0] == "8")


async def test_search_and_filters(rig: Rig, ada: Person, general: str) -> None:
    await made(rig, ada, general, "a red fox", "a Blue Whale", "100% fox_trot")
    assert entries(await history(ada, general, search="FOX")) == ["3", "1"]
    assert entries(await history(ada, general, search="blue w")) == ["2"]
    assert entries(await history(ada, general, search="100% fox_")) == ["3"]
    assert entries(await history(ada, general, model="demo")) == ["3", "2", "1"]
    await rig.studio.store.history.set_favourite(int((await ada.state())["me"]["id"]), 2, 0, True)
    assert entries(await history(ada, general, favourites=True)) == ["2"]
    nothing = await say(ada, general, "history", search="unicorn")
    assert "Nothing of yours fits" in nothing["content"]


async def test_an_entry_again_rerolled_sent_and_deleted(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await imagine(ada, general, private=True, seed=5)
    await delivered(rig, 1)
    page = await history(ada, general)
    entry = await (await ada.click(page, "darkroom:entry", ["1"])).response()
    assert len(entry["attachments"]) == 1
    act = await ada.click(entry, "Again")
    again = await finished(ada, general, await act.deferred())
    assert again["flags"] & 64
    assert "to the last bit" in again["content"]
    first, second = await rig.job(1), await rig.job(2)
    assert second.request == first.request
    assert second.pictures[0].pixels_sha256 == first.pictures[0].pixels_sha256
    await pressed(rig, ada, general, entry, "Reroll")
    assert await bo.messages(general) == []
    sent = await (await ada.click(entry, "Send here")).response()
    seen = await bo.message(general, sent["id"])
    assert len(seen["attachments"]) == 1
    await pressed(rig, bo, general, seen, "Reroll")
    answer = await (await ada.click(entry, "Delete for good")).response()
    assert "#1 and its pictures are deleted" in answer["content"]
    assert await rig.studio.jobs.get(1) is None
    assert "1" not in entries(await history(ada, general))
    async with asyncio.timeout(PATIENCE):
        while any(m["id"] == sent["id"] for m in await bo.messages(general)):
            await asyncio.sleep(0.02)
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.jobs.to_take_back():
            await asyncio.sleep(0.02)


async def test_what_a_stop_left_of_a_deletion_goes_after_the_next_start(
    rig: Rig, ada: Person, general: str
) -> None:
    await made(rig, ada, general, "first", "second")
    await delivered(rig, 2)
    # as a process that ended before it could do more than this
    async with rig.studio.store.personal._database.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO deletions SELECT user_id, max(id) FROM jobs GROUP BY user_id"
        )
    await rig.restart()
    async with asyncio.timeout(PATIENCE):
        while [m for m in await ada.messages(general) if m["attachments"]]:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.jobs.to_take_back():
            await asyncio.sleep(0.02)
    page = await say(ada, general, "history")
    assert "embeds" not in page or not page["embeds"]


async def test_the_tree_shows_the_family(rig: Rig, ada: Person, general: str) -> None:
    first = await imagine(ada, general)
    second = await (await ada.click(await ada.message(general, first["id"]), "Reroll")).deferred()
    await finished(ada, general, second)
    await pressed(rig, ada, general, second, "Upscale")
    shown = (await say(ada, general, "history", tree=2))["content"].splitlines()
    assert [line.strip("\u2003").split(" · ")[0] for line in shown] == [
        "**#1** imagine",
        "➤ **#2** reroll",
        "**#3** upscale",
    ]
    assert [len(line) - len(line.lstrip("\u2003")) for line in shown] == [0, 1, 2]


async def test_replay_says_what_has_changed(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    await imagine(ada, general, seed=5)
    act = await bo.command(general, "replay", job=1)
    same = await finished(bo, general, await act.deferred())
    assert "The same as #1, to the last bit" in same["content"]
    rig.engine.file_hash = "1" * 64
    act = await bo.command(general, "replay", job=1)
    other = await finished(bo, general, await act.deferred())
    assert "Not quite the same as #1" in other["content"]
    assert "demo" in other["content"]
    await imagine(ada, general, private=True)
    answer = await say(bo, general, "replay", job=4)
    assert "There is no request #4" in answer["content"]


async def test_personal_data(rig: Rig, ada: Person, bo: Person, general: str) -> None:
    await made(rig, ada, general, "mine", "mine too")
    await made(rig, bo, general, "not mine")
    await delivered(rig, 3)
    exported = await say(ada, general, "mydata export")
    _, content = await rig.control.get(exported["attachments"][0]["url"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        jobs = json.loads(archive.read("jobs.json"))
    assert [job["request"]["prompt"] for job in jobs] == ["mine", "mine too"]
    assert sum(name.endswith(".png") for name in names) == 2
    sure = await say(ada, general, "mydata delete")
    answer = await (await ada.click(sure, "Delete everything")).response()
    assert "2 requests and 2 pictures" in answer["content"]
    assert await rig.studio.jobs.get(1) is None
    assert await rig.studio.jobs.get(3) is not None
    async with asyncio.timeout(PATIENCE):
        while len([m for m in await bo.messages(general) if m["attachments"]]) != 1:
            await asyncio.sleep(0.02)


PARTS_AT_ONCE = 3
"""Zip files of an export on the disk: those of a message, and the one that is made."""


@pytest.fixture
def parts_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many zip files lay in the folder of an export, whenever one was whole or sent."""
    seen: list[int] = []
    export = PersonalStore.export

    async def watched(
        self: PersonalStore, user_id: int, folder: Path, *, max_bytes: int
    ) -> AsyncGenerator[Path, None]:
        async for part in export(self, user_id, folder, max_bytes=max_bytes):
            seen.append(len(list(folder.iterdir())))
            yield part
            seen.append(len(list(folder.iterdir())))

    monkeypatch.setattr(PersonalStore, "export", watched)
    monkeypatch.setattr(mydata, "PART_MAX", 1000)
    return seen


async def messages_of_export(person: Person, channel: str) -> list[Json]:
    """The messages of an export there, once the last has come."""
    async with asyncio.timeout(PATIENCE):
        found: list[Json] = []
        while not any(", the last." in message["content"] for message in found):
            await asyncio.sleep(0.05)
            found = [m for m in await person.messages(channel, 100) if "Part " in m["content"]]
    return sorted(found, key=lambda message: int(message["id"]))


@pytest.mark.slow
async def test_a_long_export_comes_in_messages_and_is_never_whole_on_the_disk(
    rig: Rig, ada: Person, general: str, parts_seen: list[int]
) -> None:
    await made(rig, ada, general, *(f"picture {n}" for n in range(8)))
    await say(ada, general, "mydata export")
    messages = await messages_of_export(ada, general)
    assert [m["content"] for m in messages] == [
        *(f"Part {n}. More follows." for n in range(1, len(messages))),
        f"Part {len(messages)}, the last.",
    ]
    assert len(messages) > mydata.FOLLOWUPS_MAX, "where the bot is a member Discord takes more"
    assert all(len(message["attachments"]) == 2 for message in messages[:-1])
    assert all(message["flags"] & 64 for message in messages)
    assert max(parts_seen) == PARTS_AT_ONCE


@pytest.mark.slow
async def test_an_export_goes_on_in_direct_messages(
    rig: Rig, ada: Person, general: str, parts_seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(rig, ada, general, *(f"picture {n}" for n in range(3)))
    monkeypatch.setattr(mydata, "UPLOADED_WITHIN", timedelta(hours=1))
    await (await ada.command(general, "mydata export")).deferred()
    messages = await messages_of_export(ada, await ada.channel("dm"))
    assert len(messages) > 1
    assert max(parts_seen) == PARTS_AT_ONCE


@pytest.mark.slow
async def test_an_export_for_whoever_takes_no_direct_messages_says_what_to_do(
    rig: Rig,
    bo: Person,
    general: str,
    control: Control,
    parts_seen: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a person's app in a server without the bot, where Discord takes five messages."""
    await bo.install_app()
    guild = await control.add_guild("Elsewhere", "ada", bot=False)
    await control.call("PUT", f"/guilds/{guild['id']}/members/bo", {})
    elsewhere = str(guild["channels"][0]["id"])
    await made(rig, bo, general, *(f"picture {n}" for n in range(8)))
    dm = await bo.channel("dm")
    await control.fault(f"/channels/{dm}/", method="POST", status=403, code=50007, times=100)
    await (await bo.command(elsewhere, "mydata export")).deferred()
    told = await bo.wait_for("MESSAGE_CREATE", lambda m: "closed to this bot" in m["content"])
    assert "messages so far: 4" in told["content"]
    assert "Privacy Settings" in told["content"]
    assert told["flags"] & 64
    assert "incident" not in caplog.text
    assert max(parts_seen) == PARTS_AT_ONCE
    # once they are open, it comes to its end
    await control.clear_faults()
    await (await bo.command(elsewhere, "mydata export")).deferred()
    await messages_of_export(bo, dm)


async def test_the_queue_and_cancel(rig: Rig, ada: Person, bo: Person, general: str) -> None:
    rig.engine.gate = asyncio.Event()
    first = await (await ada.command(general, "imagine", prompt="secret words")).deferred()
    await rig.until(lambda job: job.started_at is not None)
    await (await bo.command(general, "imagine", prompt="bo's own")).deferred()
    shown = (await say(bo, general, "queue"))["embeds"][0]["description"]
    assert "bo's own" in shown
    assert "secret words" not in shown
    assert "done in about" in shown
    assert "Only the person" in (await say(bo, general, "cancel", job=1))["content"]
    assert "Request #2 is cancelled" in (await say(bo, general, "cancel", job=2))["content"]
    assert "Nothing of yours" in (await say(bo, general, "cancel"))["content"]
    assert "One request is cancelled" in (await say(ada, general, "cancel"))["content"]
    rig.engine.gate.set()
    await rig.until(lambda job: job.delivered_at is not None)
    assert "Cancelled" in (await ada.message(general, first["id"]))["embeds"][0]["description"]


async def test_of_many_exports_at_once_a_few_are_made_and_the_others_told(
    rig: Rig, ada: Person, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(rig, ada, general, "mine")
    gate, contents = asyncio.Event(), Exporter._contents

    async def held(self: Exporter, *args: int) -> AsyncGenerator[tuple[str, bytes], None]:
        await gate.wait()
        async for content in contents(self, *args):
            yield content

    monkeypatch.setattr(Exporter, "_contents", held)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(say(ada, general, "mydata export"))
        second = group.create_task(say(bo, general, "mydata export"))
        async with asyncio.timeout(PATIENCE):
            while len(rig.studio.store.personal._exporter._exporting) < 2:
                await asyncio.sleep(0.01)
        for person in (ada, ada, bo, await rig.control.person("cy")):
            answer = await say(person, general, "mydata export")
            assert "Try again in some minutes" in answer["content"]
        gate.set()
    assert first.result()["attachments"]
    assert second.result()["attachments"]
    again = await say(ada, general, "mydata export")
    assert again["attachments"], "what has ended counts no more"
