"""Pictures in the heaviest form that Discord takes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.delivery.failures import SENDING_ERRORS, is_too_large
from bot.pictures.attachments import LEVELS, JobAttachments, ShownPictures

T = TypeVar("T")


async def send_fitting(
    attachments: JobAttachments,
    original: ShownPictures,
    send: Callable[[ShownPictures], Awaitable[T]],
) -> T:
    """What `send` returns for the pictures, or else for lighter copies of them, each level lighter
    than the one before. Raises what it raises for another reason, or for the lightest.
    """
    shown = original
    for level in range(len(LEVELS) + 1):
        try:
            return await send(shown)
        except SENDING_ERRORS as error:
            if not is_too_large(error) or level == len(LEVELS) or not shown.attachments:
                raise
            shown = await attachments.lighter(original, level)
    raise AssertionError("the last level has returned or raised")
