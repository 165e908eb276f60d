"""`python -m bot prompt`: how a prompt is read, without any model."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from bot.config import Config
from bot.locales import Texts
from generation.prompts import attention, composed, schedule, spaced_weights, take_tags, wildcards
from generation.prompts.attention import BREAK
from generation.refusal import Refused
from generation.regular_files import printable
from generation.request_options import exact, options

LOCALE: Final = "en-US"
STEPS: Final = 20
STRONG, WEAK, AGAINST, PLAIN = "bold yellow", "cyan", "red", ""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The prompt, and what it is read for."""
    parser.add_argument("prompt", nargs="?", help="the prompt, in quotes")
    parser.add_argument(
        "--steps", type=_steps, default=STEPS, metavar="N", help="of the picture (%(default)s)"
    )
    parser.add_argument(
        "--hires-steps", type=_steps, metavar="N", help="of a second pass, if there is one"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="draws what braces leave open (%(default)s)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='one line: {"attention": [[text, weight], …], "schedule": [[until_step, text], …]}',
    )
    parser.add_argument(
        "--stdin",
        action="store_true",
        help="read lines, each a JSON string, and print such a line for each",
    )


def prompt(config: Config, arguments: argparse.Namespace) -> int:
    """Print how the prompt is read; returns the exit status."""
    if arguments.stdin:
        return _lines(sys.stdin.buffer.read().splitlines(), arguments.steps)
    if arguments.prompt is None:
        sys.stderr.write('Write the prompt in quotes: darkroom prompt "a (red:1.2) lighthouse".\n')
        return 2
    if arguments.json:
        _write(as_json(arguments.prompt, arguments.steps))
        return 0
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    try:
        text = _drawn(arguments.prompt, arguments.seed, config.wildcards.folder, console)
        _show(text, arguments.steps, arguments.hires_steps, console)
    except Refused as refused:
        console.print(Texts(LOCALE)(refused.code, **refused.params), style="red")
        return 1
    return 0


def as_json(text: str, steps: int) -> dict[str, Any]:
    """The text as it stands, read for weights and read for steps."""
    return {"attention": attention(text), "schedule": schedule(text, steps)}


def _steps(text: str) -> int:
    steps = int(text)
    bounds = options()["steps"]
    if not (bounds.low or 0) <= steps <= (bounds.high or 0):
        raise argparse.ArgumentTypeError(f"it must be from {bounds.low} to {bounds.high}")
    return steps


def _lines(lines: Iterable[bytes], steps: int) -> int:
    status = 0
    for number, line in enumerate(lines, 1):
        try:
            text = json.loads(line)
            if not isinstance(text, str):
                raise ValueError
        except ValueError:
            # a line for each line, whatever it was
            _write({"error": f"line {number} is no JSON string"})
            status = 1
            continue
        _write(as_json(text, steps))
    return status


def _write(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")


def _drawn(text: str, seed: int, folder: Path, console: Console) -> str:
    if not wildcards.is_template(text):
        return text
    text = wildcards.draw("prompt", text, seed, folder)
    console.print(Text.assemble((f"drawn with seed {seed}: ", "green"), printable(text)))
    return text


def _show(prompt: str, steps: int, hires_steps: int | None, console: Console) -> None:
    text, tags = take_tags(prompt)
    for tag in tags:
        console.print(Text.assemble(("LoRA ", "magenta"), printable(str(tag))))
    parts = composed(text)
    for spaced in spaced_weights(text):
        console.print(Text(f"text, for a space beside its number: {printable(spaced)}", "red"))
    for number, (part, weight) in enumerate(parts, 1):
        if len(parts) > 1:
            console.print(Text(f"Part {number} of {len(parts)}, × {exact(weight)}", "bold"))
        _show_steps(schedule(part, steps, hires_follows=hires_steps is not None), console)
        if hires_steps is not None:
            console.print(Text("Second pass", "bold"))
            _show_steps(schedule(part, steps, hires_steps), console)


def _show_steps(entries: list[tuple[int, str]], console: Console) -> None:
    """Each text once, behind its steps, unless it is one for all."""
    when: dict[str, list[tuple[int, int]]] = {}
    before = 0
    for until, text in entries:
        if until > before:
            spans = when.setdefault(text, [])
            if spans and spans[-1][1] == before:
                spans[-1] = (spans[-1][0], until)
            else:
                spans.append((before + 1, until))
            before = until
    for text, spans in when.items():
        line = weighted_text(text)
        if len(when) > 1:
            steps = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
            line = Text.assemble((f"steps {steps}: ", "green"), line)
        console.print(line)


def weighted_text(text: str) -> Text:
    """The pieces in colours, each weight behind its piece."""
    found = Text()
    for piece, weight in attention(text):
        if (piece, weight) == BREAK:
            found.append("\nBREAK\n", "dim")
            continue
        style = PLAIN if weight == 1 else STRONG if weight > 1 else WEAK if weight >= 0 else AGAINST
        found.append("\n".join(map(printable, piece.split("\n"))), style)
        if weight != 1 and piece.strip():
            found.append(f" ×{weight:.3g}", f"dim {style}")
    return found
