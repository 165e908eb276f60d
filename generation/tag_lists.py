"""The tags that a tagger knows, as its maker wrote them beside it: CSV, JSON or lines of text."""

import csv
import io
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from generation.regular_files import TooLargeError, read_regular

FILE_MAX: Final = 16 * 2**20
"""Bytes; the longest list that is published has some two million."""
TAGS_MAX: Final = 200_000
TAG_MAX: Final = 300
"""Characters."""
RATING_LINE: Final = "rating:"
"""How DeepDanbooru's ratings begin among its other tags."""


class TagKind(StrEnum):
    """What a tag says something about, as Danbooru sorts them."""

    GENERAL = "general"
    CHARACTER = "character"
    RATING = "rating"
    OTHER = "other"
    """Artist, copyright, meta, quality: nothing that can be seen."""


NUMBERS: Final = {"0": TagKind.GENERAL, "4": TagKind.CHARACTER, "9": TagKind.RATING}
"""Danbooru's categories; 9 is SmilingWolf's."""


class PictureTag(msgspec.Struct, frozen=True, gc=False):
    """One of them."""

    name: str
    """As Danbooru writes it, with underscores."""
    kind: TagKind


class TagListError(ValueError):
    """The file is no list of tags; the message says why, as the end of a sentence."""


def read_tags(file: Path) -> tuple[PictureTag, ...]:
    """The tags in the order of a network's numbers. Raises TagListError, or OSError."""
    try:
        text = read_regular(file, FILE_MAX).decode("utf-8-sig")
    except TooLargeError:
        raise TagListError("it is larger than any list of tags") from None
    except UnicodeDecodeError:
        raise TagListError("it is no text in UTF-8") from None
    ending = file.suffix.lower()
    reader = {".csv": _of_csv, ".json": _of_json}.get(ending, _of_lines)
    tags = reader(text)
    if not tags:
        raise TagListError("no tags are in it")
    if len(tags) > TAGS_MAX:
        raise TagListError(f"it has over {TAGS_MAX} lines")
    return tuple(tags)


def _tag(name: str, kind: TagKind) -> PictureTag:
    name = name.strip()
    if len(name) > TAG_MAX or not name.isprintable():
        raise TagListError("one of its tags is no word")
    return PictureTag(name, kind)


def _of_csv(text: str) -> list[PictureTag]:
    """Columns `name` and `category`, in whatever order, beside others."""
    try:
        rows = csv.DictReader(io.StringIO(text))
        columns = rows.fieldnames or []
        if "name" not in columns or "category" not in columns:
            raise TagListError("it has no columns name and category")
        return [
            _tag(row["name"] or "", NUMBERS.get((row["category"] or "").strip(), TagKind.OTHER))
            for row, _ in zip(rows, range(TAGS_MAX + 1), strict=False)
        ]
    except csv.Error as error:
        raise TagListError("it is no CSV file") from error


def _of_lines(text: str) -> list[PictureTag]:
    """One a line; DeepDanbooru's ratings stand among them."""
    return [
        _tag(line.removeprefix(RATING_LINE), TagKind.RATING)
        if line.startswith(RATING_LINE)
        else _tag(line, TagKind.GENERAL)
        for line in text.splitlines()[: TAGS_MAX + 1]
        if line.strip()
    ]


def _of_json(text: str) -> list[PictureTag]:
    """{"0": {"tag": …, "category": …}, …}, or by idx_to_tag and tag_to_category."""
    try:
        said: Any = msgspec.json.decode(text)
        if "idx_to_tag" in said:
            kinds = said.get("tag_to_category", {})
            said = {
                place: {"tag": name, "category": kinds.get(name, "General")}
                for place, name in said["idx_to_tag"].items()
            }
        by_place = {int(place): (row["tag"], row["category"]) for place, row in said.items()}
        if sorted(by_place) != list(range(len(by_place))):
            raise TagListError("some of its tags are missing")
        return [_tag(str(name), _kind(str(kind))) for _, (name, kind) in sorted(by_place.items())]
    except TagListError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TagListError("it is no JSON of tags by their numbers") from error
    except RecursionError as error:
        raise TagListError("it is no JSON of tags by their numbers") from error


def _kind(written: str) -> TagKind:
    try:
        return TagKind(written.lower())
    except ValueError:
        return TagKind.OTHER
