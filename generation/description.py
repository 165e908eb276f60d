"""What was seen in a picture: tags, how fit it is for whom, and a sentence."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from generation.request_fields import PROMPT_MAX
from generation.tag_lists import TAG_MAX

TAGS_MAX: Final = 400
"""Kept of a picture; low thresholds let hundreds through."""
CAPTION_MAX: Final = 2000
"""Characters."""
STEP: Final = 20
"""Probabilities are told apart in so many steps: within one, tags stand as the tagger has them."""
KAOMOJI: Final = frozenset(
    (
        *("0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3"),
        *("6_9", ">_o", "@_@", "^_^", "o_o", "u_u", "x_x", "|_|", "||_||"),
    )
)
"""Faces among Danbooru's tags, whose underscores are mouths."""


class SeenTag(msgspec.Struct, frozen=True, gc=False):
    """A tag that holds of a picture, as Danbooru writes it, and how probably."""

    name: Annotated[str, Meta(max_length=TAG_MAX)]
    probability: float
    character: bool = False
    """Whether it names somebody."""

    @property
    def words(self) -> str:
        """As people write it: with spaces, but for faces."""
        return self.name if self.name in KAOMOJI else self.name.replace("_", " ")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen."""

    tags: Annotated[tuple[SeenTag, ...], Meta(max_length=TAGS_MAX)] = ()
    """In the order in which a prompt names them."""
    ratings: dict[str, float] = {}
    """Probability of each by the tagger's name of it, such as general, sensitive, explicit."""
    caption: Annotated[str, Meta(max_length=CAPTION_MAX)] = ""
    unsafe: float | None = None
    """What the picture check found in the picture, from 0 to 1; None where nothing checked it."""

    @property
    def rating(self) -> str:
        """The likeliest; "" where nothing rated it."""
        return max(self.ratings, key=lambda name: self.ratings[name], default="")

    @property
    def prompt(self) -> str:
        """What asks for such a picture: the sentence, then the tags, as many as a prompt takes."""
        pieces = [escaped(self.caption.strip())] if self.caption.strip() else []
        length = len(pieces[0]) if pieces else 0
        for tag in self.tags:
            text = escaped(tag.words)
            length += len(text) + 2
            if length > PROMPT_MAX:
                break
            pieces.append(text)
        return ", ".join(pieces)


def escaped(text: str) -> str:
    """Text whose brackets are no emphasis in a prompt, as A1111's taggers write it."""
    for sign in "\\()[]":
        text = text.replace(sign, f"\\{sign}")
    return text


def in_order(tags: "list[SeenTag]") -> tuple[SeenTag, ...]:
    """Those who are named first, then the rest; each by how probable it is, in steps."""
    ranked = sorted(tags, key=lambda tag: (not tag.character, -round(tag.probability * STEP)))
    return tuple(ranked[:TAGS_MAX])
