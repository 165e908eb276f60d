"""What makes a model draw in few steps: distilled LoRAs and checkpoints, told by a file's name, its
title and what is noted beside it.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from generation.families.few_steps import LCM
from generation.models import ModelFile, ModelKind

STEPS_MAX: Final = 10
"""A model that is drawn in no more is as fast as a draft."""


class FastWay(msgspec.Struct, frozen=True, kw_only=True):
    """How what is distilled by one method is drawn with. Empty for what is usual in the family."""

    steps: int
    guidance_scale: float
    sampler: str = ""
    schedule: str = ""
    weight: float = 1.0
    """Of a LoRA."""


_TRAILING: Final = FastWay(steps=4, guidance_scale=1.0, sampler="Euler", schedule="SGM Uniform")
"""Euler over timesteps that begin at the last: what ByteDance's and Stability's are drawn with."""
_FLOW: Final = FastWay(steps=8, guidance_scale=1.0)
STABLE: Final = frozenset(("sd1", "sd2", "sdxl", "sdxl-refiner"))
"""Families that are no flow models."""
WAYS: Final[Mapping[str, FastWay]] = {
    "lightning": _TRAILING,
    "hyper": _TRAILING,
    "dmd2": FastWay(steps=4, guidance_scale=1.0, sampler="LCM", schedule="SGM Uniform"),
    LCM: FastWay(steps=6, guidance_scale=1.5, sampler="LCM", schedule="SGM Uniform"),
    "turbo": msgspec.structs.replace(_TRAILING, sampler="Euler a"),
    "tcd": FastWay(steps=4, guidance_scale=1.0, sampler="TCD", schedule="SGM Uniform"),
}
"""By method, the one before the others where a name has several. Sources: the model cards of
ByteDance's SDXL-Lightning and Hyper-SD, tianweiy's DMD2, latent-consistency's LCM-LoRA, Stability's
SDXL Turbo, h1t's TCD."""
FLOW_WAYS: Final[Mapping[str, FastWay]] = {
    "hyper": msgspec.structs.replace(_FLOW, guidance_scale=3.5, weight=0.125),
    "turbo": msgspec.structs.replace(_FLOW, guidance_scale=3.5),
    "lightning": _FLOW,
}
"""The same of flow models: Hyper-FLUX.1-dev, FLUX.1-Turbo-Alpha, Qwen-Image-Lightning."""
CFG: Final = 5.0
"""Guidance of those of Hyper-SD that keep it, which have CFG in their names."""
_METHODS: Final = re.compile(
    r"(?<![a-z])(?:(?P<lightning>lightning)|(?P<dmd2>dmd2?)|(?P<turbo>turbo)|(?P<tcd>tcd)"
    r"|(?P<lcm>lcm)|(?P<hyper>hyper(?:[-_ .]?(?:sdxl|sd15|sd|xl|flux))?))(?![a-z])",
    re.IGNORECASE,
)
_HUMPS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where a word begins within another, as in dreamLightning."""
_STEPS: Final = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])", re.IGNORECASE)
_CFG: Final = re.compile(r"(?<![a-z])cfg(?![a-z])", re.IGNORECASE)


def way_of(file: ModelFile, family: str) -> FastWay | None:
    """How a LoRA or checkpoint is drawn with in few steps, for a model of that family; None where
    neither its name nor its folder's says it, nor what is noted beside it.

    A checkpoint is what Civitai says that it is based on; a LoRA that was trained for such makes
    nothing fast by itself. Titles and trigger words are words of art as often: they count where
    they say in how many steps, or the base says the same.
    """
    ways = WAYS if family in STABLE else FLOW_WAYS
    for text in (file.path.stem, file.name, file.path.parent.name):
        method = _method(text)
        if method in ways:
            return _told(ways[method], text, method)
    base = _method(file.base)
    for text in (*file.titles, *file.trigger_words):
        method = _method(text)
        if method in ways and (method == base or _STEPS.search(text)):
            return _told(ways[method], text, method)
    if base in ways and file.kind is ModelKind.CHECKPOINT:
        return _told(ways[base], "", base)
    return None


def _method(text: str) -> str:
    """The method that is named in a text; "" where none is."""
    found = _METHODS.search(_HUMPS.sub(" ", text))
    return "" if found is None else found.lastgroup or ""


def _told(way: FastWay, name: str, method: str) -> FastWay:
    steps = _STEPS.search(name)
    if steps is not None and 0 < int(steps[1]) <= 2 * STEPS_MAX:
        way = msgspec.structs.replace(way, steps=int(steps[1]))
    if method == "hyper" and _CFG.search(name):
        way = msgspec.structs.replace(way, guidance_scale=CFG)
    return way
