"""What a failed request to Discord means: try again, go elsewhere, or tell somebody."""

from typing import Final

import aiohttp
import discord

SENDING_ERRORS: Final = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError)
"""What a request to Discord may raise."""
DISCORD_ERRORS: Final = (
    discord.HTTPException,
    discord.RateLimited,
    aiohttp.ClientError,
    ConnectionError,
)
"""The same, without what the disk may raise."""
RETRIES: Final = (1, 2, 5, 15, 60, 120)
"""Seconds to wait after a failure that may pass; the last again and again."""
TOO_LARGE: Final = frozenset((40005,))
BLOCKED: Final = frozenset((240000, 200000))
"""Discord's own filter, or the server's, does not let the text or the pictures through."""
TOKEN_ENDED: Final = 50027
"""Invalid webhook token."""
MESSAGE_CLOSED: Final = frozenset((10008, 30046, 50083))
"""Unknown message, too many edits of an old message, archived thread: a new message may go."""
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
PAYLOAD_TOO_LARGE: Final = 413
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500

ANSWERS: Final = {
    "result_too_large": "answer_too_large",
    "result_blocked": "answer_blocked",
    "result_refused": "answer_refused",
}
"""What is said of an answer where this would be said of a result."""


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    return not isinstance(error, discord.HTTPException) or (
        error.status >= SERVER_ERROR or error.status == TOO_MANY_REQUESTS
    )


def outcome_unknown(error: Exception) -> bool:
    """Whether Discord may have done what was asked, and only its answer was lost."""
    return not isinstance(error, discord.HTTPException) or error.status >= SERVER_ERROR


def is_too_large(error: Exception) -> bool:
    """Whether the files are larger than Discord takes there."""
    return isinstance(error, discord.HTTPException) and (
        error.status == PAYLOAD_TOO_LARGE or error.code in TOO_LARGE
    )


def closes_the_way(error: discord.HTTPException) -> bool:
    """Whether this place will never take the message: it is gone, or closed to the bot."""
    return error.status in (FORBIDDEN, NOT_FOUND) or error.code in MESSAGE_CLOSED | {TOKEN_ENDED}


def answer_key(error: Exception) -> str:
    """The key of the sentence for somebody whose answer Discord does not take."""
    if may_pass(error):
        return "answer_lost"
    return ANSWERS[refusal_key(error)]


def refusal_key(error: Exception) -> str:
    """The key of the sentence that says why Discord does not take a result."""
    if is_too_large(error):
        return "result_too_large"
    if isinstance(error, discord.HTTPException) and error.code in BLOCKED:
        return "result_blocked"
    return "result_refused"
