"""What a check of doctor found."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from bot.config import Config
from generation.regular_files import printable

GIB: Final = 2**30


@dataclass(frozen=True)
class Finding:
    """What a check found. `mend` says what to do; without it all is well."""

    check: str
    found: str
    mend: str = ""
    fatal: bool = True
    """Whether the bot can't work so; else it is worth knowing."""

    def __str__(self) -> str:
        mark = "ok  " if not self.mend else "FAIL" if self.fatal else "note"
        line = f"{mark}  {self.check:<13} {self.found}"
        return f"{line}\n      {'':<13} -> {self.mend}" if self.mend else line


Check = Callable[[Config], AsyncIterator[Finding]]


def quoted(name: str) -> str:
    """A name of the settings, as a line can hold it."""
    return f'"{printable(name)[:80]}"'
