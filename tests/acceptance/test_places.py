"""The bot in threads, posts of forums, direct messages, and as an app that a person installed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from playground.control import Control
from playground.permissions import Permission
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, buttons, finished
from tests.acceptance.test_actions import delivered, next_picture
from tests.acceptance.test_faults import shown_pictures
from tests.acceptance.test_imagine import imagine

Opening = Callable[[], Awaitable[str]]


@pytest.fixture
async def guild(ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])


async def told(person: Person) -> Json:
    """What the bot writes to a person directly."""
    direct = await person.channel("dm")
    return await person.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == direct)


async def opened(place: str, control: Control, ada: Person, guild: str) -> str:
    """The id of a thread or post of that kind, which ada made."""
    if place == "thread":
        return str((await ada.begin_thread("general", "sketches"))["id"])
    if place == "thread from a message":
        said = await ada.say("general", "look")
        return str((await ada.begin_thread("general", "about it", message=said))["id"])
    if place == "private thread":
        thread = await ada.begin_thread("general", "secret", private=True)
        await ada.let_in(thread["id"], "Darkroom")
        return str(thread["id"])
    forum = await control.add_channel(guild, "showcase", forum=True)
    assert forum["available_tags"] == []
    return str((await ada.post("showcase", "My fox", "what do you think?"))["id"])


PLACES = ["thread", "thread from a message", "private thread", "post of a forum"]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
async def test_in_threads_everything_works(
    rig: Rig, ada: Person, control: Control, guild: str, place: str
) -> None:
    thread = await opened(place, control, ada, guild)
    first = await imagine(ada, thread)
    assert first["channel_id"] == thread
    await ada.wait_for("MESSAGE_REACTION_ADD", lambda event: event["emoji"]["name"] == "❌")
    pressed = await ada.click(first, "Reroll")
    second = await finished(ada, thread, await pressed.deferred())
    assert second["channel_id"] == thread
    await ada.react(second, "🔁")
    third = await next_picture(ada, thread, second)
    assert third["channel_id"] == thread
    assert third["message_reference"]["message_id"] == second["id"]
    await delivered(rig, 3)
    # after a restart, too, and once the token has ended
    gate = asyncio.Event()
    await rig.restart()
    rig.engine.gate = gate
    await (await ada.command(thread, "imagine", prompt="later")).deferred()
    await control.clock(16 * 60)
    gate.set()
    await delivered(rig, 4)
    assert len(await shown_pictures(ada, thread)) == 4


async def test_in_a_private_thread_without_the_bot(rig: Rig, ada: Person, bo: Person) -> None:
    await rig.control.forget_requests()
    thread = await bo.begin_thread("general", "secret", private=True)
    message = await imagine(bo, thread["id"])
    assert "Reroll" in buttons(message)
    again = await bo.click(message, "Reroll")
    await finished(bo, thread["id"], await again.deferred())
    await delivered(rig, 2)
    assert [r["path"] for r in await rig.control.requests() if r["status"] >= 400] == []
    assert "reactions" not in await bo.message(thread["id"], message["id"])
    # where its answer can no longer go, its owner gets it directly
    rig.engine.gate = asyncio.Event()
    await (await bo.command(thread["id"], "imagine", prompt="late")).deferred()
    await rig.control.clock(16 * 60)
    rig.engine.gate.set()
    direct = await told(bo)
    assert direct["attachments"]
    await delivered(rig, 3)


@pytest.mark.parametrize("locked", [False, True])
async def test_a_thread_is_archived_meanwhile(
    rig: Rig, ada: Person, bo: Person, locked: bool
) -> None:
    thread = await ada.begin_thread("general", "sketches")
    rig.engine.gate = asyncio.Event()
    await (await bo.command(thread["id"], "imagine", prompt="a fox")).deferred()
    if locked:
        await ada.change_thread(thread["id"], locked=True)
    await ada.change_thread(thread["id"], archived=True)
    rig.engine.gate.set()
    await delivered(rig, 1)
    if locked:
        assert (await told(bo))["attachments"]
        assert await shown_pictures(bo, thread["id"]) == []
    else:
        # a new message opens it again
        assert len(await shown_pictures(bo, thread["id"])) == 1


async def test_what_is_not_allowed_in_threads_is_refused_before_drawing(
    rig: Rig, ada: Person, control: Control, general: str
) -> None:
    thread = (await ada.begin_thread("general", "sketches"))["id"]
    bits = int(Permission.SEND_MESSAGES_IN_THREADS)
    await control.overwrite(general, "Darkroom", deny=bits)
    refusal = await (await ada.command(thread, "imagine", prompt="a fox")).response()
    assert "send messages in threads" in refusal["content"]
    assert refusal["flags"] & 64
    assert rig.engine.began == []
    # writing in the channel is another matter, and so is the other way around
    await imagine(ada, general)
    await control.overwrite(general, "Darkroom", deny=int(Permission.SEND_MESSAGES))
    await imagine(ada, thread)
    refusal = await (await ada.command(general, "imagine", prompt="a fox")).response()
    assert "send messages" in refusal["content"]


async def test_a_thread_is_in_its_channel(rig: Rig, ada: Person, general: str, guild: str) -> None:
    """A server's channels count for the threads in them, and so does their age restriction."""
    thread = (await ada.begin_thread("general", "sketches"))["id"]
    dark = (await ada.begin_thread("after-dark", "night"))["id"]
    settings = rig.studio.store.settings
    await settings.change_guild(int(guild), channels=(int(general),))
    await imagine(ada, thread)
    refusal = await (await ada.command(dark, "imagine", prompt="x")).response()
    assert f"<#{general}>" in refusal["content"]
    await settings.change_guild(int(guild), channels=(), age_restricted=True)
    refusal = await (await ada.command(thread, "imagine", prompt="x")).response()
    assert "age-restricted" in refusal["content"]
    await imagine(ada, dark)


