"""dynamicprompts, which draws."""

from collections.abc import Callable
from random import Random
from typing import Final

from dynamicprompts.enums import SamplingMethod
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.wildcards import WildcardManager
from dynamicprompts.wildcards.values import WildcardValues
from pyparsing import ParseBaseException

_ERRORS: Final = (ParseBaseException, ValueError, ArithmeticError, LookupError, StopIteration)
"""What it raises for texts that it can't read."""


class Unreadable(Exception):  # noqa: N818 - what it says of a text
    """The text is no template."""


class TooDeep(Exception):  # noqa: N818
    """What is drawn names itself, or nests without end."""


class _Lines(WildcardManager):
    def __init__(self, lines: Callable[[str], list[str]]) -> None:
        super().__init__()
        self._lines = lines

    def get_values(self, wildcard: str) -> WildcardValues:
        return WildcardValues.from_items(self._lines(wildcard))


def sample(text: str, random: Random, lines: Callable[[str], list[str]]) -> str:
    """The text with everything drawn; `lines` are what a wildcard can be, by its name."""
    context = SamplingContext(
        default_sampling_method=SamplingMethod.RANDOM, wildcard_manager=_Lines(lines), rand=random
    )
    try:
        return str(next(iter(context.sample_prompts(text, 1))))
    except RecursionError:
        raise TooDeep(text) from None
    except (*_ERRORS, RuntimeError) as error:
        raise Unreadable(text) from error
