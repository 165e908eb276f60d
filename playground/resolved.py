"""`resolved`: the objects behind the ids that an interaction's data mentions."""

from __future__ import annotations

from .errors import Refused
from .objects import Objects
from .permissions import in_guild
from .snowflake import Snowflake
from .validation.commands import (
    ATTACHMENT,
    CHANNEL_OPTION,
    MENTIONABLE,
    ROLE_OPTION,
    USER_OPTION,
)
from .validation.components import (
    CHANNEL_SELECT,
    FILE_UPLOAD,
    MENTIONABLE_SELECT,
    ROLE_SELECT,
    USER_SELECT,
)
from .world import Channel, Guild, Json, World

SELECT_AS_OPTION = {
    USER_SELECT: USER_OPTION,
    ROLE_SELECT: ROLE_OPTION,
    MENTIONABLE_SELECT: MENTIONABLE,
    CHANNEL_SELECT: CHANNEL_OPTION,
    FILE_UPLOAD: ATTACHMENT,
}


class Resolved:
    """Collects objects by kind; `data` is what the interaction carries."""

    def __init__(self, world: World, objects: Objects, guild: Guild | None, user_id: str) -> None:
        self.world = world
        self.objects = objects
        self.guild = guild
        self.user_id = user_id
        self.data: Json = {}

    def _put(self, kind: str, id_: Snowflake, rendered: Json) -> None:
        self.data.setdefault(kind, {})[id_] = rendered

    def option(self, kind: int, value: Snowflake) -> None:
        """Resolve the value of a command option of this type."""
        if kind == USER_OPTION:
            self.user(value)
        elif kind == ROLE_OPTION:
            self.role(value)
        elif kind == CHANNEL_OPTION:
            self.channel(value)
        elif kind == ATTACHMENT:
            self.attachment(value)
        elif kind == MENTIONABLE:
            if self.guild is not None and value in self.guild.roles:
                self.role(value)
            else:
                self.user(value)

    def select(self, kind: int, values: list[Snowflake]) -> None:
        for value in values:
            self.option(SELECT_AS_OPTION.get(kind, 0), value)

    def user(self, user_id: Snowflake) -> None:
        if user_id not in self.world.users:
            raise Refused(message=f"There is no user {user_id}.")
        self._put("users", user_id, self.objects.user(self.world.users[user_id]))
        if self.guild is not None and user_id in self.guild.members:
            self._put("members", user_id, self._member(self.guild, user_id))

    def _member(self, guild: Guild, user_id: Snowflake) -> Json:
        member = guild.members[user_id]
        rendered = self.objects.member(member, with_user=False)
        for left_out in ("mute", "deaf"):
            rendered.pop(left_out)
        return rendered | {"permissions": str(int(in_guild(guild, member)))}

    def role(self, role_id: Snowflake) -> None:
        if self.guild is None or role_id not in self.guild.roles:
            raise Refused(message=f"There is no role {role_id}.")
        self._put("roles", role_id, self.objects.role(self.guild.roles[role_id]))

    def channel(self, channel_id: Snowflake) -> None:
        channel = self.world.channel(channel_id)
        self._put("channels", channel_id, self.objects.partial_channel(channel, self.user_id))

    def attachment(self, attachment_id: Snowflake) -> None:
        attachment = self.world.uploads.get(attachment_id)
        if attachment is None:
            raise Refused(message=f"There is no upload {attachment_id}.")
        self._put("attachments", attachment_id, self.objects.attachment(attachment))

    def message(self, channel: Channel, message_id: Snowflake) -> None:
        message = self.world.message(channel.id, message_id)
        # a context menu gives the bot the content, whatever its intents
        rendered = self.objects.message(message, self.world.bot.id, reads_content=True)
        self._put("messages", message_id, rendered)
