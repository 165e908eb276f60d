"""Finished pictures made larger: by which upscaler, to which size, and with what second pass."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from generation.catalog import Catalog
from generation.models import ModelFile, ModelKind
from generation.name_search import fold
from generation.refusal import Refused
from generation.request import NO_HIRES, GenerationRequest, undrawn
from generation.request_fields import (
    FURTHER_PICTURES,
    SIDE_MAX,
    SIDE_MIN,
    SIDE_STEP,
    FaceChoice,
    Name,
    Strength,
)
from generation.request_parts import Enlargement

LANCZOS: Final = "Lanczos"
PLAIN: Final = (LANCZOS, "Nearest")
"""Upscalers without a network. The second keeps the hard edges of pixel art."""
NO_UPSCALER: Final = "None"
"""Stands for an upscaler, as in A1111's extras, where a picture keeps its size and something else
is done to it.
"""
FACTOR_MAX: Final = 8.0
PLAIN_FACTOR: Final = 2.0
"""By which a picture is enlarged that no network makes sharper, where nobody says."""
LEAST: Final = 1.05
"""A picture that could only be so many times as large is large enough."""
DRAWS_DETAIL: Final = 512
"""Side in pixels of a checkpoint's training pictures from which on a second pass in tiles adds
detail; smaller ones draw their subject once more into every tile."""
WHOLE: Final = 1.5
"""Up to so many times the native side, the second pass sees the picture whole."""

Factor = Annotated[float, Meta(gt=1, le=FACTOR_MAX)]


class EnlargingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[enlarging]`: what 🔍 and /upscale do where nobody says."""

    upscaler: str = ""
    """Empty for the first of the model folders, or Lanczos where there is none."""
    factor: Factor = 4.0
    second_pass: Strength = 0.0
    """Denoising strength of a second pass of the model over the enlarged picture; 0 for none."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody or their preset says of it; None leaves it to the settings."""

    upscaler: Name | None = None
    factor: Factor | None = None
    second_pass: Strength | None = None
    larger: bool = True
    """Whether it is to be larger at all."""
    faces: FaceChoice = "none"
    """Which of its faces are restored then."""
    cutout: bool = False
    """Whether its background is removed then."""

    def over(self, other: "Wish") -> "Wish":
        """This, and where it says nothing, the other."""
        return Wish(
            upscaler=self.upscaler if self.upscaler is not None else other.upscaler,
            factor=self.factor if self.factor is not None else other.factor,
            second_pass=self.second_pass if self.second_pass is not None else other.second_pass,
            larger=self.larger,
            faces=self.faces,
            cutout=self.cutout,
        )


NO_WISH: Final = Wish()


def of_picture(
    picture: str,
    size: tuple[int, int],
    wish: Wish,
    catalog: Catalog,
    settings: EnlargingSettings,
    *,
    side: int,
    native: int = 0,
    step: int = SIDE_STEP,
) -> Enlargement:
    """How a picture of that hash and size in pixels is made larger, or kept as large as it is.

    `side` bounds the longer side of the result; `native` is that of the pictures that its model was
    trained on, 0 where no model draws a second pass, and `step` what its sides are multiples of.
    Raises Refused where it is large enough, for
    a second pass at most SIDE_MAX, or for an upscaler that is not there.
    """
    if not wish.larger:
        width, height = size
        return Enlargement(
            picture=picture,
            upscaler=NO_UPSCALER,
            width=width,
            height=height,
            from_width=width,
            from_height=height,
        )
    upscaler = upscaler_of(wish.upscaler, catalog, settings)
    factor = wish.factor
    if factor is None:
        factor = settings.factor if upscaler not in PLAIN else PLAIN_FACTOR
    strength = settings.second_pass if wish.second_pass is None else wish.second_pass
    if native < DRAWS_DETAIL:
        strength = 0.0
    if strength and side > SIDE_MAX:
        # of what a request can be
        side = SIDE_MAX
        if side / max(size) < LEAST:
            raise Refused("second_pass_large", side=side)
    factor = min(factor, side / max(size))
    if factor < LEAST:
        raise Refused("enlarged_enough", side=side)
    if min(size) * factor < SIDE_MIN:
        strength = 0.0
    if not strength:
        step = 1
    most = side // step
    width, height = (min(most, max(1, round(length * factor / step))) * step for length in size)
    large = max(width, height) > WHOLE * native
    return Enlargement(
        picture=picture,
        upscaler=upscaler,
        width=width,
        height=height,
        from_width=size[0],
        from_height=size[1],
        denoising_strength=strength,
        tile=native if strength and large else 0,
    )


def upscaler_of(wanted: str | None, catalog: Catalog, settings: EnlargingSettings) -> str:
    """The name of the upscaler that is meant. Raises Refused for one that is not there."""
    if wanted or settings.upscaler:
        return find(wanted or settings.upscaler, catalog) or LANCZOS
    first = next(iter(catalog.upscalers), None)
    return first.name if first is not None else LANCZOS


def find(name: str, catalog: Catalog) -> str:
    """An upscaler's name as the catalogue has it. Raises Refused for one that is not there."""
    for plain in PLAIN:
        if fold(name) == fold(plain):
            return plain
    return catalog.get(ModelKind.UPSCALER, name).name


def file_of(enlargement: Enlargement, catalog: Catalog) -> ModelFile | None:
    """The file of its upscaler; None for a plain one. Raises Refused where it is gone."""
    if enlargement.upscaler in (*PLAIN, NO_UPSCALER):
        return None
    return catalog.get(ModelKind.UPSCALER, enlargement.upscaler)


def of_upload(enlargement: Enlargement) -> GenerationRequest:
    """A request to enlarge a picture that was not drawn here: of its drawing nothing is known."""
    return undrawn(enlargement=enlargement)


def second_pass(request: GenerationRequest) -> GenerationRequest:
    """What is drawn over a picture that an upscaler has enlarged: the same, once more.

    Control pictures and a mask have done their work in the first pass, but for a picture that the
    model follows itself.
    """
    made = request.enlargement
    assert made is not None
    return request.unmasked(
        **NO_HIRES,
        init_picture=made.picture,
        **dict.fromkeys(FURTHER_PICTURES),
        width=made.width,
        height=made.height,
        tile=made.tile,
        denoising_strength=made.denoising_strength,
        variation_seed=None,
        variation_strength=0.0,
        lineage=(),
        count=1,
        controls=msgspec.to_builtins(request.own_controls),
        enlargement=None,
    )
