"""Dialogs about a picture of a message, which has to be fetched before they open."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import discord

from bot.access.caller import Caller
from bot.interactions.kept_pictures import keep_for
from bot.interactions.responding import Interaction, RespondingItem, answer, defer
from bot.services import Services
from bot.ui.modal import Modal
from bot.ui.persistent_items import StatelessView

FETCHED_WITHIN: Final = 1.5
"""Seconds; a modal must open within three, and a picture may be far away."""


async def open_with_picture(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    attachment: discord.Attachment,
    kept_for: tuple[str, str],
    modal: Callable[[int], Modal],
    later: Callable[[int], RespondingItem[Any]],
    said: str,
) -> None:
    """Keep a picture in a draft of the modal and for the option that `kept_for` names, and open the
    `modal` of its number. Where that takes too long, answer with what is `said` and the button that
    opens it `later`. Raises Refused for what is no picture.
    """
    keeping = asyncio.create_task(keep_for(services, caller, attachment, *kept_for))
    try:
        async with asyncio.timeout(FETCHED_WITHIN):
            number = await asyncio.shield(keeping)
    except TimeoutError:
        await defer(interaction, private=True)
        view = StatelessView()
        view.add_item(later(await keeping))
        await answer(interaction, content=said, view=view)
        return
    await interaction.response.send_modal(modal(number))
