"""The bot's answers to interactions: callbacks, the original response, follow-ups."""

from __future__ import annotations

from dataclasses import replace

from .commands import leaves
from .errors import TooManyFollowUps, UnknownMessage
from .interactions import AUTOCOMPLETE, COMMAND, MODAL, Interactions, metadata
from .messages import DEFAULT, REPLY, Draft, Messages
from .permissions import Permission, require
from .snowflake import Snowflake
from .uploads import Upload
from .validation.commands import CHAT, check_choices
from .validation.components import number_components
from .validation.form import Form
from .validation.messages import flags_of
from .validation.modals import check_modal
from .world import DM, EPHEMERAL, LOADING, Channel, Interaction, Json, Message, World

MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL_RESPONSE = 4, 5, 6, 7, 8, 9
"""Interaction callback types."""

MOST_FOLLOW_UPS = 5
"""Of an app that is only installed to a person."""

CHAT_INPUT_COMMAND, CONTEXT_MENU_COMMAND = 20, 23
"""Message types."""


class Responses:
    def __init__(self, world: World, interactions: Interactions, messages: Messages) -> None:
        self.world = world
        self.interactions = interactions
        self.messages = messages

    # -- the callback -----------------------------------------------------------------------

    def callback(
        self, interaction_id: Snowflake, token: str, body: Json, files: list[Upload]
    ) -> tuple[Interaction, Message | None]:
        """Answer; returns the message it made or changed, if any. An error leaves it unanswered."""
        interaction = self.interactions.unanswered(interaction_id, token)
        kind = self._kind(interaction, body)
        self.check_files(interaction, files)
        form = Form()
        data = form.inner(body, "data") or {}
        form.done()
        message = None
        if kind == MESSAGE:
            message = self._respond(interaction, data, files)
        elif kind == DEFERRED_MESSAGE:
            draft = self._draft(interaction, {}, [], bool(flags_of(data) & EPHEMERAL))
            message = self.messages.store(draft, LOADING)
        elif kind == DEFERRED_UPDATE:
            message = self._source(interaction)
        elif kind == UPDATE:
            message = self._source(interaction)
            self.messages.edit(message, data, files)
        elif kind == CHOICES:
            self._choose(interaction, data)
        elif kind == MODAL_RESPONSE:
            self._open(interaction, data)
        interaction.response_type = kind
        interaction.response_id = None if message is None else message.id
        self.world.save(interaction)
        if kind != MODAL_RESPONSE and kind != CHOICES:
            self.interactions.tell(interaction, "INTERACTION_SUCCESS")
        return interaction, message

    def _kind(self, interaction: Interaction, body: Json) -> int:
        """The callback's type, if it fits the interaction."""
        if interaction.type == AUTOCOMPLETE:
            allowed = [CHOICES]
        else:
            allowed = [MESSAGE, DEFERRED_MESSAGE]
            if interaction.message_id is not None:
                allowed += [DEFERRED_UPDATE, UPDATE]
            if interaction.type != MODAL:
                allowed += [MODAL_RESPONSE]
        form = Form()
        kind = form.choice(body, "type", allowed)
        form.done()
        return int(kind)

    def _respond(self, interaction: Interaction, data: Json, files: list[Upload]) -> Message:
        ephemeral = bool(flags_of(data) & EPHEMERAL)
        return self.messages.create(self._draft(interaction, data, files, ephemeral))

    def check_files(self, interaction: Interaction, files: list[Upload]) -> None:
        """An app that only a person has installed may send files where all may; else 50013."""
        if files and interaction.only_by_user:
            channel = self.world.channel(interaction.channel_id)
            may = self.messages.objects.app_permissions(channel)
            require(may, Permission.ATTACH_FILES)

    def _draft(
        self, interaction: Interaction, body: Json, files: list[Upload], ephemeral: bool
    ) -> Draft:
        channel = self.world.channel(interaction.channel_id)
        about = metadata(interaction)
        ephemeral = ephemeral or self._must_whisper(interaction, channel)
        kind, reference = DEFAULT, None
        if interaction.type == COMMAND:
            chat = interaction.data["type"] == CHAT
            kind = CHAT_INPUT_COMMAND if chat else CONTEXT_MENU_COMMAND
        elif interaction.message_id is not None:
            kind, reference = REPLY, self._reference(channel, interaction.message_id)
        return Draft(
            channel=channel,
            author_id=self.world.bot.id,
            body=body,
            uploads=files,
            type=kind,
            reference=reference,
            interaction_metadata=about,
            webhook_id=self.world.application.id,
            ephemeral_to=interaction.user_id if ephemeral else None,
        )

    def _must_whisper(self, interaction: Interaction, channel: Channel) -> bool:
        """Without USE_EXTERNAL_APPS only the person sees the answers of an app of their own."""
        if not interaction.only_by_user or channel.type == DM:
            return False
        granted = self.messages.objects.permissions(channel, interaction.user_id)
        return Permission.USE_EXTERNAL_APPS not in granted

    def _reference(self, channel: Channel, message_id: Snowflake) -> Json:
        reference: Json = {"type": 0, "channel_id": channel.id, "message_id": message_id}
        if channel.guild_id is not None:
            reference["guild_id"] = channel.guild_id
        return reference

    def _source(self, interaction: Interaction) -> Message:
        """The message whose component was used."""
        if interaction.message_id is None:
            raise UnknownMessage
        return self.world.message(interaction.channel_id, interaction.message_id)

    def _choose(self, interaction: Interaction, data: Json) -> None:
        focused = next(o for o in leaves(interaction.data["options"]) if o.get("focused"))
        form = Form()
        form["data"].required(data, "choices")
        check_choices(form["data"], data, focused["type"])
        form.done()
        choices = data["choices"]
        self.interactions.tell(interaction, "INTERACTION_AUTOCOMPLETE", choices=choices)

    def _open(self, interaction: Interaction, data: Json) -> None:
        form = Form()
        check_modal(form["data"], data)
        form.done()
        interaction.modal = {
            "custom_id": data["custom_id"],
            "title": data["title"],
            "components": number_components(data["components"]),
        }
        self.interactions.tell(interaction, "INTERACTION_MODAL", **interaction.modal)

    def callback_object(self, interaction: Interaction, message: Message | None) -> Json:
        """What `with_response` asks for."""
        about: Json = {"id": interaction.id, "type": interaction.type}
        answer: Json = {"interaction": about}
        if message is None:
            return answer
        about |= {
            "response_message_id": message.id,
            "response_message_loading": bool(message.flags & LOADING),
            "response_message_ephemeral": message.ephemeral,
            "channel_id": message.channel_id,
        }
        rendered = self.messages.objects.message(message, self.world.bot.id)
        answer["resource"] = {"type": interaction.response_type, "message": rendered}
        return answer

    # -- the token as a webhook -------------------------------------------------------------

    def find(self, interaction: Interaction, message_id: str) -> Message:
        """`@original` or a message that this interaction made."""
        if message_id == "@original":
            if interaction.response_id is None:
                raise UnknownMessage
            return self.world.message(interaction.channel_id, interaction.response_id)
        message = self.world.message(interaction.channel_id, message_id)
        about = message.interaction_metadata or {}
        if message.id != interaction.response_id and about.get("id") != interaction.id:
            raise UnknownMessage
        return message

    def follow_up(self, interaction: Interaction, body: Json, files: list[Upload]) -> Message:
        """Another message; directly after a deferral it fills the deferred one instead."""
        self.check_files(interaction, files)
        if interaction.response_type == DEFERRED_MESSAGE and interaction.response_id is not None:
            existing = self.world.messages.get(interaction.channel_id, {})
            original = existing.get(interaction.response_id)
            if original is not None and original.flags & LOADING:
                self.messages.edit(original, body, files)
                return original
        if interaction.only_by_user and interaction.follow_ups >= MOST_FOLLOW_UPS:
            raise TooManyFollowUps
        ephemeral = bool(flags_of(body) & EPHEMERAL)
        draft = replace(self._draft(interaction, body, files, ephemeral), type=DEFAULT)
        answered = interaction.response_id or interaction.message_id
        if answered is not None:
            about = dict(draft.interaction_metadata or {})
            about["original_response_message_id"] = answered
            reference = self._reference(draft.channel, answered)
            draft = replace(draft, type=REPLY, reference=reference, interaction_metadata=about)
        message = self.messages.create(draft)
        interaction.follow_ups += 1
        self.world.save(interaction)
        return message
