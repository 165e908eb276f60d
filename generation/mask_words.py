"""Masks by words: what of a picture is drawn anew is found in it by a segmenter."""

import re
from collections.abc import Mapping
from typing import Any, Final

from generation.catalog import Catalog
from generation.models import ModelFile, ModelKind
from generation.name_search import fold
from generation.refusal import Refused
from generation.request import GenerationRequest

PHRASES_MAX: Final = 10
"""Each is looked for on its own."""
_BETWEEN: Final = re.compile(r"[,;\n，、；]")


def phrases(words: str) -> tuple[str, ...]:
    """What is looked for, one after the other, each once."""
    parts = (" ".join(part.split()) for part in _BETWEEN.split(words))
    return tuple(dict.fromkeys(filter(None, parts)))


def named(values: Mapping[str, Any], catalog: Catalog) -> dict[str, str | None]:
    """What finds the words of a request, as the catalogue calls it. Raises Refused."""
    if values.get("mask_words") is None:
        return {"mask_model": None} if values.get("mask_model") is not None else {}
    check(str(values["mask_words"]))
    return {"mask_model": segmenter(str(values.get("mask_model") or ""), catalog).name}


def check(words: str) -> None:
    """Refuse words of which there are none, or too many."""
    found = phrases(words)
    if not any(character.isalnum() for phrase in found for character in phrase):
        raise Refused("mask_words_empty")
    if len(found) > PHRASES_MAX:
        raise Refused("mask_words_many", count=len(found), high=PHRASES_MAX)


def of(request: GenerationRequest, catalog: Catalog) -> ModelFile | None:
    """The file that finds what a request has drawn anew; None where it has no words for it. Raises
    Refused where that is missing.
    """
    if request.mask_words is None:
        return None
    check(request.mask_words)
    return segmenter(request.mask_model or "", catalog)


def segmenter(name: str, catalog: Catalog) -> ModelFile:
    """The segmenter of that name, or where there is no name the first. Raises Refused."""
    found = catalog.segmenters
    if fold(name) in ("", "auto") and found:
        return found[0]
    if not found and catalog.scanned:
        raise Refused("segmenter_missing")
    return catalog.get(ModelKind.SEGMENTER, name)
