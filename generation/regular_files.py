"""Reading files that somebody else put there: regular ones only, and no more than asked for."""

import os
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO, Final

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a pipe put in a file's place since then opens at once
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_DIRECTION: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Signs that turn the text after them around, and so can show another ending than the file's."""


class NotRegularError(OSError):
    """A pipe, a socket, a device or a folder where a file is expected."""

    def __init__(self, path: Path) -> None:
        super().__init__("it is no regular file", os.fspath(path))
        self.strerror = "it is no regular file"


class TooLargeError(OSError):
    """A file of more bytes than such a file ever has."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(f"it is larger than {most} bytes", os.fspath(path))
        self.strerror = f"it is larger than {most} bytes"


def is_regular(path: Path) -> bool:
    """Whether there is a regular file behind the path, links followed; never opens it."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def open_regular(path: Path) -> BinaryIO:
    """Open for reading. Raises NotRegularError or OSError, and waits for nobody to write."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotRegularError(path)
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(path)
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """The whole content. Raises TooLargeError above `most` bytes, NotRegularError or OSError."""
    with open_regular(path) as file:
        content = read_up_to(file, most + 1)
    if len(content) > most:
        raise TooLargeError(path, most)
    return content


def read_up_to(file: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, fewer where the file ends before."""
    parts: list[bytes] = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_text(name: str) -> bool:
    """Whether a file's name is valid text; one from an archive of another encoding is not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    r"""A name as it can be shown and stored anywhere: what is no visible text becomes `\x..`."""
    if name.isascii() and name.isprintable():
        return name
    if not is_text(name):
        name = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(_escaped(sign) for sign in name)


def _escaped(sign: str) -> str:
    if sign in _DIRECTION or unicodedata.category(sign) in ("Cc", "Zl", "Zp", "Cs"):
        return sign.encode("unicode_escape").decode()
    return sign
