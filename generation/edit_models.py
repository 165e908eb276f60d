"""The checkpoints that change a picture by what the prompt says: which are here, the best first."""

from typing import Final

from generation.abilities import edits
from generation.assembly import is_whole
from generation.catalog import Catalog
from generation.families import FAMILIES, family_of
from generation.models import ModelFile, ModelKind
from generation.refusal import Refused
from generation.rules import Rules, default_model

PICTURES_MAX: Final = 4
"""Pictures that a request may be given to edit."""
SIDE_LEAST: Final = 16
"""Pixels of the shorter side of a picture that is edited: a token of a transformer's."""
NAMED: Final = 3
"""Models that a sentence names in the place of one that does not do."""


def most_pictures(model: ModelFile) -> int:
    """How many pictures a checkpoint that edits is shown."""
    row = family_of(model).references
    return 1 if row is None else row.most


def models_here(catalog: Catalog, rules: Rules) -> list[ModelFile]:
    """Those that edit and can be drawn with, the best first: the one that draws where nobody names
    any, where it edits; then whoever is shown more pictures, and of these the larger family.
    """
    names = catalog.names(
        ModelKind.CHECKPOINT,
        "edits",
        lambda model: model.family in FAMILIES and edits(model) and is_whole(model),
    )
    found = [catalog.find(ModelKind.CHECKPOINT, name) for name in names.names]
    usual = catalog.find(ModelKind.CHECKPOINT, rules.default_model) if rules.default_model else None
    return sorted(
        (model for model in found if model is not None),
        key=lambda model: (
            model != usual,
            -most_pictures(model),
            -family_of(model).bytes_of_all,
            model.name,
        ),
    )


def check_any(catalog: Catalog, rules: Rules) -> list[ModelFile]:
    """The same. Raises Refused where there is none, with what to put where and what can be done
    without.
    """
    found = models_here(catalog, rules)
    if found:
        return found
    if not catalog.scanned:
        raise Refused("models_being_read", found=len(catalog.all))
    usual = default_model(catalog, rules)
    if not usual:
        raise Refused("no_models")
    raise Refused("no_edit_models", model=usual)


def chosen(name: str | None, count: int, catalog: Catalog, rules: Rules) -> ModelFile:
    """The checkpoint that edits so many pictures: the one of that name, or the best that is shown
    so many. Raises Refused for one that does not edit, or is shown fewer.
    """
    found = check_any(catalog, rules)
    many = [model for model in found if most_pictures(model) >= count]
    if name is None:
        model = (many or found)[0]
    else:
        model = catalog.get(ModelKind.CHECKPOINT, name)
        if model not in found:
            raise Refused("model_edits_nothing", model=model.name, others=_named(found))
    most = most_pictures(model)
    if count > most:
        code = "edit_pictures_others" if many else "edit_pictures"
        others = {"others": _named(many)} if many else {}
        raise Refused(code, model=model.name, most=most, count=count, **others)
    return model


def _named(models: list[ModelFile]) -> str:
    return ", ".join(model.name for model in models[:NAMED])
