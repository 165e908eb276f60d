"""An answer to people who write to the bot as they would to a person."""

from typing import Final

import discord
import structlog

from bot.delivery.failures import SENDING_ERRORS
from bot.features.help import page
from bot.locales import LOCALES, Texts
from bot.services import Client
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

SAID_BY_PEOPLE: Final = (discord.MessageType.default, discord.MessageType.reply)


async def on_message(client: Client, message: discord.Message) -> None:
    """Tell somebody who writes directly how pictures are asked for, once an hour.

    A message has no language, so that is said in every one unless they have chosen theirs.
    """
    if message.guild is not None or message.author.bot or message.type not in SAID_BY_PEOPLE:
        return
    if not client.hinted.add(message.author.id):
        return
    services = client.services
    try:
        chosen = (await services.store.settings.person(message.author.id)).language
        prompts = page.examples(services.catalog, services.requests.rules)
        languages = [chosen] if chosen else LOCALES
        lines = [page.hint(prompts, client.command_ids, Texts(each)) for each in languages]
        await message.channel.send("\n".join(lines), nonce=f"d{message.id}")
    except (*SENDING_ERRORS, DatabaseError) as error:
        client.hinted.discard(message.author.id)
        log.info("a direct message could not be answered", error=str(error))
