"""A picture that somebody handed in or that any message shows, made larger."""

import discord

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.responding import Interaction, acknowledge, check_can_post, defer
from bot.pictures.uploads import check_described, read_attachment
from bot.services import Services
from generation.enlarging import NO_WISH, Wish
from generation.picture_files import size_of


async def enlarge_attachment(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    attachment: discord.Attachment,
    wish: Wish = NO_WISH,
    action: str = "upscale",
    private: bool | None = None,
) -> None:
    """Fetch and keep the picture, and ask for a larger one. Raises Refused."""
    requests = services.requests
    private = caller.own.private if private is None else private
    check_can_post(interaction, caller, private=private)
    await requests.shares.check_asking(caller)
    limits = requests.rules.limits
    check_described(attachment, limits)
    if attachment.width and attachment.height:
        # what is refused whatever it shows is not fetched
        requests.remaking.enlarge("", (attachment.width, attachment.height), wish)
    await defer(interaction, private=private)
    (content,) = await read_attachment(attachment, caller.person.id, services.decoder, limits)
    picture = await services.store.jobs.keep_upload(content)
    origin = caller.origin(private=private, interaction=token_of(interaction))
    await acknowledge(
        interaction, await requests.enlarge(picture, size_of(content), wish, caller, origin, action)
    )
