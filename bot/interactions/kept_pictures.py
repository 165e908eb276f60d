"""Pictures of messages, taken to be asked about in a modal."""

from typing import Final

import discord

from bot.access.caller import Caller
from bot.pictures.uploads import read_attachment
from bot.services import Services
from generation.refusal import Refused

FETCHED_WITHIN: Final = 1.5
"""Seconds; a modal must open within three, and a picture may be far away."""


async def keep(services: Services, caller: Caller, attachment: discord.Attachment) -> str:
    """Its hash in the store. Raises Refused for what is no picture."""
    limits = services.requests.rules.limits
    (content,) = await read_attachment(attachment, caller.person.id, services.decoder, limits)
    return await services.store.jobs.keep_upload(content)


def picture_in(message: discord.Message) -> discord.Attachment:
    """The first attached picture of a message. Raises Refused where there is none."""
    for attachment in message.attachments:
        if (attachment.content_type or "").startswith("image/"):
            return attachment
    raise Refused("message_without_picture")
