"""The learned words (textual inversion) that a request's prompts hold, as the catalogue has them.

As in A1111 a word is called by its file's name, whatever its case, and holds wherever CLIP's
tokenizer finds that name: "bad-hands" in "bad-hands, fog", and not in "bad-handsome".
"""

import functools
import re
import unicodedata
from typing import Final

import msgspec

from generation import hires
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.models import ModelFile
from generation.refusal import Refused
from generation.request import GenerationRequest

PIECE: Final = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\w\s]|_)+")
"""What CLIP's tokenizer never joins: runs of letters, single digits, runs of other signs."""

TAKEN: Final = "\n\0\n"
"""In a text, what was a word that was learned; no piece of a text is so."""


def of(request: GenerationRequest, model: ModelFile, catalog: Catalog) -> tuple[ModelFile, ...]:
    """The embeddings that the prompts name and that are of the model's family, or may be.

    Each has the word that it is called by for its name; of two of one word the first holds.
    """
    candidates = [one for one in catalog.embeddings if one.may_be_of(model.family)]
    if not candidates:
        return ()
    texts = hires.drawn_texts_of(request)
    said = "\n".join(_pieces(text) for text in texts)
    by_word: dict[str, ModelFile] = {}
    for one in candidates:
        by_word.setdefault(_pieces_of_word(one.path.stem), one)
    found: list[ModelFile] = []
    # as where they are encoded, the longest first: within its name no other is meant
    for word in sorted(by_word, key=lambda word: -word.count("\n")):
        if word.strip() and word in said:
            one = by_word[word].made_for(model)
            found.append(msgspec.structs.replace(one, name=one.path.stem))
            while word in said:
                said = said.replace(word, TAKEN)
    return tuple(found)


def words_in(request: GenerationRequest, catalog: Catalog) -> frozenset[str]:
    """What the prompts hold of the words of all embeddings, of whatever family."""
    if not catalog.embeddings:
        return frozenset()
    said = "\n".join(_pieces(text) for text in hires.drawn_texts_of(request))
    words = (_pieces_of_word(one.path.stem) for one in catalog.embeddings)
    return frozenset(word for word in words if word in said)


def check(request: GenerationRequest, model: ModelFile, catalog: Catalog) -> None:
    """Refuse a prompt that names an embedding of another width than the model's words have."""
    if len(FAMILIES[model.family].encoders) > 1:
        return  # what its denoiser attends to is no word's width
    for one in of(request, model, catalog):
        if len({one.context_width, model.context_width} - {0}) > 1:
            raise Refused("embedding_mismatch", name=one.name)


def _pieces(text: str) -> str:
    """What may be a name's beginning or end, each between line breaks."""
    folded = unicodedata.normalize("NFC", text).lower()
    return "\n" + "\n".join(PIECE.findall(folded)) + "\n"


_pieces_of_word: Final = functools.lru_cache(maxsize=16_384)(_pieces)
