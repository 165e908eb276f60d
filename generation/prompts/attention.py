"""How strongly the words of a prompt count.

`(fog)` counts 1.1 times, `[fog]` 1 / 1.1 times, `(fog:1.3)` 1.3 times, without spaces around the
number. Brackets nest; one that is never closed holds to the end, one that was never opened is text,
and behind a backslash each of them is text. Round and square ones are matched apart from each
other, so they may cross. BREAK, alone among words, begins a new chunk.
Source: A1111's wiki, "Attention/emphasis", and what its parser answers (tests/data).
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Final

import msgspec

STRONGER: Final = 1.1
WEAKER: Final = 1 / 1.1
BREAK: Final = ("BREAK", -1)
"""The mark of a new chunk. As in A1111, a bracket around it makes it the word BREAK, for brackets
multiply its weight as any other's.
"""

# possessive repeats, so that none is tried again when what follows does not fit
_PIECE: Final = re.compile(
    r"""
      \\ (?P<escaped> [\\()\[\]]? )    # before any other sign the backslash alone is left out
    | (?P<open> [(\[] )
    | : (?P<weight> [+-]?(?:\d++(?:\.\d*+)?|\.\d++) ) \)
    | (?P<close> [)\]] )
    | [^\\()\[\]:]++ | :
    """,
    re.VERBOSE,
)
_SPACED: Final = re.compile(r"[^\s()\[\]:\\]*+:(?=\s|[^\s)]{1,20}+\s)\s*+[+-]?[.\d]++\s*+\)")
_BREAK: Final = re.compile(r"\s*+\bBREAK\b\s*+")


class _Bracket(msgspec.Struct, frozen=True):
    """One that counts; `factor` is None where it opens."""

    kind: str
    factor: float | None = None


def attention(text: str) -> list[tuple[str, float]]:
    """The pieces of a text in order, neighbours of one weight joined; one at least.

    Weights are A1111's to the last bit: brackets multiply in the order in which they are closed,
    those that never are at the end, round ones first.
    """
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    """How many pieces stood before each bracket that is open."""

    def multiply(begin: int, factor: float) -> None:
        weights[begin:] = [weight * factor for weight in weights[begin:]]

    for piece in _pieces(text):
        if not isinstance(piece, _Bracket):
            texts.append(piece[0])
            weights.append(piece[1])
        elif piece.factor is None:
            opened[piece.kind].append(len(texts))
        else:
            multiply(opened[piece.kind].pop(), piece.factor)
    for kind, factor in (("(", STRONGER), ("[", WEAKER)):
        for begin in opened[kind]:
            multiply(begin, factor)
    return _joined(texts, weights) or [("", 1.0)]


def comfyui_attention(text: str) -> list[tuple[str, float]]:
    """The pieces of a text as ComfyUI reads it: round brackets alone count, a weight in them holds
    whatever stands around them, and there is no BREAK.
    """
    # what is escaped stands for itself, until all brackets are read
    hidden = text.replace(r"\)", "\0\1").replace(r"\(", "\0\2")
    found: list[tuple[str, float]] = []
    left = [(hidden, 1.0)]
    while left:
        said, weight = left.pop()
        inner: list[tuple[str, float | None]] = []
        for piece in _outer_brackets(said):
            if len(piece) < 2 or (piece[0], piece[-1]) != ("(", ")"):
                inner.append((piece, None))
                continue
            words, strength = piece[1:-1], weight * STRONGER
            before, _, number = words.rpartition(":")
            if before:
                with contextlib.suppress(ValueError):
                    strength = float(number)
                    words = before
            inner.append((words, strength))
        if len(inner) == 1 and inner[0][1] is None:
            shown = said.replace("\0\1", ")").replace("\0\2", "(")
            found.append((shown, weight))
        else:
            left += [(words, weight if own is None else own) for words, own in reversed(inner)]
    return found


def _outer_brackets(text: str) -> list[str]:
    """The text's pieces, each outermost pair of round brackets one of its own."""
    pieces, piece, level = [], "", 0
    for sign in text:
        if sign == "(" and level == 0 and piece:
            pieces.append(piece)
            piece = ""
        piece += sign
        level += (sign == "(") - (sign == ")")
        if sign == ")" and level == 0:
            pieces.append(piece)
            piece = ""
    return [*pieces, piece] if piece else pieces


def plain_text(text: str) -> str:
    """What the text encoder reads, whatever its weights: `nu()de`, too, is one word there."""
    read = (piece for piece in _pieces(text) if not isinstance(piece, _Bracket))
    return "".join(" " if piece == BREAK else piece[0] for piece in read)


def spaced_weights(text: str) -> list[str]:
    """What looks like a weight and is text for a space beside its number: `fog: 1.2)`."""
    return list(dict.fromkeys(match[0] for match in _SPACED.finditer(text))) if "(" in text else []


def depth(text: str) -> int:
    """How many brackets stand in one another, at most."""
    now = deepest = 0
    for piece in _pieces(text):
        if isinstance(piece, _Bracket):
            now += 1 if piece.factor is None else -1
            deepest = max(deepest, now)
    return deepest


def _pieces(text: str) -> Iterator[tuple[str, float] | _Bracket]:
    """Texts with their weight before any bracket's, and the brackets that are none."""
    opened = {"(": 0, "[": 0}
    for match in _PIECE.finditer(text):
        escaped, weight, close = match["escaped"], match["weight"], match["close"]
        kind = match["open"] or ("[" if close == "]" else "(")
        if match["open"]:
            opened[kind] += 1
            yield _Bracket(kind)
        elif (close or weight is not None) and opened[kind]:
            opened[kind] -= 1
            plain = STRONGER if kind == "(" else WEAKER
            yield _Bracket(kind, plain if weight is None else float(weight))
        elif escaped is not None:
            yield escaped, 1.0
        else:
            for number, part in enumerate(_BREAK.split(match[0])):
                if number:
                    yield BREAK
                yield part, 1.0


def _joined(texts: list[str], weights: list[float]) -> list[tuple[str, float]]:
    runs: list[tuple[list[str], float]] = []
    for text, weight in zip(texts, weights, strict=True):
        if not runs or runs[-1][1] != weight:
            runs.append(([], weight))
        runs[-1][0].append(text)
    return [("".join(run), weight) for run, weight in runs]
