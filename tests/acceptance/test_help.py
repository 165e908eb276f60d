"""How people learn what the bot does: /help, a welcome, an answer to direct messages."""

import asyncio

import msgspec
import pytest
from discord import app_commands
from structlog.testing import capture_logs

from bot.requests.actions import ACTIONS
from generation import vocabulary
from generation.models import ModelKind
from playground.control import Control
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, told_to_log
from tests.acceptance.test_imagine import imagine
from tests.patience import PATIENCE


def knows(rig: Rig, prompt: str) -> bool:
    model = rig.studio.catalog.get(ModelKind.CHECKPOINT, "demo")
    return vocabulary.unknown_words(vocabulary.of_model(model), prompt) == []


def fields(message: Json) -> dict[str, str]:
    [embed] = message["embeds"]
    return {field["name"]: field["value"] for field in embed["fields"]}


async def test_help_names_every_command_and_action_to_one_person(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    message = await (await ada.command(general, "help")).response()
    assert message["flags"] & 64
    assert await bo.messages(general) == []
    [embed] = message["embeds"]
    ids = rig.client.command_ids
    for command in rig.client.tree.walk_commands():
        name = command.qualified_name
        if not isinstance(command, app_commands.Group):
            assert f"</{name}:{ids[name.split()[0]]}>" in embed["description"], name
    under = fields(message)["Under a picture"]
    for action in ACTIONS.values():
        assert action.on in ("pick", "history") or action.emoji in under, action.name
    tries = embed["description"].split("**")[2].strip().splitlines()
    assert len(tries) == 3
    for line in tries:
        start, prompt = line.split("> ", 1)
        assert start == f"</imagine:{ids['imagine']}"
        assert knows(rig, prompt)
    await imagine(ada, general, prompt=prompt)


async def test_help_speaks_chinese_and_links_where_the_owner_says(
    rig: Rig, ada: Person, general: str
) -> None:
    await rig.stop()
    discord = msgspec.structs.replace(rig.config.discord, help_link="https://example.org/bot")
    rig.config = msgspec.structs.replace(rig.config, discord=discord)
    await rig.start()
    user_id = int((await ada.state())["me"]["id"])
    await rig.studio.store.settings.change_person(user_id, language="zh-CN")
    message = await (await ada.command(general, "help")).response()
    assert message["embeds"][0]["title"] == "你描述，我来画"
    assert fields(message)["更多"] == "https://example.org/bot"


async def test_commands_can_be_clicked_after_a_restart_too(
    rig: Rig, ada: Person, general: str
) -> None:
    """Nothing is registered then, for nothing has changed."""
    before = dict(rig.client.command_ids)
    await rig.restart()
    assert rig.client.command_ids == before
    assert before["imagine"]


class TestWelcome:
    @pytest.fixture
    async def first_start(self, rig: Rig) -> Rig:
        """The bot's first start as it is for everybody else: with a welcome."""
        await rig.stop()
        discord = msgspec.structs.replace(rig.config.discord, welcome=True)
        rig.config = msgspec.structs.replace(rig.config, discord=discord)
        return rig

    async def test_the_first_start_says_what_to_try(
        self, first_start: Rig, bo: Person, general: str
    ) -> None:
        await first_start.start()
        message = await bo.wait_for("MESSAGE_CREATE")
        assert message["channel_id"] == general
        tries = [line for line in message["content"].splitlines() if "</imagine:" in line]
        assert len(tries) == 3
        assert all(knows(first_start, line.split("> ", 1)[1]) for line in tries)
        assert f"</help:{first_start.client.command_ids['help']}>" in message["content"]

    async def test_it_says_so_once(self, first_start: Rig, bo: Person, general: str) -> None:
        await first_start.start()
        await bo.wait_for("MESSAGE_CREATE")
        await first_start.control.forget_nonces()
        await first_start.restart()
        await first_start.client.on_guild_join(first_start.client.guilds[0])
        await imagine(bo, general)
        said = [m for m in await bo.messages(general) if "Hello!" in m["content"]]
        assert len(said) == 1

    @pytest.mark.parametrize("after", [False, True], ids=["refused", "answer lost"])
    async def test_it_says_so_once_where_discord_stumbles(
        self, first_start: Rig, bo: Person, general: str, *, after: bool
    ) -> None:
        await first_start.control.fault(
            "/channels/", method="POST", status=503, times=2, after=after
        )
        await first_start.start()
        notices = first_start.studio.store.settings
        guild = first_start.client.guilds[0].id
        async with asyncio.timeout(PATIENCE):
            while not await notices.noticed(guild, "welcome"):
                await asyncio.sleep(0.02)
        said = [m for m in await bo.messages(general) if "Hello!" in m["content"]]
        assert len(said) == 1

    async def test_the_next_start_says_what_this_one_could_not(
        self, first_start: Rig, bo: Person, general: str
    ) -> None:
        await first_start.control.fault("/channels/", method="POST", code=50013, times=1000)
        with capture_logs() as logged:
            await first_start.start()
            await told_to_log(logged, "no welcome")
        assert await bo.messages(general) == []
        await first_start.control.clear_faults()
        await first_start.restart()
        message = await bo.wait_for("MESSAGE_CREATE")
        assert "Hello!" in message["content"]

    async def test_a_server_is_greeted_when_the_bot_joins_it(
        self, first_start: Rig, control: Control, bo: Person, general: str
    ) -> None:
        await first_start.start()
        await bo.wait_for("MESSAGE_CREATE")
        other = await control.add_guild("another", owner="bo")
        [channel] = other["channels"]
        message = await bo.wait_for(
            "MESSAGE_CREATE", lambda message: message["channel_id"] == channel["id"]
        )
        assert "Hello!" in message["content"]

    async def test_nothing_is_said_where_it_has_long_been(
        self, first_start: Rig, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from datetime import timedelta

        monkeypatch.setattr("bot.features.help.welcome.NEW", timedelta(days=-1))
        await first_start.start()
        await imagine(bo, general)
        assert len(await bo.messages(general)) == 1


async def test_who_writes_directly_is_told_how_to_ask_once_an_hour(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    direct = await bo.channel("dm")
    await bo.say(direct, "hello?")
    answer = await bo.wait_for("MESSAGE_CREATE", lambda message: message["author"].get("bot"))
    assert "I draw what you describe." in answer["content"]
    assert "你描述，我来画。" in answer["content"], "nobody knows which language that was"
    assert f"</imagine:{rig.client.command_ids['imagine']}>" in answer["content"]
    await bo.say(direct, "and now?")
    await bo.say(general, "in a channel")
    await imagine(bo, direct)
    assert len(await bo.messages(direct)) == 4, "two of theirs, one answer, one picture"
    assert len(await bo.messages(general)) == 1
    user_id = int((await ada.state())["me"]["id"])
    await rig.studio.store.settings.change_person(user_id, language="en-US")
    await ada.say(await ada.channel("dm"), "hello?")
    answer = await ada.wait_for("MESSAGE_CREATE", lambda message: message["author"].get("bot"))
    assert "你描述" not in answer["content"]


async def test_who_could_not_be_answered_is_when_they_write_again(
    rig: Rig, bo: Person, general: str
) -> None:
    direct = await bo.channel("dm")
    await rig.control.fault(f"/channels/{direct}/messages", method="POST", status=503, times=1)
    with capture_logs() as logged:
        await bo.say(direct, "hello?")
        await told_to_log(logged, "could not be answered")
    await bo.say(direct, "hello?")
    answer = await bo.wait_for("MESSAGE_CREATE", lambda message: message["author"].get("bot"))
    assert "I draw what you describe." in answer["content"]
