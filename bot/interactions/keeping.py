"""Pictures that came with what was refused, kept within bounds so that it can be tried again."""

from typing import Final

import discord
import structlog

from bot.interactions.responding import Interaction, defer, is_answered
from bot.pictures.turns import KEPT_OF_ONE_PERSON
from bot.pictures.uploads import read_attachment
from bot.services import Services
from generation.refusal import Refused
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

KEPT_A_DAY: Final = 20
"""Pictures of one person that came with refused requests and are kept for a day."""


def may_keep(interaction: Interaction) -> bool:
    """Whether one more picture is kept that nothing is made of: whoever may ask for nothing must
    not fill the disk.
    """
    kept, user_id = interaction.client.pictures_kept, interaction.user.id
    return any(kept.add((user_id, number)) for number in range(KEPT_A_DAY))


async def kept_anyway(
    services: Services, interaction: Interaction, attachment: discord.Attachment
) -> str | None:
    """The hash of a picture that came with what is refused; None where it can't be kept."""
    if not is_answered(interaction):
        await defer(interaction, private=True)
    if not may_keep(interaction):
        return None
    limits, user_id = services.requests.rules.limits, interaction.user.id
    try:
        (content,) = await read_attachment(
            attachment, user_id, services.decoder, limits, KEPT_OF_ONE_PERSON
        )
        return await services.store.jobs.keep_upload(content)
    except (Refused, DatabaseError, OSError) as error:
        log.info("a picture is not kept", file=attachment.filename, error=str(error))
        return None
