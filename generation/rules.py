"""What holds on this machine: its limits, its models' own settings, and what follows from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from generation import references, sizes
from generation.assembly import is_whole, settings_for
from generation.catalog import Catalog
from generation.describing import DescribingSettings
from generation.enlarging import EnlargingSettings
from generation.families import FAMILIES, family_of
from generation.hires import HiresSettings
from generation.model_settings import ModelSettings
from generation.models import ModelFile
from generation.picture_files import OutputSettings
from generation.request import GenerationRequest
from generation.request_fields import (
    ENLARGED_SIDE_MAX,
    SIDE_MAX,
    SIDE_MIN,
    Conventions,
    Count,
    Pixels,
    Steps,
)

ENLARGED: Final = 2
"""So many times the size is a picture that was enlarged."""

LARGE: Final = 512
"""Side in pixels from which on a checkpoint draws what people expect."""

Waiting = Annotated[int, Meta(ge=1, le=1000)]
"""Jobs of one person, wherever that is bounded."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: the most that anybody may ask for."""

    side: Annotated[int, Meta(ge=SIDE_MIN, le=SIDE_MAX)] = SIDE_MAX
    """The area bounds what is drawn: a wide picture of a megapixel has long sides."""
    pixels: Pixels = 1024 * 1024
    upscaled_side: Annotated[int, Meta(ge=SIDE_MIN, le=ENLARGED_SIDE_MAX)] = 2048
    """Of a picture that was made before and is enlarged."""
    steps: Steps = 60
    count: Count = 4
    grid: Annotated[int, Meta(ge=2, le=100)] = 50
    """Pictures of one grid."""
    waiting: Waiting = 5
    """Jobs of one person that wait or run at once."""
    upload_mib: Annotated[int, Meta(ge=1, le=500)] = 20
    upload_megapixels: Annotated[int, Meta(ge=1, le=500)] = 40


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What turns a draft into a request on this machine."""

    default_model: str = ""
    models: Mapping[str, ModelSettings] = {}
    limits: Limits = Limits()
    enlarging: EnlargingSettings = EnlargingSettings()
    describing: DescribingSettings = DescribingSettings()
    output: OutputSettings = OutputSettings()
    hires: HiresSettings = HiresSettings()
    conventions: Conventions = "a1111"
    """Whose way of drawing is followed where nobody says."""
    wildcards: Path | None = None
    """A folder of text files that prompts draw from."""


def settings_of(model: ModelFile, rules: Rules) -> ModelSettings:
    """What holds for a checkpoint: the owner's table, and below it what lies beside the file."""
    return settings_for(model, rules.models)


def default_model(catalog: Catalog, rules: Rules) -> str:
    """The checkpoint where nobody names one; "" where there is none.

    The settings', or the first; one as small as the demo only where there is no other.
    """
    if not catalog.scanned:
        # of those that are found so far, the first need not be the first of all
        return rules.default_model
    first = ""
    for model in catalog.checkpoints:
        if model.family in FAMILIES and is_whole(model):
            if rules.default_model or native_size(model) >= LARGE:
                return rules.default_model or model.name
            first = first or model.name
    return first


def native_size(model: ModelFile) -> int:
    """The side, in pixels, of the squares that the model was trained on."""
    return model.native_size or FAMILIES[model.family].native_size


def shaped(model: ModelFile, ratio: float, area: int, limits: Limits) -> tuple[int, int]:
    """Width and height in pixels of that ratio and area: of the family's own, if it is its area."""
    most = limits.side, limits.pixels
    if model.family not in FAMILIES:
        return sizes.of(ratio, area, *most)
    family = family_of(model)
    shapes = references.shapes_of(family) if area == family.native_size**2 else ()
    return sizes.of(ratio, area, *most, shapes, family.side_step)


def within_limits(request: GenerationRequest, rules: Rules) -> GenerationRequest:
    """A request that came of an enlarged picture, brought back to the size before enlarging."""
    limits = rules.limits
    width, height = request.width, request.height
    while max(width, height) > limits.side or width * height > limits.pixels:
        if min(width, height) <= SIDE_MIN:
            return request
        width, height = sizes.to_step(width / ENLARGED), sizes.to_step(height / ENLARGED)
    if (width, height) == (request.width, request.height):
        return request
    return request.with_(width=width, height=height, tile=0)