async def test_in_a_direct_message_all_doors_are_open(rig: Rig, bo: Person) -> None:
    direct = await bo.channel("dm")
    first = await imagine(bo, direct)
    await bo.wait_for("MESSAGE_REACTION_ADD", lambda event: event["emoji"]["name"] == "❌")
    await bo.react(first, "🔁")
    second = await next_picture(bo, direct, first)
    pressed = await bo.click(second, "Reroll")
    await finished(bo, direct, await pressed.deferred())
    assert (await rig.job(3)).parent == 2


@pytest.fixture
async def elsewhere(rig: Rig, ada: Person, bo: Person, control: Control) -> str:
    """A channel of a server without the bot; bo has its app."""
    await bo.install_app()
    guild = await control.add_guild("Elsewhere", "ada", bot=False)
    await control.call("PUT", f"/guilds/{guild['id']}/members/bo", {})
    return str(guild["channels"][0]["id"])


async def test_as_a_persons_app_in_a_server_without_the_bot(
    rig: Rig, ada: Person, bo: Person, elsewhere: str, control: Control
) -> None:
    await control.forget_requests()
    message = await imagine(bo, elsewhere, count=2)
    assert len(message["attachments"]) == 2
    assert len(await shown_pictures(ada, elsewhere)) == 1
    # the others may press, and see what comes of it
    again = await ada.click(message, "Reroll")
    await finished(ada, elsewhere, await again.deferred())
    await delivered(rig, 2)
    # nothing was tried that such an app may never do
    assert [r["path"] for r in await control.requests() if r["status"] >= 400] == []


async def test_as_a_persons_app_privately_and_refused(
    rig: Rig, ada: Person, bo: Person, elsewhere: str
) -> None:
    message = await imagine(bo, elsewhere, private=True)
    assert message["flags"] & 64
    assert await ada.messages(elsewhere) == []
    refusal = await (
        await bo.command(elsewhere, "imagine", prompt="x", sampler="no such")
    ).response()
    assert refusal["flags"] & 64
    assert "no such" in refusal["content"]


async def test_a_persons_app_is_refused_where_nobody_may_send_pictures(
    rig: Rig, bo: Person, elsewhere: str, control: Control
) -> None:
    guild = (await bo.state())["guilds"][1]["id"]
    await control.overwrite(elsewhere, guild, deny=int(Permission.ATTACH_FILES))
    refusal = await (await bo.command(elsewhere, "imagine", prompt="a fox")).response()
    assert "attach files" in refusal["content"]
    assert "send messages" not in refusal["content"]
    assert rig.engine.began == []


async def test_a_persons_app_delivers_directly_once_the_token_has_ended(
    rig: Rig, bo: Person, elsewhere: str
) -> None:
    rig.engine.gate = asyncio.Event()
    await (await bo.command(elsewhere, "imagine", prompt="late")).deferred()
    await rig.control.clock(16 * 60)
    rig.engine.gate.set()
    assert (await told(bo))["attachments"]
    await delivered(rig, 1)


async def test_a_persons_app_between_two_people(rig: Rig, ada: Person, bo: Person) -> None:
    await bo.install_app()
    channel = await bo.channel("dm:ada")
    message = await imagine(bo, channel)
    again = await ada.click(await ada.message(channel, message["id"]), "Reroll")
    await finished(ada, channel, await again.deferred())
    assert (await rig.job(2)).origin.user_id == int((await ada.state())["me"]["id"])
