"""What hostile prompts cost: `python -m benchmarks.prompts`.

Each is read at one length and at eight times that; where time goes with the length, the ratio of
the two is about eight, and where it goes with its square, sixty-four. The first rows are the
baseline: as many characters of plain words. Times are of the processor, the best of some rounds.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.table import Table

from generation.metadata import read_infotext
from generation.prompt_flags import parse
from generation.prompts import attention, check_prompt, schedule
from generation.refusal import Refused

LENGTH: Final = 2_000
TIMES: Final = 8
ROUNDS: Final = 20

HOSTILE: Final[dict[str, str]] = {
    "words": "a lighthouse at dusk, ",
    "brackets": "[(",
    "closing brackets": "](",
    "weights": "(a:1.1)",
    "colons": ":1 ",
    "turns": "[a|b",
    "whole turns": "[a|b]",
    "changes": "[a:b:",
    "whole changes": "[a:b:1]",
    "changes in doubt": "[a:b:1]](",
    "backslashes": "\\",
    "tags without an end": "<lora:",
    "flags": " --seed 1",
    "quotes behind flags": ' --no "',
    "parameters": "Steps: 1, ",
    "quotes in parameters": 'Steps: 1, a: "',
}
READERS: Final[dict[str, Callable[[str], object]]] = {
    "weights": attention,
    "steps": lambda text: schedule(text, 150),
    "checks": lambda text: check_prompt("prompt", text, 150),
    "flags": parse,
    "generation data": read_infotext,
}


def main() -> None:
    """Print the table."""
    table = Table("prompt", "reader", f"{LENGTH} characters", f"{LENGTH * TIMES}", "ratio")
    for name, piece in HOSTILE.items():
        for reader, read in READERS.items():
            short, long = (_seconds(read, piece, LENGTH * times) for times in (1, TIMES))
            ratio = f"{long / short:.1f}"
            table.add_row(name, reader, f"{short * 1e3:.2f} ms", f"{long * 1e3:.2f} ms", ratio)
    Console(width=100).print(table)


def _seconds(read: Callable[[str], object], piece: str, length: int) -> float:
    """The shortest of some rounds."""
    text = (piece * (length // len(piece) + 1))[:length]
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        with contextlib.suppress(Refused):
            read(text)
        found.append(time.process_time() - began)
    return min(found)


if __name__ == "__main__":
    main()
