"""`/settings`: lists handed in and taken out as files."""

import asyncio
from typing import Any

import pytest

from generation.preset import Preset
from playground.control import Control
from playground.person import Act, Person, fields_of
from storage.settings import PHRASES_MAX, GuildSettings
from tests.acceptance.conftest import Json, Rig
from tests.acceptance.test_long_settings import GUILD_MENU, ids_of
from tests.acceptance.test_retry import RETRY, answer_to
from tests.acceptance.test_servers import say, texts

LONG = tuple(f"phrase {i:03} " + "x" * 400 for i in range(PHRASES_MAX))
"""Fifty times what a field takes."""


@pytest.fixture
async def guild(rig: Rig, ada: Person) -> int:
    return int((await ada.state())["guilds"][0]["id"])


@pytest.fixture
async def roles(rig: Rig, control: Control, guild: int) -> list[int]:
    made = [await control.add_role(str(guild), f"role {n}", 0) for n in range(3)]
    return [int(role["id"]) for role in made]


async def opened(ada: Person, channel: str, name: str) -> tuple[Json, Act]:
    """The panel, and the dialog of a setting that is still short."""
    panel = await say(ada, channel, "settings")
    act = await ada.click(panel, GUILD_MENU, [name])
    await act.modal()
    return panel, act


async def handed_in(ada: Person, act: Act, content: bytes, name: str = "list.txt") -> Act:
    return await act.submit(file=[await ada.upload(name, content)])


async def shown_after(ada: Person, act: Act, panel: Json) -> Json:
    """The panel, once the file is read."""
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == panel["id"], since=act._since)
    return await ada.message(panel["channel_id"], panel["id"])


async def settings_of(rig: Rig, guild: int) -> GuildSettings:
    return await rig.studio.store.settings.guild(guild)


async def test_a_blocklist_far_longer_than_a_field_is_handed_in_and_taken_out(
    rig: Rig, ada: Person, general: str, guild: int
) -> None:
    panel, act = await opened(ada, general, "blocklist")
    act = await handed_in(ada, act, "\n".join(LONG).encode())
    panel = await shown_after(ada, act, panel)
    assert "Page 1 of" in texts(panel["components"])
    assert (await settings_of(rig, guild)).blocklist == LONG
    act = await ada.click(panel, ids_of(panel)["settings_file"]["custom_id"])
    file = (await act.response())["attachments"][0]
    _, content = await rig.control.get(file["url"])
    # what was taken out is handed in again, changed by an editor for Windows
    changed = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n\r\n"
    changed = changed.replace(LONG[3].encode(), "нет".encode())
    act = await ada.click(panel, ids_of(panel)["settings_load"]["custom_id"])
    await act.modal()
    act = await handed_in(ada, act, changed)
    await shown_after(ada, act, panel)
    assert (await settings_of(rig, guild)).blocklist == (*LONG[:3], "нет", *LONG[4:])


