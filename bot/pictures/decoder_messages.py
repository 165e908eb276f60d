"""What goes through the pipe between the bot and the process that decodes pictures.

Each way a frame: the length of a header, the header as msgpack, and then the files that it counts.
"""

from typing import Final

import msgspec

from bot.pictures.normalising import Bounds, PartOfFile
from generation.grids import GridLayout

LENGTH_BYTES: Final = 4
HEADER_MAX: Final = 2**16
FILE_MAX: Final = 2**30


class Normalise(msgspec.Struct, frozen=True, tag=True):
    """Of one file of any kind: a plain PNG of what is wanted of it, empty where it has none."""

    bounds: Bounds
    part: PartOfFile = "picture"
    still: bool = False
    """Whether one that moves is refused."""


class Lighten(msgspec.Struct, frozen=True, tag=True):
    """Of one picture of ours: a WebP."""

    quality: int
    scale: float


class Sheet(msgspec.Struct, frozen=True, tag=True):
    """Of one to four pictures of ours: one small WebP."""

    side: int


class DrawGrid(msgspec.Struct, frozen=True, tag=True):
    """Of pictures of ours: a grid of them as one WebP."""

    layout: GridLayout


class Hidden(msgspec.Struct, frozen=True, tag=True):
    """Of one PNG of at most so many pixels: the text that is hidden in it, empty where none is."""

    pixels: int


class Board(msgspec.Struct, frozen=True, tag=True):
    """Of one to four pictures of ours: one WebP that shows each whole."""

    side: int


Work = Normalise | Lighten | Sheet | Hidden | DrawGrid | Board


class Task(msgspec.Struct, frozen=True):
    """What is to be done with the files that follow, of these sizes in bytes.

    The process ends itself when it is not done after `seconds`: also when nobody is left who could
    end it.
    """

    work: Work
    sizes: tuple[int, ...]
    seconds: float


class Made(msgspec.Struct, frozen=True, tag=True):
    """A file of `size` bytes follows."""

    size: int


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Why there is none: what becomes a Refused."""

    code: str
    params: dict[str, str | int | float] = {}


Answer = Made | Refusal


def header(message: Task | Answer) -> bytes:
    """A header as it goes into the pipe, its length before it."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def read_task(body: bytes) -> Task:
    """The header of a task. Raises msgspec.MsgspecError."""
    return _TASK.decode(body)


def read_answer(body: bytes) -> Answer:
    """The header of an answer. Raises msgspec.MsgspecError."""
    return _ANSWER.decode(body)


_TASK = msgspec.msgpack.Decoder(Task)
_ANSWER: "msgspec.msgpack.Decoder[Answer]" = msgspec.msgpack.Decoder(Answer)
