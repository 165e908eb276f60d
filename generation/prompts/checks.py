"""What a prompt is refused for."""

from typing import Final

from generation.prompts.attention import attention, depth
from generation.prompts.composition import composed
from generation.prompts.schedule import schedule
from generation.refusal import Refused

WEIGHT_MAX: Final = 100.0
"""Far beyond what draws anything; much more overflows in half precision."""
DEPTH_MAX: Final = 100
"""Reading takes the square of it."""
PARTS_MAX: Final = 10
"""Each of them takes as long to draw as a picture."""


def check_prompt(option: str, text: str, steps: int) -> None:
    """Raise Refused for a prompt without tags that can't be drawn in so many steps."""
    if depth(text) > DEPTH_MAX:
        raise Refused("nested_too_deep", option=option, high=DEPTH_MAX)
    check_weights(option, text)
    parts = composed(text) if option in ("prompt", "hires_prompt") else [(text, 1.0)]
    if len(parts) > PARTS_MAX:
        raise Refused("parts_too_many", option=option, high=PARTS_MAX)
    for part, weight in parts:
        _check_weight(option, part, weight)
        # brackets around a change are no emphasis of what is said in it
        for said in dict.fromkeys(said for _, said in schedule(part, steps)):
            if said != text:
                check_weights(option, said)


def check_weights(option: str, text: str) -> None:
    """Raise Refused for a weight that overflows where it is drawn."""
    for piece, weight in attention(text):
        _check_weight(option, piece, weight)


def _check_weight(option: str, text: str, weight: float) -> None:
    if text.strip() and not abs(weight) <= WEIGHT_MAX:
        words = text.strip()[:50]
        raise Refused("weight_too_strong", option=option, words=words, high=WEIGHT_MAX)