async def test_every_kind_of_list_is_read_as_it_is_written(
    rig: Rig, control: Control, ada: Person, general: str, guild: int, roles: list[int]
) -> None:
    await rig.studio.store.presets.write(guild, Preset(name="Night"))
    first, second, _ = roles
    for name, content, kept in (
        ("quota_by_role", f"{first}: 5\n\n <@&{second}> : 10 ", {first: 5, second: 10}),
        ("weight_by_role", f"{first}：1.5", {first: 1.5}),
        ("waiting_by_role", f"{first}: 3", {first: 3}),
        ("channels", f"<#{general}>\n{general}", (int(general),)),
        ("channel_presets", f"{general}: night", {int(general): "Night"}),
    ):
        panel, act = await opened(ada, general, name)
        await shown_after(ada, await handed_in(ada, act, content.encode()), panel)
        assert getattr(await settings_of(rig, guild), name) == kept, name


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("blocklist", b"fog\nrain\n\xff\xfe snow", ("line 3", "UTF-8")),
        ("blocklist", "fog\nrain".encode("utf-16"), ("line 1", "UTF-8")),
        ("blocklist", b"fog\nra\0in", ("line 2", "half a character")),
        ("blocklist", b"fog\n\n" + b"x" * 501, ("line 3", "longer than 500")),
        ("blocklist", b"fog\n/a(/\n/b/", ("line 2", "blocklist")),
        ("blocklist", b"fog\n/.*/", ("line 2", "every prompt")),
        ("blocklist", b"\n".join(b"p%d" % n for n in range(501)), ("line 501", "at most 500")),
        ("blocklist", b" \n\n", ("no entries",)),
        ("blocklist", b"fog\n" * 300_000, ("too large", "1024 KiB")),
        ("quota_by_role", b"ROLE: 5\nROLE 6", ("line 2", "1234567890: 5")),
        ("quota_by_role", b"ROLE: 5\npatrons: 6", ("line 2", "1234567890: 5")),
        ("quota_by_role", b"ROLE:", ("line 1", "1234567890: 5")),
        ("quota_by_role", b"ROLE: 5\nROLE: 6", ("line 2", "another value")),
        ("quota_by_role", b"ROLE: 0", ("line 1", "from 1 to")),
        ("quota_by_role", b"ROLE: many", ("line 1", "number")),
        ("quota_by_role", b"ROLE: 5\n999: 6", ("line 2", "no role")),
        ("quota_by_role", b"ROLE: 5\n9999999999999999999: 6", ("line 2", "1234567890: 5")),
        ("waiting_by_role", b"ROLE: 4", ("line 1", "from 1 to 3")),
        ("channels", b"CHANNEL\ngeneral", ("line 2", "1234567890")),
        ("channels", b"CHANNEL\n12", ("line 2", "no channel")),
        ("channel_presets", b"CHANNEL: demo\n\n12: demo", ("line 3", "no channel")),
        ("channel_presets", b"CHANNEL: nihgt", ("line 1", "no preset", "Night")),
    ],
)
async def test_a_bad_file_is_refused_by_its_line_and_nothing_is_lost(
    rig: Rig,
    ada: Person,
    general: str,
    guild: int,
    roles: list[int],
    name: str,
    content: bytes,
    said: tuple[str, ...],
) -> None:
    await rig.studio.store.presets.write(guild, Preset(name="Night"))
    await rig.studio.store.presets.write(guild, Preset(name="demo"))
    there: dict[str, Any] = {
        "blocklist": ("snow",),
        "quota_by_role": {roles[2]: 9},
        "waiting_by_role": {roles[2]: 2},
        "channels": (int(general),),
        "channel_presets": {int(general): "Night"},
    }
    before = await rig.studio.store.settings.change_guild(guild, **there)
    content = content.replace(b"ROLE", b"%d" % roles[0]).replace(b"CHANNEL", general.encode())
    _, act = await opened(ada, general, name)
    refused = await answer_to(await handed_in(ada, act, content, "list.txt"))
    for words in ("list.txt", *said):
        assert words in refused["content"]
    assert "went wrong" not in refused["content"]
    assert await settings_of(rig, guild) == before
    # mended, it is taken from where it was refused
    act = await ada.click(refused, RETRY)
    await act.modal()
    mended = {"blocklist": b"fog", "channels": general.encode()}
    entry = mended.get(name, f"{roles[0] if 'role' in name else general}: 2".encode())
    if name != "channel_presets":
        await (await handed_in(ada, act, entry)).response()
        assert len(getattr(await settings_of(rig, guild), name)) == 1


