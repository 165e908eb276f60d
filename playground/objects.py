"""The world's records as Discord's JSON objects.

Each function renders one object of Discord's documentation; `viewer` is the id of who looks
(reactions carry `me`, the bot sees only the content it may).
"""

from __future__ import annotations

from .cdn import Cdn
from .permissions import Permission
from .places import Places
from .snowflake import Snowflake, created_at
from .world import (
    DM,
    HAS_THREAD,
    Attachment,
    Channel,
    Command,
    Guild,
    Json,
    Message,
    Reaction,
    World,
)

UPLOAD_LIMITS = {0: 20 << 20, 1: 20 << 20, 2: 50 << 20, 3: 100 << 20}
"""Bytes a file, by the server's premium tier (20 MB without boosts since September 2026)."""

MESSAGE_CONTENT_FLAGS = 1 << 18 | 1 << 19
"""Application flags GATEWAY_MESSAGE_CONTENT and …_LIMITED: the privileged intent is switched on."""


def upload_limit(guild: Guild | None) -> int:
    """Bytes that one file may have."""
    return UPLOAD_LIMITS[0 if guild is None else guild.premium_tier]


class Objects(Places):
    """Renders records; holds what rendering needs besides the record itself."""

    def __init__(self, world: World, cdn: Cdn) -> None:
        super().__init__(world)
        self.cdn = cdn

    def guild(self, guild: Guild) -> Json:
        """As GET /guilds/G answers."""
        return {
            "id": guild.id,
            "name": guild.name,
            "owner_id": guild.owner_id,
            "icon": None,
            "splash": None,
            "discovery_splash": None,
            "banner": None,
            "description": None,
            "features": [],
            "region": "deprecated",
            "afk_channel_id": None,
            "afk_timeout": 300,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "widget_enabled": False,
            "widget_channel_id": None,
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "nsfw": False,
            "premium_tier": guild.premium_tier,
            "premium_subscription_count": 0,
            "premium_progress_bar_enabled": False,
            "preferred_locale": guild.locale,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "safety_alerts_channel_id": None,
            "vanity_url_code": None,
            "application_id": None,
            "max_presences": None,
            "max_members": 500000,
            "max_video_channel_users": 25,
            "max_stage_video_channel_users": 50,
            "home_header": None,
            "hub_type": None,
            "incidents_data": None,
            "roles": [self.role(role) for role in guild.roles.values()],
            "emojis": [],
            "stickers": [],
        }

    def guild_create(self, guild: Guild, *, everyone: bool) -> Json:
        """GUILD_CREATE's payload; without the members intent only the bot is in `members`."""
        bot_id = self.world.bot.id
        members = [m for m in guild.members.values() if everyone or m.user_id == bot_id]
        return self.guild(guild) | {
            "joined_at": self.time(guild.members[bot_id].joined_at),
            "large": False,
            "unavailable": False,
            "member_count": len(guild.members),
            "members": [self.member(m) for m in members],
            "channels": [self.channel(c) for c in self.world.channels_of(guild)],
            "threads": [self.channel(c) for c in self.seen_threads(guild, bot_id)],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def seen_threads(self, guild: Guild, user_id: Snowflake) -> list[Channel]:
        """The active threads that the user may see."""
        threads = self.world.threads_of(guild)
        return [t for t in threads if Permission.VIEW_CHANNEL in self.permissions(t, user_id)]

    def attachment(self, attachment: Attachment) -> Json:
        url = self.cdn.link(attachment)
        rendered: Json = {
            "id": attachment.id,
            "filename": attachment.filename,
            "size": attachment.size,
            "url": url,
            "proxy_url": url,
        }
        for name in ("title", "description", "content_type"):
            if (value := getattr(attachment, name)) is not None:
                rendered[name] = value
        if attachment.width is not None:
            rendered |= {"width": attachment.width, "height": attachment.height}
        if attachment.ephemeral:
            rendered["ephemeral"] = True
        if attachment.spoiler:
            rendered["flags"] = 1 << 3
        return rendered

    def emoji(self, reaction: Reaction) -> Json:
        return {"id": reaction.emoji_id, "name": reaction.emoji_name}

    def reaction(self, reaction: Reaction, viewer: Snowflake) -> Json:
        return {
            "emoji": self.emoji(reaction),
            "count": len(reaction.users),
            "count_details": {"burst": 0, "normal": len(reaction.users)},
            "burst_colors": [],
            "me": viewer in reaction.users,
            "me_burst": False,
            "burst_me": False,
            "burst_count": 0,
        }

    def message(
        self,
        message: Message,
        viewer: Snowflake,
        *,
        nested: bool = False,
        reads_content: bool | None = None,
    ) -> Json:
        """The message object; `nested` leaves out the message it answers to.

        `reads_content`: whether the bot has MESSAGE_CONTENT, by default as its application is set.
        """
        users = self.world.users
        rendered: Json = {
            "id": message.id,
            "type": message.type,
            "channel_id": message.channel_id,
            "author": self.user(users[message.author_id]),
            "content": message.content,
            "timestamp": created_at(message.id),
            "edited_timestamp": self.time(message.edited_at),
            "tts": message.tts,
            "mention_everyone": message.mention_everyone,
            "mentions": [self.user(users[u]) for u in message.mentions if u in users],
            "mention_roles": list(message.mention_roles),
            "attachments": [self.attachment(a) for a in message.attachments],
            "embeds": [self._embed(e, message.attachments) for e in message.embeds],
            "components": self._media(message.components, message.attachments),
            "pinned": message.pinned,
            "flags": message.flags,
        }
        thread = self.world.channels.get(message.id)
        if thread is not None and message.flags & HAS_THREAD:
            rendered["thread"] = self.channel(thread, viewer)
        if message.reactions:
            rendered["reactions"] = [self.reaction(r, viewer) for r in message.reactions]
        if message.webhook_id is not None:
            rendered |= {"webhook_id": message.webhook_id, "application_id": message.webhook_id}
        if message.interaction_metadata is not None:
            rendered |= self._origin(message.interaction_metadata)
        if message.reference is not None:
            rendered["message_reference"] = message.reference
            if not nested:
                rendered["referenced_message"] = self._referenced(message, viewer, reads_content)
        return self._hide_content(rendered, message, viewer, reads_content)

    def _referenced(
        self, message: Message, viewer: Snowflake, reads_content: bool | None
    ) -> Json | None:
        reference = message.reference or {}
        found = self.world.messages.get(reference["channel_id"], {}).get(reference["message_id"])
        if found is None:
            return None
        return self.message(found, viewer, nested=True, reads_content=reads_content)

    def _origin(self, metadata: Json) -> Json:
        """Which interaction a message came from, in the new and in the older form."""
        user = self.user(self.world.users[metadata["user_id"]])
        rest = {k: v for k, v in metadata.items() if k not in ("user_id", "triggered_by")}
        if triggered_by := metadata.get("triggered_by"):
            origin = self._origin(triggered_by)["interaction_metadata"]
            rest["triggering_interaction_metadata"] = origin
        rendered: Json = {"interaction_metadata": rest | {"user": user}}
        if metadata["type"] == 2:
            rendered["interaction"] = {
                "id": metadata["id"],
                "type": 2,
                "name": metadata["name"],
                "user": user,
            }
        return rendered

    def _hide_content(
        self, rendered: Json, message: Message, viewer: Snowflake, reads_content: bool | None
    ) -> Json:
        """Without MESSAGE_CONTENT the bot sees others' content only in DMs or if mentioned."""
        bot = self.world.bot
        if viewer != bot.id or message.author_id == bot.id or bot.id in message.mentions:
            return rendered
        in_direct_message = self.world.channels[message.channel_id].type == DM
        if reads_content is None:
            reads_content = bool(self.world.application.flags & MESSAGE_CONTENT_FLAGS)
        if in_direct_message or reads_content:
            return rendered
        return rendered | {"content": "", "embeds": [], "attachments": [], "components": []}

    def _embed(self, embed: Json, attachments: list[Attachment]) -> Json:
        """`attachment://name` becomes the link of the attachment of that name."""
        rendered = dict(embed)
        for part in ("image", "thumbnail", "video"):
            if isinstance(media := embed.get(part), dict) and "url" in media:
                rendered[part] = media | self._resolved(media["url"], attachments)
        for part in ("author", "footer"):
            icon = embed.get(part, {}).get("icon_url")
            if isinstance(icon, str) and icon.startswith("attachment://"):
                url = self._resolved(icon, attachments).get("url", icon)
                rendered[part] = embed[part] | {"icon_url": url, "proxy_icon_url": url}
        return rendered

    def _resolved(self, url: str, attachments: list[Attachment]) -> Json:
        for attachment in attachments:
            if url == f"attachment://{attachment.filename}":
                link = self.cdn.link(attachment)
                media: Json = {"url": link, "proxy_url": link, "flags": 0}
                if attachment.content_type is not None:
                    media["content_type"] = attachment.content_type
                if attachment.width is not None:
                    media |= {"width": attachment.width, "height": attachment.height}
                return media
        return {"url": url, "proxy_url": url}

    def _media(self, components: list[Json], attachments: list[Attachment]) -> list[Json]:
        """Components with every unfurled media item (`{"url": …}`) resolved."""

        def walk(value: object) -> object:
            if isinstance(value, list):
                return [walk(item) for item in value]
            if not isinstance(value, dict):
                return value
            walked = {key: walk(item) for key, item in value.items()}
            for key in ("media", "file"):
                if isinstance(media := walked.get(key), dict) and "url" in media:
                    found = self._resolved(media["url"], attachments)
                    walked[key] = media | found | {"loading_state": 2}
            return walked

        return [walk(component) for component in components]  # type: ignore[misc]

    def command(self, command: Command) -> Json:
        rendered = {
            "id": command.id,
            "application_id": self.world.application.id,
            "version": command.version,
        } | command.body
        if command.guild_id is not None:
            rendered["guild_id"] = command.guild_id
        return rendered

    def application(self) -> Json:
        application = self.world.application
        owner = next((u for u in self.world.users.values() if not u.bot), self.world.bot)
        return {
            "id": application.id,
            "name": application.name,
            "icon": None,
            "description": application.description,
            "bot_public": True,
            "bot_require_code_grant": False,
            "bot": self.user(self.world.bot),
            "owner": self.user(owner),
            "team": None,
            "summary": "",
            "type": None,
            "verify_key": "0" * 64,
            "flags": application.flags,
            "hook": True,
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "approximate_guild_count": len(self.world.guilds),
            "approximate_user_install_count": sum(u.has_app for u in self.world.users.values()),
            "integration_types_config": {str(kind): {} for kind in application.integration_types},
        }
