"""What is said to somebody whose request cannot be done."""

from collections.abc import Iterable

from generation.name_search import fold, nearest


class Refused(Exception):  # noqa: N818 - it is no error of ours, and reads better so
    """A request that is refused, with what to change.

    `code` names a sentence in `bot/locales/`; `params` are what the sentence names. No sentence is
    written here, for people read them in their own language.
    """

    def __init__(self, code: str, **params: str | int | float) -> None:
        super().__init__(code, params)
        self.code = code
        self.params = params

    def __str__(self) -> str:
        return f"{self.code} {self.params}" if self.params else self.code


def known(name: str, names: Iterable[str], code: str) -> str:
    """The one of that name, whatever its case. Raises Refused with the nearest."""
    choices = list(names)
    for candidate in choices:
        if fold(candidate) == fold(name):
            return candidate
    raise Refused(code, name=name[:80], nearest=", ".join(nearest(name, choices, 3)))
