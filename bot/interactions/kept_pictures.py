"""Pictures that are asked about in a modal.

A modal's custom_id names the draft that has them, which is its person's alone: a picture's hash,
which others may know of its file, would be no right to it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import discord

from bot.access.caller import Caller
from bot.pictures.uploads import read_attachment
from bot.services import Services
from generation.refusal import Refused
from storage.drafts import Draft

REFUSED_IN_A_ROW: Final = 20
"""Drafts that are looked through for the pictures of the first."""


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


async def keep_for(
    services: Services, caller: Caller, attachment: discord.Attachment, modal: str, option: str
) -> int:
    """The number of a draft of that modal that has the picture for an option. Raises Refused for
    what is no picture.
    """
    picture = await keep(services, caller, attachment)
    draft = Draft(name=modal, uploads={option: picture})
    return await services.store.drafts.keep(caller.person.id, draft)


async def uploads_of(services: Services, caller: Caller, where: Sequence[str]) -> Mapping[str, str]:
    """The pictures by option of the draft whose number stands first in `where`: of one that was
    handed in and refused again, those of the one before; none where it is gone or another's.
    """
    for _ in range(REFUSED_IN_A_ROW):
        number = where[0] if where else ""
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            break
        draft = await services.store.drafts.get(caller.person.id, int(number))
        if draft is None:
            break
        if draft.uploads:
            return draft.uploads
        where = draft.where
    return {}


async def picture_of(services: Services, caller: Caller, where: Sequence[str], option: str) -> str:
    """The picture of that draft for an option. Raises Refused where there is none of theirs."""
    uploads = await uploads_of(services, caller, where)
    if option not in uploads:
        raise Refused("draft_gone")
    return uploads[option]
