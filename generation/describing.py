"""Pictures described: by which tagger and captioner, and what of it makes a request."""

from collections.abc import Sequence
from typing import Final

import msgspec

from generation.catalog import Catalog
from generation.models import ModelFile, ModelKind, Unusable
from generation.onnx_models import RATES
from generation.refusal import Refused
from generation.request import GenerationRequest, undrawn
from generation.request_fields import Strength
from generation.request_parts import CaptionDetail, Describing, DescriptionStyle

LABELS_AMISS: Final = ("model_labels_missing", "model_labels_wrong")
"""What may keep the only tagger from being used."""
TAGGER_FOLDERS: Final = frozenset(("wd14_tagger", "taggeronnx"))
"""ComfyUI's and A1111's folders of them."""


class DescribingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[describing]`: what /describe and 🏷️ do."""

    tagger: str = ""
    """Empty for the largest, those that also rate pictures first."""
    captioner: str = ""
    """Empty for the largest."""
    threshold: Strength = 0.35
    """From which probability on a tag is told."""
    character_threshold: Strength = 0.85
    """The same of tags that name somebody."""
    detail: CaptionDetail = "detailed"


def of_picture(
    picture: str,
    size: tuple[int, int],
    style: DescriptionStyle | None,
    catalog: Catalog,
    settings: DescribingSettings,
) -> Describing:
    """How a picture of that hash and size in pixels is described; without a style, by whatever is
    there. Raises Refused where what it takes is not.
    """
    tagger = captioner = None
    if style != "caption":
        tagger = tagger_of(catalog, settings.tagger)
    if style != "tags":
        captioner = _named(catalog, ModelKind.CAPTIONER, settings.captioner, catalog.captioners)
    if tagger is None and (style in ("tags", "both") or captioner is None):
        raise _no_tagger(catalog.problems) if style != "caption" else Refused("no_captioner")
    if captioner is None and style in ("caption", "both"):
        raise Refused("no_captioner")
    return Describing(
        picture=picture,
        width=size[0],
        height=size[1],
        tagger=tagger.name if tagger is not None else "",
        captioner=captioner.name if captioner is not None else "",
        threshold=settings.threshold,
        character_threshold=settings.character_threshold,
        detail=settings.detail,
    )


def tagger_of(catalog: Catalog, name: str = "") -> ModelFile | None:
    """The tagger of that name, or else the one that is used where nobody names one: of those that
    rate pictures the largest, or of the others. Raises Refused for a name that is not there.
    """
    return _named(catalog, ModelKind.TAGGER, name, catalog.taggers)


def rater_of(catalog: Catalog, name: str = "") -> ModelFile | None:
    """As `tagger_of`, if it rates pictures; None where none does."""
    tagger = tagger_of(catalog, name)
    if tagger is None or tagger.variant != RATES:
        tagger = tagger_of(catalog)
    return tagger if tagger is not None and tagger.variant == RATES else None


def files_of(describing: Describing, catalog: Catalog) -> tuple[ModelFile | None, ModelFile | None]:
    """The files of its tagger and its captioner. Raises Refused where one is gone."""
    tagger = captioner = None
    if describing.tagger:
        tagger = catalog.get(ModelKind.TAGGER, describing.tagger)
    if describing.captioner:
        captioner = catalog.get(ModelKind.CAPTIONER, describing.captioner)
    return tagger, captioner


def request_of(describing: Describing) -> GenerationRequest:
    """A request to describe a picture: nothing is drawn for it."""
    return undrawn(describing=describing)


def _named(
    catalog: Catalog, kind: ModelKind, name: str, there: Sequence[ModelFile]
) -> ModelFile | None:
    if name:
        return catalog.get(kind, name)
    return max(there, key=lambda file: (file.variant == RATES, file.size), default=None)


def _no_tagger(problems: Sequence[Unusable]) -> Refused:
    """What has to be put where, or what is wrong with the one that lies there."""
    for one in problems:
        if one.code in LABELS_AMISS:
            return Refused(one.code, **one.params)
        if one.code == "model_unknown_layout" and not TAGGER_FOLDERS.isdisjoint(one.path.parts):
            return Refused("tagger_other", **one.params)
    return Refused("no_tagger")
