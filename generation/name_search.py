"""Finding names: what fits while one types, what is nearest to one that is not there, short forms.

The work is bounded whatever is typed: a text is cut, and among many names a cheap measure (the
longest common subsequence) chooses those that the good one (rapidfuzz's WRatio) then ranks.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from rapidfuzz import fuzz, process
from rapidfuzz.distance import LCSseq

TYPED_MAX: Final = 100
"""Characters of a typed name that are looked at."""
RANKED_MAX: Final = 300
"""Names that are ranked by the good measure."""
FUZZY_MIN: Final = 3
"""Fewer characters are alike to everything."""
ALIKE: Final = 55
"""Of WRatio's 100, from which on a name is offered for one that was typed otherwise."""
CASES: Final = 4
"""So many names may differ in case only."""
KEPT: Final = 512
"""Answers kept; people delete what they typed as often as not."""
ID: Final = re.compile(r"(.*)… #([0-9a-f]{8})", re.DOTALL)


def fold(name: str) -> str:
    """A name as names are compared: whatever its case, and composed or not, as on a Mac."""
    return unicodedata.normalize("NFC", name).casefold()


def nearest(name: str, names: Iterable[str], limit: int = 1) -> list[str]:
    """The names most like this one, best first; as many as there are, at most `limit`."""
    return NameSearch(names).nearest(name, limit)


def choice_of(name: str, most: int) -> str:
    """A name as a choice that people take: short, and without spaces at its ends, which get lost.

    `is_short_of` finds it again.
    """
    return name if name == name.strip() != "" and len(name) <= most else _shortened(name, most)


def short_name(name: str, most: int) -> str:
    """A name in at most `most` characters; names alike at their beginning stay apart."""
    return name if len(name) <= most else _shortened(name, most)


def _shortened(name: str, most: int) -> str:
    ending = f"… #{_id_of(name)}"
    return f"{name.strip()[: most - len(ending)]}{ending}"


def is_short_of(short: str, name: str) -> bool:
    """Whether `short` was made of `name`, for whatever length."""
    written = ID.fullmatch(short.strip())
    return (
        written is not None
        and name.strip().startswith(written[1].strip())
        and _id_of(name) == written[2]
    )


class NameSearch:
    """Names prepared for many searches, in the order in which they are offered."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: Sequence[str] = tuple(names)
        self._folded = [fold(name) for name in self.names]
        self._answers: dict[tuple[str, int], list[str]] = {}

    def matching(self, typed: str, limit: int) -> list[str]:
        """All in order where nothing is typed; else those that hold it, then those most alike."""
        key = (fold(typed[:TYPED_MAX]).strip(), limit)
        if key not in self._answers:
            if len(self._answers) >= KEPT:
                self._answers.clear()
            self._answers[key] = self._matching(*key)
        return list(self._answers[key])

    def nearest(self, name: str, limit: int = 1) -> list[str]:
        """The names most like this one, best first; of two that differ in case the one meant."""
        ranked = self._ranked(fold(name[:TYPED_MAX]), limit + CASES, 0)
        ranked.sort(key=lambda one: (-one[0], -fuzz.ratio(name[:TYPED_MAX], self.names[one[1]])))
        return [self.names[place] for _, place in ranked[:limit]]

    def _matching(self, typed: str, limit: int) -> list[str]:
        if not typed:
            return list(self.names[:limit])
        inside = [place for place, folded in enumerate(self._folded) if typed in folded]
        inside.sort(key=lambda place: (not self._folded[place].startswith(typed), place))
        found = dict.fromkeys(inside[:limit])
        if len(found) < limit and len(typed) >= FUZZY_MIN:
            found |= dict.fromkeys(place for _, place in self._ranked(typed, limit, ALIKE))
        return [self.names[place] for place in found][:limit]

    def _ranked(self, typed: str, limit: int, cutoff: float) -> list[tuple[float, int]]:
        places: Sequence[int] = range(len(self._folded))
        if len(places) > RANKED_MAX:
            alike = process.extract(
                typed, self._folded, scorer=LCSseq.similarity, processor=None, limit=RANKED_MAX
            )
            places = [place for _, _, place in alike]
        chosen = {place: self._folded[place] for place in places}
        ranked = process.extract(
            typed, chosen, scorer=fuzz.WRatio, processor=None, limit=limit, score_cutoff=cutoff
        )
        return [(score, place) for _, score, place in ranked]


def _id_of(name: str) -> str:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=4).hexdigest()
