"""What every answer to an interaction shares: who asked, and what they see when it fails."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import discord
import structlog

from bot.locales import Texts
from bot.policy import Person
from generation.job import Interaction, Origin
from generation.refusal import Refused

log = structlog.get_logger(__name__)

NO_MENTIONS = discord.AllowedMentions.none()


@asynccontextmanager
async def answering(interaction: discord.Interaction[Any]) -> AsyncIterator[None]:
    """A refusal becomes its sentence, anything else a sentence with the log entry's number.

    Only the person who asked sees either.
    """
    texts = Texts(str(interaction.locale))
    try:
        yield
    except Refused as refused:
        await _say(interaction, texts(refused.code, **refused.params))
    except Exception:
        incident = secrets.token_hex(4)
        log.exception("interaction failed", incident=incident)
        await _say(interaction, texts("incident", incident=incident))


async def _say(interaction: discord.Interaction[Any], sentence: str) -> None:
    try:
        if not interaction.response.is_done():
            await interaction.response.send_message(
                sentence, ephemeral=True, allowed_mentions=NO_MENTIONS
            )
            return
        if interaction.response.type is discord.InteractionResponseType.deferred_channel_message:
            # what follows a public "is thinking" is public too, unless that goes first
            await interaction.delete_original_response()
        await interaction.followup.send(sentence, ephemeral=True, allowed_mentions=NO_MENTIONS)
    except discord.HTTPException as error:
        log.warning("nobody could be told", sentence=sentence, error=str(error))


def person_of(interaction: discord.Interaction[Any]) -> Person:
    """Who asked. In a direct message everybody is their own moderator."""
    moderator = interaction.guild_id is None or interaction.permissions.manage_messages
    return Person(
        interaction.user.id, interaction.user.display_name, moderator, str(interaction.locale)
    )


def origin_of(interaction: discord.Interaction[Any], *, private: bool) -> Origin:
    """Where the answer to an interaction goes."""
    return Origin(
        user_id=interaction.user.id,
        user_name=interaction.user.display_name,
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        locale=str(interaction.locale),
        private=private,
        interaction=Interaction(
            application_id=interaction.application_id,
            token=interaction.token,
            expires_at=interaction.expires_at,
        ),
    )
