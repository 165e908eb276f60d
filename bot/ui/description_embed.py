"""How a picture's description is shown: pure functions of what was seen and a language."""

from collections.abc import Iterator, Mapping
from typing import Final

from bot.locales import Texts
from bot.ui.formatting import cut, quoted
from generation.description import Description
from generation.request_parts import Describing

CAPTION_MAX: Final = 1500
TAGS_MAX: Final = 1800
"""Characters; the whole stands in the dialog of *Imagine this*."""
RATED_FROM: Final = 0.05
"""Probabilities of ratings below are not told."""
RATINGS: Final[Mapping[str, str]] = {
    "general": "rating_general",
    "sensitive": "rating_sensitive",
    "questionable": "rating_questionable",
    "explicit": "rating_explicit",
    "safe": "rating_safe",
}
"""Texts by the names that taggers have for them."""


def body(found: Description, texts: Texts) -> str:
    """The sentence, then the tags in a block to be copied."""
    pieces = [quoted(found.caption, CAPTION_MAX)] if found.caption else []
    tags = Description(tags=found.tags).prompt
    if tags:
        pieces.append(f"```\n{cut(tags.replace('```', 'ˋˋˋ'), TAGS_MAX)}\n```")
    return "\n".join(pieces) or texts("nothing_seen")


def fields(found: Description, asked: Describing, texts: Texts) -> Iterator[tuple[str, str]]:
    """Key and text of each field."""
    characters = [tag.words for tag in found.tags if tag.character]
    if characters:
        yield "field_characters", ", ".join(characters)
    ratings = sorted(found.ratings.items(), key=lambda rated: -rated[1])
    told = [(name, share) for name, share in ratings if share >= RATED_FROM]
    if told:
        yield "field_rating", ", ".join(f"{_rating(n, texts)} {round(s * 100)} %" for n, s in told)
    yield "field_size", f"{asked.width} × {asked.height}"
    if asked.tagger:
        yield "field_tagger", asked.tagger
    if asked.captioner:
        yield "field_captioner", asked.captioner


def _rating(name: str, texts: Texts) -> str:
    return texts(RATINGS[name]) if name in RATINGS else name
