"""One of the people in a test: what they see, say, click and hand in."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

from .control_session import ControlSession
from .world import Json

TIMEOUT = 30.0
"""Seconds that the waiting calls wait, unless told."""

DEFERRED = 1 << 7
COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
CHAT, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUBCOMMANDS = (1, 2)


class InteractionFailed(Exception):  # noqa: N818  (the event it reports is INTERACTION_FAILURE)
    """The person saw that the application did not respond."""


class Person:
    """One of the people: what they see and do."""

    def __init__(self, session: ControlSession, name: str) -> None:
        self.session = session
        self.name = name
        self.events: list[Json] = []
        """Everything seen since they came: `{"t": …, "d": …}`."""
        self._seen = asyncio.Condition()
        self._nonces = itertools.count(1)

    async def listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._reader = asyncio.create_task(self._read())

    async def leave(self) -> None:
        await self._socket.close()
        await self._reader

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                async with self._seen:
                    self.events.append(json.loads(message.data))
                    self._seen.notify_all()

    async def wait_for(
        self,
        name: str,
        matches: Callable[[Json], bool] = lambda _: True,
        *,
        since: int = 0,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  (the message names what did not come)
    ) -> Json:
        """The data of the first event of that name that matches, seen or still to come.

        `since` is a length of `events` noted before.
        """
        found: list[Json] = []

        def look() -> bool:
            found.extend(e["d"] for e in self.events[since:] if e["t"] == name and matches(e["d"]))
            return bool(found)

        async with self._seen:
            try:
                async with asyncio.timeout(timeout):
                    await self._seen.wait_for(look)
            except TimeoutError:
                seen = ", ".join(e["t"] for e in self.events[since:]) or "nothing"
                raise AssertionError(f"No {name} within {timeout} s; saw {seen}") from None
        return found[0]

    # -- looking ----------------------------------------------------------------------------

    async def state(self) -> Json:
        return dict(await self.session.call("GET", f"/state?user={self.name}"))

    async def channel(self, name: str) -> str:
        """The id of a channel or thread, given its name (without #) or its id.

        "dm" is the direct message with the bot, "dm:bo" the one with bo.
        """
        if name == "dm" or name.startswith("dm:"):
            body = {"user": self.name, "with": name[3:] or None}
            return str((await self.session.call("POST", "/dms", body))["id"])
        if name.isdigit():
            return name
        for guild in (await self.state())["guilds"]:
            for channel in (*guild["channels"], *guild["threads"]):
                if channel["name"] == name:
                    return str(channel["id"])
        raise AssertionError(f"{self.name} sees no channel {name}")

    async def messages(self, channel: str, limit: int = 50) -> list[Json]:
        """Newest last, as this person sees them."""
        path = f"/channels/{await self.channel(channel)}/messages?user={self.name}&limit={limit}"
        return list(await self.session.call("GET", path))

    async def message(self, channel: str, message_id: str) -> Json:
        for message in await self.messages(channel, 1000):
            if message["id"] == message_id:
                return dict(message)
        raise AssertionError(f"{self.name} sees no message {message_id}")

    # -- doing ------------------------------------------------------------------------------

    async def say(self, channel: str, content: str, *, reply_to: str | None = None) -> Json:
        body = {"user": self.name, "content": content, "reply_to": reply_to}
        path = f"/channels/{await self.channel(channel)}/messages"
        return dict(await self.session.call("POST", path, body))

    async def say_with_file(
        self, channel: str, filename: str, content: bytes, text: str = ""
    ) -> Json:
        return await self.say_with_files(channel, [(filename, content)], text)

    async def say_with_files(
        self, channel: str, files: Sequence[tuple[str, bytes]], text: str = ""
    ) -> Json:
        """A message with files, each a name and what it holds."""
        form = files_form({"user": self.name, "content": text}, files)
        path = f"/channels/{await self.channel(channel)}/messages"
        return dict(await self.session.call("POST", path, data=form))

    async def begin_thread(
        self, channel: str, name: str, *, private: bool = False, message: Json | None = None
    ) -> Json:
        """A thread; with `message`, one that begins with it."""
        body = {"user": self.name, "name": name, "private": private}
        if message is not None:
            body["message"] = message["id"]
        path = f"/channels/{await self.channel(channel)}/threads"
        return dict(await self.session.call("POST", path, body))

    async def post(self, forum: str, name: str, content: str, *, tags: Sequence[str] = ()) -> Json:
        """A post of a forum: a thread with a first message; `tags` are ids."""
        body = {"user": self.name, "name": name, "content": content, "tags": [*tags]}
        path = f"/channels/{await self.channel(forum)}/threads"
        return dict(await self.session.call("POST", path, body))

    async def change_thread(self, thread: str, **changes: Any) -> Json:
        """`archived`, `locked`, `name`, …"""
        body = {"user": self.name, **changes}
        return dict(await self.session.call("PATCH", f"/channels/{thread}/thread", body))

    async def let_in(self, thread: str, who: str | None = None) -> None:
        """Add someone (by name or id, the bot, too) to a thread; oneself: join."""
        path = f"/channels/{thread}/members/{who or self.name}?user={self.name}"
        await self.session.call("PUT", path)

    async def put_out(self, thread: str, who: str | None = None) -> None:
        """Take someone out of a thread; oneself: leave."""
        path = f"/channels/{thread}/members/{who or self.name}?user={self.name}"
        await self.session.call("DELETE", path)

    async def install_app(self, *, remove: bool = False) -> None:
        """Install the bot's app for oneself: its commands come along everywhere."""
        await self.session.call("DELETE" if remove else "PUT", f"/installs/{self.name}")

    async def delete(self, message: Json) -> None:
        path = f"/channels/{message['channel_id']}/messages/{message['id']}?user={self.name}"
        await self.session.call("DELETE", path)

    async def react(self, message: Json, emoji: str) -> None:
        await self.session.call("PUT", self._reaction(message, emoji))

    async def unreact(self, message: Json, emoji: str) -> None:
        await self.session.call("DELETE", self._reaction(message, emoji))

    def _reaction(self, message: Json, emoji: str) -> str:
        place = f"/channels/{message['channel_id']}/messages/{message['id']}"
        return f"{place}/reactions/{quote(emoji)}?user={self.name}"

    async def upload(self, filename: str, content: bytes) -> str:
        """The id of an upload, for an attachment option or a modal."""
        form = file_form({"user": self.name}, filename, content)
        return str((await self.session.call("POST", "/attachments", data=form))["id"])

    async def command(self, channel: str, name: str, /, **options: Any) -> Act:
        """Use a slash command: `name` may go on with a group and sub-command."""
        words = name.split()
        command = await self._command(words[0], CHAT)
        given = _options(command, words[1:], options)
        return await self._act(
            channel, {"type": COMMAND, "command": command["id"], "options": given}
        )

    async def autocomplete(
        self, channel: str, name: str, focused: str, typed: Any, /, **options: Any
    ) -> list[Json]:
        """The choices that the bot offers for the option `focused` while `typed` stands in it."""
        words = name.split()
        command = await self._command(words[0], CHAT)
        given = _options(command, words[1:], {**options, focused: typed}, focused)
        act = await self._act(
            channel, {"type": AUTOCOMPLETE, "command": command["id"], "options": given}
        )
        return list((await act.wait_for("INTERACTION_AUTOCOMPLETE"))["choices"])

    async def use_on_message(self, name: str, message: Json) -> Act:
        """A message's context menu."""
        command = await self._command(name, MESSAGE_MENU)
        act = {"type": COMMAND, "command": command["id"], "target": message["id"]}
        return await self._act(message["channel_id"], act)

    async def use_on_user(self, channel: str, name: str, user_id: str) -> Act:
        """A user's context menu."""
        command = await self._command(name, USER_MENU)
        act = {"type": COMMAND, "command": command["id"], "target": user_id}
        return await self._act(channel, act)

    async def click(self, message: Json, which: str, values: list[str] | None = None) -> Act:
        """Press the button (or choose in the select) with this custom_id or label."""
        component = find(message, which)
        act = {
            "type": COMPONENT,
            "message": message["id"],
            "custom_id": component["custom_id"],
            "values": values,
        }
        return await self._act(message["channel_id"], act)

    async def _command(self, name: str, kind: int) -> Json:
        commands = (await self.state())["commands"]
        for command in commands:
            if command["name"] == name and command["type"] == kind:
                return dict(command)
        known = ", ".join(c["name"] for c in commands) or "none"
        raise AssertionError(f"{self.name} has no command {name}; there is {known}")

    async def _act(self, channel: str, act: Json) -> Act:
        since = len(self.events)
        nonce = f"{self.name}-{next(self._nonces)}"
        place = await self.channel(channel)
        body = {"user": self.name, "channel": place, "nonce": nonce, **act}
        answer = await self.session.call("POST", "/interactions", body)
        return Act(self, place, answer["id"], answer["token"], since)


class Act:
    """An interaction under way, seen by the person who began it."""

    def __init__(self, person: Person, channel: str, id_: str, token: str, since: int) -> None:
        self.person = person
        self.channel = channel
        self.id = id_
        self.token = token
        self._since = since

    async def wait_for(self, name: str, timeout: float = TIMEOUT) -> Json:  # noqa: ASYNC109
        """An INTERACTION_… event of this one; InteractionFailed when the bot failed it."""
        return await self._unless_failed(name, self._of_this, timeout)

    def _of_this(self, data: Json) -> bool:
        return bool(data["id"] == self.id)

    async def _unless_failed(
        self,
        name: str,
        matches: Callable[[Json], bool],
        timeout: float,  # noqa: ASYNC109
    ) -> Json:
        def look(name: str, matches: Callable[[Json], bool], timeout: float) -> asyncio.Task[Json]:
            waiting = self.person.wait_for(name, matches, since=self._since, timeout=timeout)
            return asyncio.create_task(waiting)

        wanted = look(name, matches, timeout)
        # a little longer, so that it is never this one whose time is up first
        failure = look("INTERACTION_FAILURE", self._of_this, timeout + 1)
        await asyncio.wait([wanted, failure], return_when="FIRST_COMPLETED")
        failed = failure.done() and not wanted.done() and failure.exception() is None
        for task in (wanted, failure):
            task.cancel()
        if failed:
            await asyncio.gather(wanted, return_exceptions=True)
            raise InteractionFailed(failure.result()["reason"])
        await asyncio.gather(failure, return_exceptions=True)
        return await wanted

    async def response(self, timeout: float = TIMEOUT) -> Json:  # noqa: ASYNC109
        """The message that answers, once it is no longer deferred; its newest form."""
        await self.wait_for("INTERACTION_SUCCESS", timeout)
        created = await self._created(timeout)
        if created["flags"] & DEFERRED:

            def finished(message: Json) -> bool:
                return message["id"] == created["id"] and not message["flags"] & DEFERRED

            await self._unless_failed("MESSAGE_UPDATE", finished, timeout)
        return await self.person.message(self.channel, created["id"])

    async def deferred(self, timeout: float = TIMEOUT) -> Json:  # noqa: ASYNC109
        """The first form of the answer, deferred or not."""
        return await self._created(timeout)

    async def _created(self, timeout: float) -> Json:  # noqa: ASYNC109
        def answers(message: Json) -> bool:
            about = message.get("interaction_metadata", {})
            return about.get("id") == self.id and "original_response_message_id" not in about

        return await self.person.wait_for(
            "MESSAGE_CREATE", answers, since=self._since, timeout=timeout
        )

    async def modal(self, timeout: float = TIMEOUT) -> Json:  # noqa: ASYNC109
        """`{"custom_id", "title", "components"}` of the modal that answers."""
        return await self.wait_for("INTERACTION_MODAL", timeout)

    async def submit(self, **values: Any) -> Act:
        """Hand in the modal: values by custom_id, text or a list."""
        modal = await self.modal()
        fields: list[Json] = []
        for field in fields_of(modal["components"]):
            name = field["custom_id"]
            if name in values:
                key = "values" if isinstance(values[name], list) else "value"
                entered = {"type": field["type"], "custom_id": name, key: values[name]}
                fields.append({"type": 18, "component": entered})
        if unknown := set(values) - {f["component"]["custom_id"] for f in fields}:
            raise AssertionError(f"The modal has no field {min(unknown)}")
        act = {
            "type": MODAL,
            "interaction": self.id,
            "custom_id": modal["custom_id"],
            "components": fields,
        }
        return await self.person._act(self.channel, act)


def fields_of(components: list[Json]) -> list[Json]:
    """Everything with a custom_id, however deep."""
    found: list[Json] = []
    for component in components:
        if "custom_id" in component:
            found.append(component)
        inner = [component[key] for key in ("accessory", "component") if key in component]
        found += fields_of([*component.get("components", []), *inner])
    return found


def find(message: Json, which: str) -> Json:
    """The message's component with this custom_id or label."""
    components = fields_of(message["components"])
    for component in components:
        if which in (component["custom_id"], component.get("label")):
            return component
    known = ", ".join(c["custom_id"] for c in components) or "none"
    says = message.get("content", "")
    raise AssertionError(f"The message {says!r} has no component {which}; there is {known}")


def _options(
    command: Json, words: list[str], values: Json, focused: str | None = None
) -> list[Json]:
    """The options as Discord nests them, their types read from the command."""
    defined = {o["name"]: o for o in command.get("options", [])}
    if words:
        sub = defined[words[0]]
        inner = _options(sub, words[1:], values, focused)
        return [{"name": sub["name"], "type": sub["type"], "options": inner}]
    given = []
    for name, value in values.items():
        if name not in defined or defined[name]["type"] in SUBCOMMANDS:
            known = ", ".join(defined) or "none"
            raise AssertionError(f"{command['name']} has no option {name}; there is {known}")
        option = {"name": name, "type": defined[name]["type"], "value": value}
        given.append(option | ({"focused": True} if name == focused else {}))
    return given


def file_form(payload: Json, filename: str, content: bytes) -> aiohttp.FormData:
    return files_form(payload, [(filename, content)])


def files_form(payload: Json, files: Sequence[tuple[str, bytes]]) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("payload_json", json.dumps(payload), content_type="application/json")
    for number, (filename, content) in enumerate(files):
        form.add_field(f"files[{number}]", io.BytesIO(content), filename=filename)
    return form
