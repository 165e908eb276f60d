"""People and the places they are in as Discord's JSON, and what they may do there."""

from __future__ import annotations

from . import permissions
from .permissions import Permission
from .snowflake import Snowflake, timestamp
from .world import DM, FORUM, PRIVATE_THREAD, Channel, Json, Member, Role, User, World


class Places:
    """Renders users, members, roles, channels and threads."""

    def __init__(self, world: World) -> None:
        self.world = world

    def time(self, seconds: float | None) -> str | None:
        """A time of the clock's as this Discord tells it."""
        return None if seconds is None else timestamp(self.world.clock.told(seconds))

    def user(self, user: User) -> Json:
        rendered: Json = {
            "id": user.id,
            "username": user.name,
            "discriminator": "0000" if user.bot else "0",
            "global_name": None if user.bot else user.name.capitalize(),
            "avatar": user.avatar,
            "avatar_decoration_data": None,
            "collectibles": None,
            "primary_guild": None,
            "public_flags": 0,
            "flags": 0,
            "banner": None,
            "accent_color": None,
        }
        if user.bot:
            rendered["bot"] = True
        return rendered

    def own_user(self) -> Json:
        return self.user(self.world.bot) | {
            "mfa_enabled": True,
            "verified": True,
            "locale": "en-US",
            "email": None,
            "bio": "",
        }

    def member(self, member: Member, *, with_user: bool = True) -> Json:
        until = member.timed_out_until
        rendered: Json = {
            "avatar": None,
            "banner": None,
            "communication_disabled_until": self.time(until),
            "flags": 0,
            "joined_at": self.time(member.joined_at),
            "nick": member.nick,
            "pending": False,
            "premium_since": None,
            "roles": list(member.roles),
            "mute": False,
            "deaf": False,
        }
        if with_user:
            rendered["user"] = self.user(self.world.users[member.user_id])
        return rendered

    def role(self, role: Role) -> Json:
        rendered: Json = {
            "id": role.id,
            "name": role.name,
            "permissions": str(role.permissions),
            "position": role.position,
            "color": role.color,
            "colors": {
                "primary_color": role.color,
                "secondary_color": None,
                "tertiary_color": None,
            },
            "hoist": False,
            "managed": role.managed_by is not None,
            "mentionable": False,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }
        if role.managed_by is not None:
            rendered["tags"] = {"bot_id": role.managed_by}
        return rendered

    # -- channels ---------------------------------------------------------------------------

    def channel(self, channel: Channel, viewer: Snowflake | None = None) -> Json:
        """As the viewer sees it, by default the bot: a DM's recipient is the other one."""
        rendered: Json = {
            "id": channel.id,
            "type": channel.type,
            "last_message_id": channel.last_message_id,
            "flags": 0,
        }
        if channel.type == DM:
            others = [self.user(self.world.users[u]) for u in self._others(channel, viewer)]
            return rendered | {"recipients": others, "last_pin_timestamp": None}
        rendered |= {
            "guild_id": channel.guild_id,
            "name": channel.name,
            "parent_id": channel.parent_id,
            "rate_limit_per_user": 0,
            "last_pin_timestamp": None,
        }
        if channel.thread is not None:
            return rendered | self._thread(channel, viewer or self.world.bot.id)
        rendered |= {
            "topic": channel.topic,
            "nsfw": channel.nsfw,
            "position": channel.position,
            "permission_overwrites": [
                {"id": o.id, "type": o.type, "allow": str(o.allow), "deny": str(o.deny)}
                for o in channel.overwrites.values()
            ],
        }
        if channel.type == FORUM:
            rendered |= self._forum(channel)
        return rendered

    def _others(self, channel: Channel, viewer: Snowflake | None) -> list[Snowflake]:
        """Whom the viewer talks to in a direct message."""
        if channel.people:
            return [user for user in channel.people if user != viewer]
        assert channel.recipient_id is not None
        is_recipient = viewer == channel.recipient_id
        return [self.world.bot.id if is_recipient else channel.recipient_id]

    def _thread(self, channel: Channel, viewer: Snowflake) -> Json:
        thread = channel.thread
        assert thread is not None
        metadata: Json = {
            "archived": thread.archived,
            "archive_timestamp": self.time(thread.archived_at or thread.created_at),
            "auto_archive_duration": thread.auto_archive_duration,
            "locked": thread.locked,
            "create_timestamp": self.time(thread.created_at),
        }
        if channel.type == PRIVATE_THREAD:
            metadata["invitable"] = thread.invitable
        rendered: Json = {
            "owner_id": thread.owner_id,
            "thread_metadata": metadata,
            "message_count": thread.message_count,
            "total_message_sent": thread.message_count,
            # Discord stops counting at 50
            "member_count": min(50, len(thread.members)),
        }
        if self.world.parent_of(channel).type == FORUM:
            rendered["applied_tags"] = list(thread.applied_tags)
        if viewer in thread.members:
            rendered["member"] = self.thread_member(channel, viewer)
        return rendered

    def thread_member(self, channel: Channel, user_id: Snowflake) -> Json:
        assert channel.thread is not None
        joined = self.time(channel.thread.members.get(user_id, self.world.clock.now()))
        return {"id": channel.id, "user_id": user_id, "join_timestamp": joined, "flags": 1}

    def _forum(self, channel: Channel) -> Json:
        return {
            "available_tags": [
                {
                    "id": tag.id,
                    "name": tag.name,
                    "moderated": False,
                    "emoji_id": None,
                    "emoji_name": None,
                }
                for tag in channel.tags
            ],
            "default_reaction_emoji": None,
            "default_sort_order": None,
            "default_forum_layout": 0,
            "default_thread_rate_limit_per_user": 0,
        }

    def partial_channel(self, channel: Channel, user_id: Snowflake) -> Json:
        """As interactions carry it: with the permissions of who acts."""
        viewer = user_id if channel.people else None
        may = str(int(self.permissions(channel, user_id)))
        return self.channel(channel, viewer) | {"permissions": may}

    # -- permissions ------------------------------------------------------------------------

    def permissions(self, channel: Channel, user_id: Snowflake) -> Permission:
        """What the user may do in the channel; nothing when they are not in it."""
        if channel.type == DM:
            inside = channel.people or (channel.recipient_id, self.world.bot.id)
            return permissions.DIRECT if user_id in inside else permissions.NONE
        guild = self.world.guild_of(channel)
        assert guild is not None
        member = guild.members.get(user_id)
        if member is None:
            return permissions.NONE
        parent = self.world.parent_of(channel)
        granted = permissions.in_channel(
            guild, parent, member, self.world.clock.now(), self.sending(channel)
        )
        if channel.type == PRIVATE_THREAD and Permission.MANAGE_THREADS not in granted:
            assert channel.thread is not None
            return granted if user_id in channel.thread.members else permissions.NONE
        return granted

    def sending(self, channel: Channel) -> Permission:
        """What writing a message in this channel needs."""
        in_thread = channel.thread is not None
        return Permission.SEND_MESSAGES_IN_THREADS if in_thread else Permission.SEND_MESSAGES

    def app_permissions(self, channel: Channel) -> Permission:
        """What the app may do where an interaction comes from."""
        if channel.people:
            return permissions.USER_INSTALLED & ~Permission.USE_EXTERNAL_EMOJIS
        if channel.type == DM:
            return permissions.USER_INSTALLED
        guild = self.world.guild_of(channel)
        assert guild is not None
        # who is in a private thread does not count: threads have no permissions of their own
        parent, now = self.world.parent_of(channel), self.world.clock.now()
        sending = self.sending(channel)
        if own := guild.members.get(self.world.bot.id):
            return permissions.in_channel(guild, parent, own, now, sending)
        nobody = Member(self.world.bot.id, [], 0.0)
        everyone = permissions.in_channel(guild, parent, nobody, now, sending)
        return everyone & permissions.USER_INSTALLED
