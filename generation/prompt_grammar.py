"""The pieces of a prompt for the runtime's encoder, which knows no BREAK."""

import msgspec

from generation.prompts.attention import BREAK, attention


class Weighted(msgspec.Struct, frozen=True):
    """A piece of a prompt and how strongly it counts; 1 is as it stands."""

    text: str
    weight: float


def weighted(prompt: str) -> list[Weighted]:
    """The pieces of a prompt in order; one at least."""
    pieces = [piece for piece in attention(prompt) if piece != BREAK]
    return [Weighted(*piece) for piece in pieces] or [Weighted("", 1.0)]
