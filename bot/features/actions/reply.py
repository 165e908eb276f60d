"""How an action answers: through an interaction, or for a reaction in the channel and in person."""

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import discord

from bot.access import permissions
from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.responding import (
    Interaction,
    acknowledge,
    answer,
    check_can_post,
    defer,
    names_of,
    reply_privately,
)
from bot.pictures.attachments import UPLOAD_LIMIT
from bot.requests.actions import ActionTarget
from bot.services import Client
from bot.ui.action_buttons import ActionButton
from bot.ui.modal import Modal
from bot.ui.persistent_items import StatelessView
from generation.job import Job, Origin


class Reply(Protocol):
    """Where the answer to an action goes. What can't be done raises Refused."""

    caller: Caller
    toggles: bool
    """Whether doing it again undoes it. A reaction is taken away for that."""

    @property
    def file_limit(self) -> int:
        """Bytes of one file that Discord takes there."""

    def origin(self, *, private: bool) -> Origin:
        """Where the pictures of a new request go."""

    def check_can_post(self, *, private: bool) -> None:
        """Refuse where the bot could not post the answer."""

    async def accept(self, job: Job) -> None:
        """Acknowledge a request that is written down, and follow it."""

    async def confirm(self, sentence: str = "") -> None:
        """Say that it is done, where that costs nobody a message."""

    async def defer(self, *, private: bool) -> None:
        """Say that the answer takes a while; who sees that sees the answer."""

    async def privately(self, text: str, files: Sequence[discord.File] = ()) -> None:
        """Answer so that only the person sees it."""

    async def post(self, message: dict[str, Any], *, private: bool) -> tuple[int, int]:
        """Answer for all who see the picture, or privately; returns the ids of the channel and the
        message. What was deferred has said already which.
        """

    async def take_back(self) -> None:
        """Delete what was posted, as far as only the one who answers may do that."""

    async def open(self, modal: Modal, target: ActionTarget, job: Job) -> None:
        """Ask for more in a modal."""

    async def delete_message(self) -> None:
        """Delete the message that the action is on."""


class InteractionReply:
    """Answers a button or a context menu."""

    toggles = True

    def __init__(self, interaction: Interaction, caller: Caller) -> None:
        self.caller = caller
        self._interaction = interaction

    @property
    def file_limit(self) -> int:
        """As Discord says with each interaction."""
        return self._interaction.filesize_limit

    def origin(self, *, private: bool) -> Origin:
        """With the interaction's token, which lives for a quarter of an hour."""
        return self.caller.origin(private=private, interaction=token_of(self._interaction))

    def check_can_post(self, *, private: bool) -> None:
        """A private answer needs no permissions."""
        check_can_post(self._interaction, self.caller, private=private)

    async def accept(self, job: Job) -> None:
        """The answer becomes the job's message."""
        await acknowledge(self._interaction, job)

    async def confirm(self, sentence: str = "") -> None:
        """Discord wants an answer, if an empty one."""
        if sentence:
            await reply_privately(self._interaction, sentence)
        else:
            await self._interaction.response.defer()

    async def defer(self, *, private: bool) -> None:
        """Shown as "is thinking"."""
        await defer(self._interaction, private=private)

    async def privately(self, text: str, files: Sequence[discord.File] = ()) -> None:
        """Ephemeral, as what was deferred."""
        await answer(self._interaction, content=text, files=list(files))

    async def post(self, message: dict[str, Any], *, private: bool) -> tuple[int, int]:
        """In place of what was deferred: an edit that is repeated posts nothing twice."""
        sent = await answer(self._interaction, **message)
        return self._interaction.channel_id or 0, sent.id

    async def take_back(self) -> None:
        """Also a private answer, and one in a place that the bot itself is not in."""
        with contextlib.suppress(discord.HTTPException):
            await self._interaction.delete_original_response()

    async def open(self, modal: Modal, target: ActionTarget, job: Job) -> None:
        """At once."""
        await self._interaction.response.send_modal(modal)

    async def delete_message(self) -> None:
        """Through the interaction, which may delete what the bot has no permission for."""
        await self._interaction.response.defer()
        await self._interaction.delete_original_response()


class ReactionReply:
    """Answers a reaction: what only the person may see goes to them directly."""

    toggles = False

    def __init__(
        self, client: Client, payload: discord.RawReactionActionEvent, caller: Caller
    ) -> None:
        self.caller = caller
        self._client = client
        self._payload = payload
        self._channel = client.get_partial_messageable(
            payload.channel_id, guild_id=payload.guild_id
        )
        self._message = self._channel.get_partial_message(payload.message_id)

    @property
    def file_limit(self) -> int:
        """What direct messages take is taken everywhere."""
        return UPLOAD_LIMIT

    def origin(self, *, private: bool) -> Origin:
        """In the channel. What is private goes to the person directly: a reaction has no token that
        could show something to one alone.
        """
        return self.caller.origin(private=private)

    def check_can_post(self, *, private: bool) -> None:
        """By the permissions that the bot has in the channel; a direct message needs none."""
        if private:
            return
        channel = self._client.get_channel(self._payload.channel_id)
        if isinstance(channel, discord.abc.GuildChannel | discord.Thread):
            own = channel.permissions_for(channel.guild.me)
            thread = isinstance(channel, discord.Thread)
            permissions.check_permissions(names_of(own), self.caller.texts, thread=thread)

    async def accept(self, job: Job) -> None:
        """A new message that answers the picture's."""
        self._client.services.delivery.track(job, reply_to=self._payload.message_id)

    async def confirm(self, sentence: str = "") -> None:
        """The reaction itself shows it."""

    async def defer(self, *, private: bool) -> None:
        """Nobody waits for the answer to a reaction."""

    async def privately(self, text: str, files: Sequence[discord.File] = ()) -> None:
        """As a direct message, which people can switch off."""
        user = await self._client.fetch_user(self._payload.user_id)
        await user.send(text, files=list(files))

    async def post(self, message: dict[str, Any], *, private: bool) -> tuple[int, int]:
        """As an answer to the picture's message, or as a direct message."""
        payload = self._payload
        asked = f"{payload.message_id}{payload.user_id}{payload.emoji}".encode()
        nonce = hashlib.sha256(asked).hexdigest()[:25]
        if private:
            user = await self._client.fetch_user(payload.user_id)
            sent = await user.send(**message, nonce=nonce)
        else:
            sent = await self._channel.send(**message, reference=self._reference(), nonce=nonce)
        return sent.channel.id, sent.id

    async def take_back(self) -> None:
        """The bot's own messages, which it deletes without."""

    async def open(self, modal: Modal, target: ActionTarget, job: Job) -> None:
        """A reaction can't open a modal: post the button that can, for a while, where the answer
        will be.
        """
        texts = self.caller.texts
        view = StatelessView()
        view.add_item(ActionButton.of(target, job.id, texts(target.action.label)))
        user_id = self._payload.user_id
        if self.caller.answers_privately(job):
            user = await self._client.fetch_user(user_id)
            hint = await user.send(texts("press_to_go_on"), view=view)
        else:
            hint = await self._channel.send(
                texts("press_to_go_on"), view=view, reference=self._reference()
            )
        await self._client.services.delivery.chores.hint(hint, user_id)

    async def delete_message(self) -> None:
        """The bot's own, so it may."""
        await self._message.delete()

    def _reference(self) -> discord.MessageReference:
        return self._message.to_reference(fail_if_not_exists=False)
