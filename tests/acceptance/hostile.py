"""Interactions of discord.py's own making, whose answers are held to Discord's rules and kept."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

import discord
import pytest

from bot.locales import sentences
from bot.services import Client
from playground.validation.form import Form
from playground.validation.messages import check_message, check_shows
from playground.validation.modals import check_modal
from tests.acceptance.conftest import Rig

HUGE: Final = "1" * 4301
INCIDENT: Final = sentences("en-US")["incident"][:20]
SNOWFLAKE: Final = 2**53
MESSAGE: Final = discord.InteractionResponseType.channel_message


class Answers:
    """What somebody sees of it: stands for the response and the follow-ups of an interaction."""

    def __init__(self) -> None:
        self.type: Any = None
        self.said: list[str] = []
        """The text of each answer; of a modal or choices, that it was one."""
        self.modal: discord.ui.Modal | None = None
        self.files: list[discord.File] = []
        self.bodies: list[dict[str, Any]] = []
        """Each message as it was sent."""

    def is_done(self) -> bool:
        return self.type is not None

    def _begin(self, type_: Any) -> None:
        assert self.type is None, "answered twice"
        self.type = type_

    async def send_message(self, content: Any = None, **more: Any) -> None:
        self._begin(MESSAGE)
        self._show(content, more)

    async def edit_message(self, **more: Any) -> None:
        self._begin(MESSAGE)
        self._show(more.pop("content", None), more)

    async def defer(self, *, thinking: bool = False, ephemeral: bool = False) -> None:
        kinds = discord.InteractionResponseType
        self._begin(kinds.deferred_channel_message if thinking else kinds.deferred_message_update)

    async def send_modal(self, modal: discord.ui.Modal) -> None:
        self._begin(discord.InteractionResponseType.modal)
        form = Form()
        check_modal(form, modal.to_dict())
        form.done()
        self.said.append("modal")
        self.modal = modal

    async def autocomplete(self, choices: Sequence[Any]) -> None:
        self._begin(discord.InteractionResponseType.autocomplete_result)
        assert len(choices) <= 25
        for choice in choices:
            assert 1 <= len(choice.name) <= 100
            if isinstance(choice.value, str):
                assert 1 <= len(choice.value) <= 100
            else:
                assert abs(choice.value) <= SNOWFLAKE
        self.said.append("choices")

    async def followup(self, content: Any = "", **more: Any) -> Any:
        assert self.type is not None, "followed up before it was answered"
        self._show(content, more)
        return SimpleNamespace(id=len(self.said), channel=SimpleNamespace(id=100))

    async def edit_original(self, **more: Any) -> Any:
        assert self.type is not None, "edited before it was answered"
        self._show(more.pop("content", None), more)
        return SimpleNamespace(id=len(self.said), channel=SimpleNamespace(id=100))

    def _show(self, content: Any, more: dict[str, Any]) -> None:
        """Raise unless Discord takes the message."""
        files = [*more.get("files", ()), *more.get("attachments", ())]
        files += [more["file"]] if "file" in more else []
        view = more.get("view")
        embeds = more.get("embeds") or ([more["embed"]] if more.get("embed") else [])
        body: dict[str, Any] = {"embeds": [embed.to_dict() for embed in embeds]}
        if content:
            body["content"] = content
        if view is not None:
            body["components"] = view.to_components()
        check_message(body, [], v2=view is not None and view.has_components_v2())
        check_shows(body, files)
        assert len(files) <= 10
        self.files += files
        for file in files:
            file.close()
        self.bodies.append(body)
        self.said.append(content or "shown")


class Interaction(discord.Interaction[Client]):
    """One whose answers are kept."""

    answers: Answers

    async def delete_original_response(self, **_more: Any) -> None:
        """Nothing is there to be deleted."""

    async def edit_original_response(self, **more: Any) -> Any:
        return await self.answers.edit_original(**more)


def an_interaction(
    rig: Rig, type_: discord.InteractionType, data: Any, number: int, *, person: int = 5
) -> Interaction:
    """As discord.py reads it, by somebody who manages the server; now and then in a message."""
    user = {"id": str(person), "username": "eve", "discriminator": "0", "avatar": None}
    payload: dict[str, Any] = {
        "id": str(discord.utils.time_snowflake(discord.utils.utcnow()) + number),
        "type": type_.value,
        "data": data,
        "token": "token",
        "version": 1,
        "application_id": "1",
        "attachment_size_limit": 10**7,
        "locale": "en-US",
        "app_permissions": str(discord.Permissions.all().value),
        "channel_id": "100",
    }
    if number % 5 == 4:
        payload["user"] = user
    else:
        permissions = str(discord.Permissions.all().value)
        payload["guild_id"] = "10"
        payload["channel"] = {"id": "100", "type": 0, "name": "general", "position": 1}
        payload["authorizing_integration_owners"] = {"0": "10"}
        payload["member"] = {
            "user": user,
            "roles": [],
            "joined_at": "2026-01-01T00:00:00+00:00",
            "deaf": False,
            "mute": False,
            "flags": 0,
            "permissions": permissions,
        }
    made: Any = Interaction(data=payload, state=rig.client._connection)  # type: ignore[arg-type]
    made.answers = Answers()
    made._cs_response = made.answers
    made._cs_followup = SimpleNamespace(send=made.answers.followup)
    return made  # type: ignore[no-any-return]


def check_answers(interaction: Interaction, caplog: pytest.LogCaptureFixture, what: Any) -> None:
    """One answer, or one line in the log; never a traceback or half a reply."""
    said = interaction.answers.said
    assert not any(text.startswith(INCIDENT) for text in said), (what, said)
    assert len(said) <= 1, (what, said)
    for record in caplog.records:
        assert not record.exc_info, (record.getMessage(), record.exc_info, what)
    caplog.clear()
