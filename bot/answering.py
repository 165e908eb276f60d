"""What every answer to an interaction shares: who asked, and what they see when it fails."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.locales import Texts
from bot.visits import Visit, visit_of
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient

log = structlog.get_logger(__name__)

NO_MENTIONS = discord.AllowedMentions.none()


@asynccontextmanager
async def answering(interaction: discord.Interaction[Any]) -> AsyncIterator[Visit]:
    """A refusal becomes its sentence, anything else a sentence with the log entry's number.

    Only the person who asked sees either.
    """
    client: DarkroomClient = interaction.client
    client.answers()
    texts = Texts(str(interaction.locale))
    try:
        visit = await visit_of(client.desk.settings, interaction)
        texts = visit.texts
        yield visit
    except Refused as refused:
        await say(interaction, texts(refused.code, **refused.params))
    except Exception:
        incident = secrets.token_hex(4)
        log.exception("interaction failed", incident=incident)
        await say(interaction, texts("incident", incident=incident))


async def think(interaction: discord.Interaction[Any], *, private: bool) -> None:
    """Acknowledge with "is thinking"; who sees that sees what follows."""
    interaction.extras["private"] = private
    await interaction.response.defer(thinking=True, ephemeral=private)


async def say(interaction: discord.Interaction[Any], sentence: str, **more: Any) -> None:
    """Answer so that only the person who asked sees it, however far the interaction is."""
    try:
        if not interaction.response.is_done():
            await interaction.response.send_message(
                sentence, ephemeral=True, allowed_mentions=NO_MENTIONS, **more
            )
            return
        deferred = discord.InteractionResponseType.deferred_channel_message
        if interaction.response.type is deferred and not interaction.extras["private"]:
            # what follows a public "is thinking" is public too, unless that goes first
            await interaction.delete_original_response()
        await interaction.followup.send(
            sentence, ephemeral=True, allowed_mentions=NO_MENTIONS, **more
        )
    except discord.HTTPException as error:
        log.warning("nobody could be told", sentence=sentence, error=str(error))
