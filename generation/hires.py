"""A picture drawn in two passes, as A1111's hires. fix has it: small, enlarged, drawn anew.

What each pass draws is a request of its own: `first_pass`, `second_pass`.
"""

from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from generation import enlarging, hires_sizes
from generation.catalog import Catalog
from generation.hires_sizes import HiresSizes
from generation.models import ModelFile, ModelKind
from generation.name_search import fold
from generation.prompts import drawn_texts
from generation.refusal import Refused
from generation.request import NO_HIRES, GenerationRequest
from generation.request_fields import HiresSteps, Strength

OwnOrFirst = TypeVar("OwnOrFirst")


class LatentUpscaler(NamedTuple):
    """How latents are interpolated, as torch names it."""

    mode: str
    antialias: bool = False


LATENT: Final = "Latent"
NEAREST_EXACT: Final = "Latent (nearest-exact)"
LATENT_UPSCALERS: Final[Mapping[str, LatentUpscaler]] = {
    LATENT: LatentUpscaler("bilinear"),
    "Latent (antialiased)": LatentUpscaler("bilinear", antialias=True),
    "Latent (bicubic)": LatentUpscaler("bicubic"),
    "Latent (bicubic antialiased)": LatentUpscaler("bicubic", antialias=True),
    "Latent (nearest)": LatentUpscaler("nearest"),
    NEAREST_EXACT: LatentUpscaler("nearest-exact"),
}
"""A1111's, by its names for them."""
OF_LATENTS: Final = 0.7
"""Denoising strength over enlarged latents, which are blurred; A1111's where nobody says."""
OF_PICTURES: Final = 0.4
"""The same over an enlarged picture."""
OF_SMALL: Final = 0.05
"""The same for models of pictures below DRAWS_DETAIL: with more they draw their subject anew into
each part of a larger one."""


class HiresSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[hires]`: pictures that are drawn in two passes."""

    automatic: bool = True
    """Whether a size far over what a model was trained on is made so."""
    upscaler: str = ""
    """Empty for LATENT, or for a model of pictures below DRAWS_DETAIL what [enlarging] has."""
    denoising: Strength = 0.0
    """0 leaves it to the kind of upscaler."""
    steps: HiresSteps = 0
    """0 for as many as the first pass has."""
    factor: Annotated[float, Meta(gt=1, le=4)] = 2.0
    """What ✨ makes of a finished picture."""


def sizes_of(request: GenerationRequest) -> HiresSizes:
    """Of a request with a hires pass."""
    assert request.hires is not None
    return hires_sizes.of(request.hires, request.width, request.height)


def first_pass(request: GenerationRequest) -> GenerationRequest:
    """What is drawn first, at the first size. A refiner draws the last steps of the second pass
    alone, as A1111 has it where nobody sets it otherwise.
    """
    return request if request.hires is None else request.with_(**NO_HIRES, refiner=None)


def second_pass(request: GenerationRequest) -> GenerationRequest:
    """What is drawn over the enlarged picture, of a request with a hires pass. It starts from no
    picture that could be named; `denoising_strength` is that of the pass.
    """
    width, height = sizes_of(request).made
    return request.with_(
        **NO_HIRES,
        prompt=_own(request.hires_prompt, request.prompt),
        negative_prompt=_own(request.hires_negative_prompt, request.negative_prompt),
        model=_own(request.hires_model, request.model),
        width=width,
        height=height,
        steps=second_steps(request),
        guidance_scale=_own(request.hires_guidance, request.guidance_scale),
        sampler=_own(request.hires_sampler, request.sampler),
        schedule=_own(request.hires_schedule, request.schedule),
        denoising_strength=_own(request.hires_denoising, OF_LATENTS),
        tile=request.hires_tile or 0,
    )


def passes(request: GenerationRequest) -> tuple[GenerationRequest, ...]:
    """What is drawn one after the other: one request, or two."""
    if request.hires is None:
        return (request,)
    return first_pass(request), second_pass(request)


def second_steps(request: GenerationRequest) -> int:
    """Steps of the second pass."""
    return request.hires_steps or request.steps


def drawn_texts_of(request: GenerationRequest) -> list[str]:
    """Every text that an encoder reads for the request, in whichever pass, without weights."""
    prompts = [request.prompt, request.negative_prompt]
    after = None
    if request.hires is not None:
        after = second_steps(request)
        prompts += [request.hires_prompt or "", request.hires_negative_prompt or ""]
    return [text for prompt in prompts for text in drawn_texts(prompt, request.steps, after)]


def find(name: str, catalog: Catalog) -> str:
    """What enlarges by that name, as it is kept. Raises Refused for what is not there."""
    for latent in LATENT_UPSCALERS:
        if fold(name) == fold(latent):
            return latent
    return enlarging.find(name, catalog)


def upscaler_file(request: GenerationRequest, catalog: Catalog) -> ModelFile | None:
    """The network that enlarges between the passes; None where none does. Raises Refused where it
    is gone.
    """
    name = request.hires_upscaler
    if request.hires is None or name is None or name in (*LATENT_UPSCALERS, *enlarging.PLAIN):
        return None
    return catalog.get(ModelKind.UPSCALER, name)


def check_sizes(request: GenerationRequest) -> None:
    """Refuse a second pass that is smaller than the first."""
    enlarged = sizes_of(request).enlarged
    if enlarged[0] < request.width or enlarged[1] < request.height:
        raise Refused(
            "hires_smaller",
            width=enlarged[0],
            height=enlarged[1],
            first=f"{request.width} × {request.height}",
        )


def _own(own: OwnOrFirst | None, first: OwnOrFirst) -> OwnOrFirst:
    return first if own is None else own
