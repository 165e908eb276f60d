"""`python -m bot.pictures.decoder MEMORY`: decodes pictures, so that it can be ended while it does.

It reads tasks on standard input and answers on standard output; MEMORY is a bound in bytes.
"""

import contextlib
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from typing import BinaryIO, Final

from bot.pictures.decoder_messages import (
    LENGTH_BYTES,
    Answer,
    Board,
    DrawGrid,
    Hidden,
    Lighten,
    Made,
    Normalise,
    Refusal,
    Sheet,
    Task,
    Work,
    header,
    read_task,
)
from bot.pictures.grid_sheets import grid_sheet
from bot.pictures.hidden_texts import hidden
from bot.pictures.normalising import normalised
from bot.pictures.reductions import board, lightened, sheet
from generation.refusal import Refused

ADDRESSES: Final = 2**29
"""Bytes of addresses that the interpreter and its libraries take without using that memory."""


def serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    """Say that it is ready, then answer each task until the parent closes the pipe."""
    answers.write(header(Made(0)))
    answers.flush()
    while (start := tasks.read(LENGTH_BYTES)) and len(start) == LENGTH_BYTES:
        task = read_task(tasks.read(int.from_bytes(start, "little")))
        files = [tasks.read(size) for size in task.sizes]
        answer, content = _answer(task, files)
        answers.write(header(answer))
        answers.write(content)
        answers.flush()


def _answer(task: Task, files: Sequence[bytes]) -> tuple[Answer, bytes]:
    # a thread of C, which ends the process even while a decoder holds the interpreter's lock
    faulthandler.dump_traceback_later(task.seconds, exit=True)
    try:
        content = _made(task.work, files)
        return Made(len(content)), content
    except Refused as refused:
        return Refusal(refused.code, refused.params), b""
    except MemoryError:
        return Refusal("picture_too_much_memory"), b""
    except (OSError, ValueError):
        return Refusal("picture_unreadable"), b""
    finally:
        faulthandler.cancel_dump_traceback_later()


def _made(work: Work, files: Sequence[bytes]) -> bytes:
    match work:
        case Normalise():
            return normalised(files[0], work.bounds, work.part, still=work.still)
        case Lighten():
            return lightened(files[0], work.quality, work.scale)
        case Hidden():
            return hidden(files[0], work.pixels)
        case Sheet():
            return sheet(files, work.side)
        case DrawGrid():
            return grid_sheet(files, work.layout)
        case Board():
            return board(files, work.side)


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipe to the parent, kept from everything else: what a library prints goes to stderr."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(0, os.O_BINARY)
        msvcrt.setmode(1, os.O_BINARY)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return sys.stdin.buffer, answers


def _limit_memory(memory: int) -> None:
    """Have a picture that takes more end in a MemoryError, where the system can; the parent
    measures too."""
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(ValueError, OSError):  # macOS may not know this limit
        resource.setrlimit(resource.RLIMIT_AS, (memory + ADDRESSES, memory + ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    # Ctrl-C reaches every process of a terminal; the parent closes the pipe when it is time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(int(sys.argv[1]))
    with contextlib.suppress(BrokenPipeError):
        serve(*_claim_pipes())
