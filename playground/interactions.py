"""Interactions: what a person does with the bot, until the bot has acknowledged it or failed.

The rules are Discord's: 3 seconds to acknowledge, once; a token that lives 15 minutes. What a
callback does with messages is in `responses.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from .clock import Clock
from .commands import Commands, check_options, context_of, leaves, path_of
from .errors import (
    AlreadyAcknowledged,
    InvalidWebhookToken,
    Refused,
    UnknownInteraction,
    UnknownWebhook,
)
from .events import Events
from .messages import Messages
from .modal_input import collect
from .objects import Objects, upload_limit
from .permissions import Permission
from .resolved import Resolved
from .snowflake import Snowflake
from .validation.commands import ATTACHMENT, CHAT, USER
from .validation.components import BUTTON, SELECTS, STRING_SELECT, walk
from .world import LOADING, TO_GUILD, Channel, Command, Interaction, Json, Message, User, World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
"""Interaction types."""

ACKNOWLEDGE_WITHIN = 3.0
"""Seconds, as at Discord."""
TOKEN_LIFETIME = 15 * 60.0
"""Seconds."""


class Interactions:
    def __init__(
        self,
        world: World,
        objects: Objects,
        events: Events,
        messages: Messages,
        commands: Commands,
        clock: Clock,
        *,
        acknowledge_within: float = ACKNOWLEDGE_WITHIN,
    ) -> None:
        self.world = world
        self.objects = objects
        self.events = events
        self.messages = messages
        self.commands = commands
        self.clock = clock
        self.acknowledge_within = acknowledge_within
        """Seconds in which an application must answer."""

    # -- a person acts ----------------------------------------------------------------------

    def use_command(
        self, user: User, channel: Channel, act: Json, nonce: str | None
    ) -> Interaction:
        """A slash command or a context menu."""
        command = self._command(act)
        if reason := self.commands.why_not(command, user.id, channel):
            raise Refused(message=reason)
        guild = self.world.guild_of(channel)
        data: Json = {"id": command.id, "name": command.name, "type": command.type}
        if command.guild_id is not None:
            data["guild_id"] = command.guild_id
        resolved = Resolved(self.world, self.objects, guild, user.id)
        if command.type == CHAT:
            options = act.get("options") or []
            check_options(command.body, options, complete=True)
            if options:
                data["options"] = options
            for option in leaves(options):
                resolved.option(option["type"], option["value"])
        else:
            data["target_id"] = target = str(act.get("target"))
            if command.type == USER:
                resolved.user(target)
            else:
                resolved.message(channel, target)
        if resolved.data:
            data["resolved"] = resolved.data
        return self._begin(COMMAND, user, channel, data, nonce, command=command)

    def autocomplete(
        self, user: User, channel: Channel, act: Json, nonce: str | None
    ) -> Interaction:
        command = self._command(act)
        if reason := self.commands.why_not(command, user.id, channel):
            raise Refused(message=reason)
        options = act.get("options") or []
        check_options(command.body, options, complete=False)
        if sum(bool(o.get("focused")) for o in leaves(options)) != 1:
            raise Refused(message="Exactly one option must be focused.")
        data: Json = {"id": command.id, "name": command.name, "type": CHAT, "options": options}
        if command.guild_id is not None:
            data["guild_id"] = command.guild_id
        resolved = Resolved(self.world, self.objects, self.world.guild_of(channel), user.id)
        for option in leaves(options):
            if option["type"] == ATTACHMENT and option.get("value"):
                resolved.attachment(option["value"])
        if resolved.data:
            data["resolved"] = resolved.data
        return self._begin(AUTOCOMPLETE, user, channel, data, nonce, command=command)

    def use_component(
        self, user: User, channel: Channel, act: Json, nonce: str | None
    ) -> Interaction:
        """A button pressed, or values chosen in a select."""
        self._check_sees(user, channel)
        message = self.messages.visible(channel, str(act.get("message")), user.id)
        if message.author_id != self.world.bot.id:
            raise Refused(message="This message is not the bot's.")
        component = find_component(message, str(act.get("custom_id")))
        kind = component["type"]
        data: Json = {
            "custom_id": component["custom_id"],
            "component_type": kind,
            "id": component["id"],
        }
        if kind in SELECTS:
            values = [str(v) for v in act.get("values") or []]
            check_values(component, values)
            resolved = Resolved(self.world, self.objects, self.world.guild_of(channel), user.id)
            resolved.select(kind, values)
            data["values"] = values
            if resolved.data:
                data["resolved"] = resolved.data
        return self._begin(COMPONENT, user, channel, data, nonce, message=message)

    def submit_modal(self, user: User, act: Json, nonce: str | None) -> Interaction:
        """A modal, handed in: `interaction` is the one that it answered."""
        opened = self.world.interactions.get(str(act.get("interaction")))
        if opened is None or opened.modal is None or opened.user_id != user.id:
            raise Refused(message="There is no such modal open for you.")
        if act.get("custom_id", opened.modal["custom_id"]) != opened.modal["custom_id"]:
            raise Refused(message="The modal has another custom_id.")
        channel = self.world.channel(opened.channel_id)
        resolved = Resolved(self.world, self.objects, self.world.guild_of(channel), user.id)
        data: Json = {
            "custom_id": opened.modal["custom_id"],
            "components": collect(opened.modal, act.get("components") or [], resolved),
        }
        if resolved.data:
            data["resolved"] = resolved.data
        message = None
        if opened.message_id is not None:
            message = self.world.messages[channel.id].get(opened.message_id)
        opened.modal = None
        self.world.save(opened)
        return self._begin(
            MODAL, user, channel, data, nonce, message=message, triggered_by=metadata(opened)
        )

    def _command(self, act: Json) -> Command:
        command = self.world.commands.get(str(act.get("command")))
        if command is None:
            raise Refused(message="There is no such command.")
        return command

    def _check_sees(self, user: User, channel: Channel) -> None:
        if Permission.VIEW_CHANNEL not in self.objects.permissions(channel, user.id):
            raise Refused(message="You can't see this channel.")

    def _begin(
        self,
        kind: int,
        user: User,
        channel: Channel,
        data: Json,
        nonce: str | None,
        *,
        command: Command | None = None,
        message: Message | None = None,
        triggered_by: Json | None = None,
    ) -> Interaction:
        """Send it to the bot, which has so long to answer."""
        interaction = Interaction(
            id=self.world.snowflakes.next(),
            token=secrets.token_urlsafe(64),
            type=kind,
            user_id=user.id,
            channel_id=channel.id,
            created_at=self.clock.now(),
            data=data,
            nonce=nonce,
            command_id=None if command is None else command.id,
            message_id=None if message is None else message.id,
            triggered_by=triggered_by,
            owners=self._owners(user, channel, command, message, triggered_by),
        )
        self.world.save(interaction)
        self.tell(interaction, "INTERACTION_CREATE")
        self.events.to_bot(
            "INTERACTION_CREATE", self._payload(interaction, message), guild_id=channel.guild_id
        )
        self.watch(interaction)
        return interaction

    def _owners(
        self,
        user: User,
        channel: Channel,
        command: Command | None,
        message: Message | None,
        triggered_by: Json | None,
    ) -> Json:
        """Those of the command; of a component or modal, those of what it came from."""
        if command is not None:
            return self.commands.installations(command, user.id, channel)
        about = triggered_by or (message and message.interaction_metadata) or {}
        found: Json = dict(about.get("authorizing_integration_owners") or {})
        guild = self.world.guild_of(channel)
        if guild is None and not channel.people:
            found.setdefault(str(TO_GUILD), "0")
        elif guild is not None and self.world.bot.id in guild.members:
            found.setdefault(str(TO_GUILD), guild.id)
        return found

    def watch_all(self, interactions: Iterable[Interaction]) -> None:
        """After a restart: those not yet answered or finished go on being watched."""
        for interaction in interactions:
            if self.clock.now() < interaction.created_at + TOKEN_LIFETIME:
                self.watch(interaction)
            else:
                self.world.remove(interaction)

    def watch(self, interaction: Interaction) -> None:
        started = interaction.created_at
        self.clock.call_at(started + self.acknowledge_within, lambda: self._too_late(interaction))
        self.clock.call_at(started + TOKEN_LIFETIME, lambda: self._never_done(interaction))

    def _too_late(self, interaction: Interaction) -> None:
        if not interaction.acknowledged and not interaction.failed:
            interaction.failed = True
            self.world.save(interaction)
            reason = f"The application did not respond within {self.acknowledge_within:g} seconds."
            self.tell(interaction, "INTERACTION_FAILURE", reason=reason)

    def _never_done(self, interaction: Interaction) -> None:
        """The token has ended: nothing asks for the interaction again, but a modal that is open."""
        if interaction.modal is None:
            self.world.remove(interaction)
        if interaction.response_id is None:
            return
        message = self.world.messages.get(interaction.channel_id, {}).get(interaction.response_id)
        if message is not None and message.flags & LOADING:
            reason = "The application deferred its response and never finished it."
            self.tell(interaction, "INTERACTION_FAILURE", reason=reason)

    def tell(self, interaction: Interaction, name: str, **more: object) -> None:
        """Tell the person who acted."""
        data = {"id": interaction.id, "nonce": interaction.nonce} | more
        self.events.to_person(interaction.user_id, name, data)

    # -- what the bot gets ------------------------------------------------------------------

    def _payload(self, interaction: Interaction, message: Message | None) -> Json:
        channel = self.world.channel(interaction.channel_id)
        guild = self.world.guild_of(channel)
        user = self.world.users[interaction.user_id]
        bot_may = self.objects.app_permissions(channel)
        payload: Json = {
            "id": interaction.id,
            "application_id": self.world.application.id,
            "type": interaction.type,
            "data": interaction.data,
            "token": interaction.token,
            "version": 1,
            "channel_id": channel.id,
            "channel": self.objects.partial_channel(channel, user.id),
            "app_permissions": str(int(bot_may)),
            "locale": user.locale,
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": interaction.owners,
            "context": context_of(channel),
            "attachment_size_limit": upload_limit(guild),
        }
        if guild is None:
            payload["user"] = self.objects.user(user)
        else:
            member = self.objects.member(guild.members[user.id])
            may = self.objects.permissions(channel, user.id)
            payload["member"] = member | {"permissions": str(int(may))}
            payload["guild_id"] = guild.id
            payload["guild_locale"] = guild.locale
            payload["guild"] = {"id": guild.id, "locale": guild.locale, "features": []}
        if message is not None:
            payload["message"] = self.objects.message(message, self.world.bot.id)
        return payload

    # -- the bot's tokens -------------------------------------------------------------------

    def unanswered(self, interaction_id: Snowflake, token: str) -> Interaction:
        """The interaction that a callback may still answer."""
        interaction = self.world.interactions.get(interaction_id)
        if interaction is None or interaction.token != token or interaction.failed:
            raise UnknownInteraction
        if interaction.acknowledged:
            raise AlreadyAcknowledged
        return interaction

    def by_webhook(self, application_id: Snowflake, token: str) -> Interaction:
        """The acknowledged interaction whose token serves as a webhook, for 15 minutes."""
        if application_id != self.world.application.id:
            raise UnknownWebhook
        interaction = self.world.interaction_by_token(token)
        if interaction is None:
            raise InvalidWebhookToken
        if self.clock.now() >= interaction.created_at + TOKEN_LIFETIME:
            raise InvalidWebhookToken
        if not interaction.acknowledged:
            raise UnknownWebhook
        return interaction


def metadata(interaction: Interaction) -> Json:
    """Kept with each message that the interaction makes; rendered by `Objects`."""
    about: Json = {
        "id": interaction.id,
        "type": interaction.type,
        "user_id": interaction.user_id,
        "authorizing_integration_owners": interaction.owners,
    }
    if interaction.type == COMMAND:
        name = path_of(interaction.data["name"], interaction.data.get("options") or [])
        about |= {"name": name, "command_type": interaction.data["type"]}
        if "target_id" in interaction.data:
            kind = "user" if interaction.data["type"] == USER else "message"
            about[f"target_{kind}_id"] = interaction.data["target_id"]
    elif interaction.type == COMPONENT:
        about["interacted_message_id"] = interaction.message_id
    if interaction.triggered_by is not None:
        about["triggered_by"] = interaction.triggered_by
    return about


def find_component(message: Message, custom_id: str) -> Json:
    for component in walk(message.components):
        if component.get("custom_id") == custom_id and component["type"] in (BUTTON, *SELECTS):
            if component.get("disabled"):
                raise Refused(message="This component is disabled.")
            return component
    raise Refused(message=f"The message has no component {custom_id!r}.")


def check_values(component: Json, values: list[str]) -> None:
    """Refuse a choice that Discord's client would not let a person make."""
    low, high = component.get("min_values"), component.get("max_values")
    low, high = 1 if low is None else low, 1 if high is None else high
    if not low <= len(values) <= high or len(set(values)) != len(values):
        raise Refused(message=f"Choose from {low} to {high} values.")
    if component["type"] == STRING_SELECT:
        known = {option["value"] for option in component["options"]}
        if unknown := [v for v in values if v not in known]:
            raise Refused(message=f"{unknown[0]!r} is not among the options.")
