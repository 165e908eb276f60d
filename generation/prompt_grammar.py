"""A1111's prompt language: what a prompt says, how strongly, and which LoRAs it names.

`(fog)` counts 1.1 times, `[fog]` 1 / 1.1 times, `(fog:1.3)` 1.3 times; brackets nest, one that is
never closed holds to the end, one that was never opened is text, and behind a backslash each of
them is text. `<lora:NAME:WEIGHT>` adds a LoRA and is no text.

Written by hand: as brackets need not be closed, and round and square ones may cross, no grammar
rule describes them. Reading takes time in proportion to the length, and no recursion.
Source: A1111's wiki, "Attention/emphasis" and "Extra networks".
"""

import re
from typing import Final

import msgspec

from generation.refusal import Refused

STRONGER: Final = 1.1
"""What a pair of round brackets multiplies by; square ones divide."""
WEIGHT_MAX: Final = 100.0
"""Far beyond what draws anything; much more overflows in half precision."""

OTHER_NETWORKS: Final = {"lyco": "tag_lyco", "hypernet": "tag_hypernet"}
"""A1111's tags that nothing here reads, and what is said of them."""

# possessive repeats, so that none is tried again when what follows does not fit
_PIECE: Final = re.compile(
    r"""
      \\ (?P<escaped> [\\()\[\]]? )    # before any other sign the backslash alone is left out
    | (?P<open> [(\[] )
    | : \s*+ (?P<weight> [+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++) ) \s*+ \)
    | (?P<close> [)\]] )
    | [^\\()\[\]:]++ | :
    """,
    re.VERBOSE,
)
_TAG: Final = re.compile(
    r"[ ]?<(?P<kind>lora|lyco|hypernet)[ ]*+:(?P<body>(?:\\[\\:<>]|[^<>])*+)(?P<end>>?)",
    re.IGNORECASE,
)
_SPECIAL: Final = re.compile(r"([\\:<>])")
_ESCAPED: Final = re.compile(r"\\([\\:<>])")
_TAG_PART: Final = re.compile(r"(?:\\[\\:<>]|[^:])*+")


class Weighted(msgspec.Struct, frozen=True):
    """A piece of a prompt and how strongly it counts; 1 is as it stands."""

    text: str
    weight: float


class Tag(msgspec.Struct, frozen=True):
    """`<lora:PART:PART…>` as it was written: the name first, then weights."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"<lora:{':'.join(self.parts)}>"


def weighted(prompt: str) -> list[Weighted]:
    """The pieces of a prompt in order, neighbours of one weight joined; one at least."""
    pieces, factors = _pieces(prompt)
    runs: list[tuple[float, list[str]]] = []
    products = [1.0]
    """Of the round brackets that are open."""
    squares = 0
    for piece in pieces:
        if isinstance(piece, _Bracket):
            if piece.square:
                squares += 1 if piece.opens else -1
            elif piece.opens:
                products.append(products[-1] * factors[piece.number])
            else:
                products.pop()
            continue
        weight = products[-1] * STRONGER**-squares
        if not runs or runs[-1][0] != weight:
            runs.append((weight, []))
        runs[-1][1].append(piece)
    return [Weighted("".join(texts), weight) for weight, texts in runs] or [Weighted("", 1.0)]


def plain_text(prompt: str) -> str:
    """What the text encoder reads, whatever its weights: `nu()de`, too, is one word there."""
    return "".join(piece.text for piece in weighted(prompt))


def check_weights(option: str, prompt: str) -> None:
    """Raise Refused for a weight that overflows where it is drawn."""
    for piece in weighted(prompt):
        if piece.text.strip() and not abs(piece.weight) <= WEIGHT_MAX:
            words = piece.text.strip()[:50]
            raise Refused("weight_too_strong", option=option, words=words, high=WEIGHT_MAX)


def take_tags(prompt: str) -> tuple[str, list[Tag]]:
    """The prompt without its tags, and these. Raises Refused for tags that nothing here reads."""
    tags: list[Tag] = []
    for match in _TAG.finditer(prompt):
        kind = match["kind"].casefold()
        if not match["end"]:
            raise Refused("tag_open", tag=match[0].strip()[:80])
        if kind in OTHER_NETWORKS:
            raise Refused(OTHER_NETWORKS[kind], tag=match[0].strip()[:80])
        tags.append(Tag(_parts(match["body"])))
    return _TAG.sub("", prompt), tags


def tag_spans(text: str) -> list[tuple[int, int]]:
    """Where the tags of a text begin and end."""
    return [match.span() for match in _TAG.finditer(text)]


def written_tag(name: str, weight: str) -> str:
    """The tag of a LoRA. A name's own colons and brackets stand behind a backslash."""
    escaped = _SPECIAL.sub(r"\\\1", name)
    return f"<lora:{escaped}:{weight}>"


class _Bracket(msgspec.Struct, frozen=True):
    number: int
    square: bool
    opens: bool


def _pieces(prompt: str) -> tuple[list[str | _Bracket], dict[int, float]]:
    """Texts and brackets in order, and the factor of each round bracket by its number."""
    pieces: list[str | _Bracket] = []
    factors: dict[int, float] = {}
    opened: dict[bool, list[int]] = {False: [], True: []}
    """Numbers of the brackets that are open, by whether they are square."""
    for number, match in enumerate(_PIECE.finditer(prompt)):
        weight = match["weight"]
        square = (match["open"] or match["close"]) in ("[", "]")
        if match["open"]:
            opened[square].append(number)
            factors[number] = STRONGER
            pieces.append(_Bracket(number, square, opens=True))
        elif (match["close"] or weight is not None) and opened[square]:
            begin = opened[square].pop()
            if weight is not None:
                factors[begin] = float(weight)
            pieces.append(_Bracket(begin, square, opens=False))
        else:
            escaped = match["escaped"]
            pieces.append(match[0] if escaped is None else escaped)
    return pieces, factors


def _parts(body: str) -> tuple[str, ...]:
    parts: list[str] = []
    at = 0
    while at <= len(body):
        match = _TAG_PART.match(body, at)
        assert match is not None  # it matches nothing, too
        parts.append(_ESCAPED.sub(r"\1", match[0]))
        at = match.end() + 1
    return tuple(parts)
