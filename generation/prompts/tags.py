"""The tags of a prompt that load files and are no text: `<lora:NAME:WEIGHT>`.

As in A1111: `<lora:NAME:TE:UNET>` weighs text encoder and denoiser apart, `te=`, `unet=` and `dyn=`
name a value, and `<lyco:…>` is a LoRA too. Other than there, a name's own colons and brackets can
stand behind a backslash, and `<word:…>` of any other word is text.
Source: A1111's wiki, "Extra networks".
"""

import re
from typing import Final

import msgspec

from generation.refusal import Refused

_TAG: Final = re.compile(
    r"[ ]?<(?P<kind>lora|lyco|hypernet)[ ]*+:(?P<body>(?:\\[\\:<>]|[^<>])*+)(?P<end>>?)",
    re.IGNORECASE,
)
_SPECIAL: Final = re.compile(r"([\\:<>])")
_ESCAPED: Final = re.compile(r"\\([\\:<>])")
_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)
_TAG_PART: Final = re.compile(r"(?:\\[\\:<>]|[^:])*+")


class Tag(msgspec.Struct, frozen=True):
    """`<lora:PART:PART…>` as it was written: the name first, then weights."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"<lora:{':'.join(self.parts)}>"


def take_tags(prompt: str) -> tuple[str, list[Tag]]:
    """The prompt without its tags, and these.

    Raises Refused for tags that nothing here reads, and for those among what is drawn.
    """
    tags: list[Tag] = []
    text = _TAG.sub("", prompt)
    drawn = _braces(text)
    removed = 0
    for match in _TAG.finditer(prompt):
        at = match.start() - removed
        removed += len(match[0])
        if any(begin < at <= end for begin, end in drawn):
            raise Refused("tag_drawn", tag=match[0].strip()[:80])
        if not match["end"]:
            raise Refused("tag_open", tag=match[0].strip()[:80])
        if match["kind"].casefold() == "hypernet":
            raise Refused("tag_hypernet", tag=match[0].strip()[:80])
        tags.append(Tag(_parts(match["body"])))
    return text, tags


def tag_spans(text: str) -> list[tuple[int, int]]:
    """Where the tags of a text begin and end."""
    return [match.span() for match in _TAG.finditer(text)]


def written_tag(name: str, *weights: str) -> str:
    """The tag of a LoRA. A name's own colons and brackets stand behind a backslash."""
    escaped = _SPECIAL.sub(r"\\\1", name)
    return f"<lora:{':'.join((escaped, *weights))}>"


def _braces(text: str) -> list[tuple[int, int]]:
    """Where the outermost braces that have a partner begin and end."""
    found: list[tuple[int, int]] = []
    opened: list[int] = []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            begin = opened.pop()
            while found and found[-1][0] > begin:
                found.pop()
            found.append((begin, match.start()))
    return found


def _parts(body: str) -> tuple[str, ...]:
    parts: list[str] = []
    at = 0
    while at <= len(body):
        match = _TAG_PART.match(body, at)
        assert match is not None  # it matches nothing, too
        parts.append(_ESCAPED.sub(r"\1", match[0]))
        at = match.end() + 1
    return tuple(parts)
