"""A second checkpoint that draws the last steps, as A1111's refiner: `NAME` or `NAME:0.8`.

The number is the share of the steps after which it takes over. Any two checkpoints can share them
whose latents are alike: SDXL and its refiner, or two of Stable Diffusion 1.
"""

from typing import Final

from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.models import ModelFile, ModelKind
from generation.name_search import fold
from generation.refusal import Refused
from generation.request_options import options

NONE: Final = "none"
"""What people write, as in A1111, for no refiner where their preset has one."""


def of(asked: str, switch: float | None, catalog: Catalog) -> tuple[str | None, float | None]:
    """The refiner as the catalogue names it, None for none, and after which share of the steps it
    takes over, None where nobody says.

    `switch` is that of the option `refiner_switch`, where it was given. Raises Refused.
    """
    kind, option = ModelKind.CHECKPOINT, options()["refiner_switch"]
    found = catalog.find(kind, asked)
    if found is None and fold(asked).strip() == NONE:
        return None, None
    name, colon, number = asked.rpartition(":")
    if found is not None or not colon or not _is_number(number):
        return catalog.get(kind, asked).name, switch
    found = catalog.get(kind, name.strip())
    own = float(option.parse(number))
    option.check(own)
    if switch is not None and switch != own:
        raise Refused("refiner_switch_twice", name=found.name[:80])
    return found.name, own


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check(refiner: ModelFile, model: ModelFile) -> None:
    """Refuse a refiner that can't go on with what the model has begun."""
    if refiner.name == model.name:
        raise Refused("refiner_is_model", name=model.name)
    check_latents(refiner, model)


def check_latents(refiner: ModelFile, model: ModelFile) -> None:
    """Refuse what can't go on with the latents of the model."""
    ours, theirs = FAMILIES[model.family], FAMILIES[refiner.family]
    if ours.vaes != theirs.vaes:
        raise Refused(
            "refiner_family",
            name=refiner.name,
            family=theirs.title,
            model=model.name,
            model_family=ours.title,
        )
