"""A picture that somebody handed in or that any message shows, described."""

import discord

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.responding import Interaction, acknowledge, check_can_post, defer
from bot.pictures.uploads import read_attachment
from bot.services import Services
from generation.picture_files import size_of
from generation.request_parts import DescriptionStyle


async def describe_attachment(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    attachment: discord.Attachment,
    style: DescriptionStyle | None = None,
    private: bool | None = None,
) -> None:
    """Fetch and keep the picture, and ask what it shows. Raises Refused."""
    requests = services.requests
    private = caller.own.private if private is None else private
    check_can_post(interaction, caller, private=private)
    await requests.shares.check_asking(caller)
    # where nothing can describe it, it is not fetched
    requests.remaking.describe("", (1, 1), style)
    await defer(interaction, private=private)
    limits = requests.rules.limits
    (content,) = await read_attachment(attachment, caller.person.id, services.decoder, limits)
    picture = await services.store.jobs.keep_upload(content)
    origin = caller.origin(private=private, interaction=token_of(interaction))
    await acknowledge(
        interaction, await requests.describe(picture, size_of(content), style, caller, origin)
    )