async def test_a_list_that_another_has_changed_meanwhile_loses_nothing(
    rig: Rig, ada: Person, general: str, guild: int, roles: list[int]
) -> None:
    settings = rig.studio.store.settings
    panel, act = await opened(ada, general, "blocklist")
    await settings.change_guild(guild, blocklist=("rain", "snow"))
    await shown_after(ada, await handed_in(ada, act, b"fog\nrain"), panel)
    assert (await settings.guild(guild)).blocklist == ("rain", "snow", "fog")
    panel, act = await opened(ada, general, "quota_by_role")
    await settings.change_guild(guild, quota_by_role={roles[0]: 5, roles[1]: 6})
    content = f"{roles[1]}: 7\n{roles[2]}: 8".encode()
    await shown_after(ada, await handed_in(ada, act, content), panel)
    assert (await settings.guild(guild)).quota_by_role == {roles[0]: 5, roles[1]: 7, roles[2]: 8}


async def test_roles_that_are_gone_may_stay_in_a_file(
    rig: Rig, ada: Person, general: str, guild: int, roles: list[int]
) -> None:
    settings = rig.studio.store.settings
    await settings.change_guild(guild, quota_by_role={77: 5})
    panel, act = await opened(ada, general, "quota_by_role")
    act = await handed_in(ada, act, f"77: 6\n{roles[0]}: 2".encode())
    await shown_after(ada, act, panel)
    assert (await settings.guild(guild)).quota_by_role == {77: 6, roles[0]: 2}


async def test_a_file_that_is_handed_in_again_keeps_what_another_has_added(
    rig: Rig, ada: Person, general: str, guild: int
) -> None:
    change = rig.studio.store.settings.change_guild
    await change(guild, blocklist=LONG)
    panel = await say(ada, general, "settings")
    act = await ada.click(panel, GUILD_MENU, ["blocklist"])
    panel = await shown_after(ada, act, panel)
    act = await ada.click(panel, ids_of(panel)["settings_load"]["custom_id"])
    await act.modal()
    message = await answer_to(await handed_in(ada, act, b"/(/"))
    await change(guild, blocklist=("slur",))
    act = await ada.click(message, RETRY)
    await act.modal()
    await (await handed_in(ada, act, b"mist")).wait_for("INTERACTION_SUCCESS")
    async with asyncio.timeout(20):
        while (await settings_of(rig, guild)).blocklist != ("slur", "mist"):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", ["blocklist", "quota_by_role"])
async def test_a_file_does_not_replace_what_was_entered_beside_it(
    rig: Rig, ada: Person, general: str, guild: int, roles: list[int], name: str
) -> None:
    await rig.studio.store.settings.change_guild(guild, blocklist=("fog",))
    before = await settings_of(rig, guild)
    entered: dict[str, Any] = {"value": "fog\nmist"}
    content = b"slur"
    if name == "quota_by_role":
        entered, content = {"role": [str(roles[0])], "value": "7"}, f"{roles[1]}: 5".encode()
    _, act = await opened(ada, general, name)
    message = await answer_to(
        await act.submit(file=[await ada.upload("list.txt", content)], **entered)
    )
    assert "gave a file too" in message["content"]
    assert await settings_of(rig, guild) == before
    act = await ada.click(message, RETRY)
    fields = fields_of((await act.modal())["components"])
    assert entered["value"] in [field.get("value") for field in fields]
    await (await act.submit(**entered)).wait_for("INTERACTION_SUCCESS")
    now = await settings_of(rig, guild)
    assert (now.blocklist == ("fog", "mist")) or (now.quota_by_role == {roles[0]: 7})


async def test_a_field_that_was_left_as_it_was_shown_does_not_hinder_the_file(
    rig: Rig, ada: Person, general: str, guild: int
) -> None:
    await rig.studio.store.settings.change_guild(guild, blocklist=("fog", "mist"))
    for value, content in (("fog\nmist", b"slur"), ("", b"smog")):
        panel, act = await opened(ada, general, "blocklist")
        act = await act.submit(file=[await ada.upload("list.txt", content)], value=value)
        await shown_after(ada, act, panel)
        assert (await settings_of(rig, guild)).blocklist == (content.decode(),)
        await rig.studio.store.settings.change_guild(guild, blocklist=("fog", "mist"))
