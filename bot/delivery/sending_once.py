"""New messages through a webhook, which knows no nonce: what may have arrived is not repeated."""

from typing import Any

import aiohttp
import discord

from bot.delivery.failures import SERVER_ERROR


class OutcomeUnknownError(aiohttp.ClientError):
    """Discord may have done what was asked, and its answer was lost."""


async def send_once(webhook: discord.Webhook, **message: Any) -> discord.WebhookMessage:
    """Post through a webhook; discord.py's own repetitions are kept to what was surely refused.

    Raises OutcomeUnknownError for an answer that was lost, and what else a request to Discord may
    raise: then nothing has arrived.
    """
    async with aiohttp.ClientSession(middlewares=(_unrepeated,)) as session:
        webhook.session = session
        try:
            return await webhook.send(wait=True, **message)
        except aiohttp.ClientPayloadError as error:  # cut off, when it had begun to answer
            raise OutcomeUnknownError(str(error)) from error


async def _unrepeated(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise what discord.py takes for no reason to ask again."""
    try:
        response = await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent
    except (OSError, aiohttp.ClientError) as error:
        raise OutcomeUnknownError(str(error)) from error
    if response.status >= SERVER_ERROR:
        status = response.status
        response.close()
        raise OutcomeUnknownError(f"status {status}")
    return response
