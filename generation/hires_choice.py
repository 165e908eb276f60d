"""Whether a request gets a hires pass, and what of it nobody said."""

from collections.abc import Collection
from typing import Any, Final

from generation import enlarging, hires, hires_sizes, sizes
from generation.catalog import Catalog
from generation.checks import known_sampler, known_schedule
from generation.enlarging import DRAWS_DETAIL
from generation.families import FAMILIES
from generation.models import ModelFile, ModelKind
from generation.name_search import fold
from generation.prompts import take_tags
from generation.refusal import Refused
from generation.request import HIRES, NO_HIRES, GenerationRequest
from generation.request_fields import SIDE_MAX, SIDE_MIN, SIDE_STEP
from generation.request_options import exact
from generation.rules import Rules, native_size

FAR: Final = 1.5
"""Sides of a square, in those that a model was trained on, from which on a picture of its area
repeats its subject: it is drawn in two passes."""
WHOLE: Final = 2.0
"""The same for a second pass that sees the picture whole, as A1111's always does; a larger one is
drawn in tiles."""
SAME: Final = frozenset(("", "none", "same"))
"""What stands for what the first pass has, beside A1111's `Use same sampler`."""


def settled(
    request: GenerationRequest,
    given: Collection[str],
    catalog: Catalog,
    rules: Rules,
    *,
    usual: Collection[str] = (),
    sized: bool = True,
) -> GenerationRequest:
    """The request with its hires pass said whole, or with none.

    Where nobody says whether there is one it has one if it is far larger than what its model was
    trained on: it is drawn at that size first. `given` are the options that somebody gave, `usual`
    those among them that only go along, such as a preset's; unless it is `sized` anew, nothing is
    decided by its size. Raises Refused.
    """
    model = catalog.get(ModelKind.CHECKPOINT, request.model)
    try:
        kept = hires_sizes.read(request.hires or "")
    except ValueError:
        raise Refused("hires_wrong", value=str(request.hires)[:40]) from None
    request = request.with_(hires=kept)
    if kept is None and "hires" not in given and sized:
        request = _by_size(request, model, rules)
    if request.hires is None:
        for name in HIRES:
            if name in given and name not in usual and name != "hires":
                raise Refused("option_needs", option=name, needs="hires")
        return request.with_(**NO_HIRES)
    return _said_whole(request, model, catalog, rules)


def added(request: GenerationRequest, catalog: Catalog, rules: Rules) -> GenerationRequest:
    """The same with a hires pass, as large as it may be. Raises Refused where it is that already,
    or is one that gets none.
    """
    check_kind(request)
    limits, (width, height) = rules.limits, request.drawn_size
    most = min(
        rules.hires.factor,
        min(limits.side, SIDE_MAX) / max(width, height),
        (limits.pixels / (width * height)) ** 0.5,
    )
    if most < enlarging.LEAST:
        raise Refused("hires_enough", width=width, height=height)
    # no more digits than one reads, and never over the limit
    factor = exact(int(most * 100) / 100)
    return settled(request.with_(hires=factor), (), catalog, rules)


def factor_of(request: GenerationRequest) -> str:
    """By which its hires pass enlarges, of one that has one."""
    made, first = hires.sizes_of(request).made, (request.width, request.height)
    ratio = (made[0] * made[1] / (first[0] * first[1])) ** 0.5
    return exact(max(1.0, round(ratio, 2)))


def check_kind(request: GenerationRequest) -> None:
    """Refuse a hires pass of what is not drawn from words alone, as A1111 has none there."""
    if request.init_picture is not None:
        raise Refused("hires_with_picture")


def _by_size(request: GenerationRequest, model: ModelFile, rules: Rules) -> GenerationRequest:
    """With a hires pass to its size where that is far over the native one."""
    family, native = FAMILIES.get(model.family), 0
    if not rules.hires.automatic or family is None or request.init_picture is not None:
        return request
    native = native_size(model)
    area, limits = request.width * request.height, rules.limits
    if area <= (FAR * native) ** 2 or "image_to_image" not in family.abilities:
        return request
    if area > limits.pixels or max(request.width, request.height) > limits.side:
        return request  # which is refused as it is
    ratio = request.width / request.height
    width, height = sizes.of(ratio, native**2, SIDE_MAX, SIDE_MAX**2, step=family.side_step)
    wanted = f"{request.width}x{request.height}"
    return request.with_(width=width, height=height, hires=wanted)


def _said_whole(
    request: GenerationRequest, model: ModelFile, catalog: Catalog, rules: Rules
) -> GenerationRequest:
    settings = rules.hires
    name = request.hires_upscaler or settings.upscaler
    small = model.family in FAMILIES and native_size(model) < DRAWS_DETAIL
    if not name and small:
        name = enlarging.upscaler_of(None, catalog, rules.enlarging)
    elif not name:
        comfyui = request.conventions == "comfyui"
        name = hires.NEAREST_EXACT if comfyui else hires.LATENT
    upscaler = hires.find(name, catalog)
    usual = hires.OF_SMALL if small else hires.OF_PICTURES
    if upscaler in hires.LATENT_UPSCALERS:
        usual = hires.OF_LATENTS
    changes: dict[str, Any] = {
        "hires": _in_steps(request, model),
        "hires_upscaler": upscaler,
        "hires_denoising": request.hires_denoising,
        "hires_steps": request.hires_steps or None,
        "hires_prompt": _prompt(request, catalog),
        **_sampling(request),
    }
    if request.hires_denoising is None:
        changes["hires_denoising"] = settings.denoising or usual
    if request.hires_steps is None:
        changes["hires_steps"] = settings.steps or None
    if request.hires_model is not None:
        own = catalog.get(ModelKind.CHECKPOINT, request.hires_model).name
        changes["hires_model"] = None if own == request.model else own
    if request.hires_tile is None:
        changes["hires_tile"] = _tile(request.with_(**changes), model)
    return request.with_(**changes)


def _in_steps(request: GenerationRequest, model: ModelFile) -> str:
    """What it is drawn to, by a size where a factor makes sides that its family can't draw."""
    assert request.hires is not None
    family = FAMILIES.get(model.family)
    step = family.side_step if family is not None else SIDE_STEP
    made = hires.sizes_of(request).made
    if "x" in request.hires or all(side % step == 0 for side in made):
        return request.hires
    wide, high = (max(SIDE_MIN, side // step * step) for side in made)
    return f"{wide}x{high}"


def _tile(request: GenerationRequest, model: ModelFile) -> int:
    native = native_size(model) if model.family in FAMILIES else 0
    wide, high = hires.sizes_of(request).made
    large = wide * high > (WHOLE * native) ** 2
    return native if large and native >= DRAWS_DETAIL else 0


def _prompt(request: GenerationRequest, catalog: Catalog) -> str | None:
    """Its own prompt. A LoRA's tag in it names one that acts in both passes, as it does there."""
    if request.hires_prompt is None or not request.hires_prompt.strip():
        return None
    text, tags = take_tags(request.hires_prompt)
    known = {use.name for use in request.loras}
    for tag in tags:
        found = catalog.find(ModelKind.LORA, tag.parts[0])
        if found is None or found.name not in known:
            raise Refused("hires_tag", tag=str(tag)[:80])
    text = text.strip() if tags else text
    return None if text == request.prompt else text


def _sampling(request: GenerationRequest) -> dict[str, str | None]:
    sampler, schedule = request.hires_sampler, request.hires_schedule
    if sampler is not None and _same(sampler):
        sampler = None
    if schedule is not None and _same(schedule):
        schedule = None
    told = None
    if sampler is not None:
        sampler, told = known_sampler(sampler)
    if schedule is not None:
        schedule = known_schedule(schedule)
    return {"hires_sampler": sampler, "hires_schedule": schedule or told}


def _same(name: str) -> bool:
    written = fold(name).strip()
    return written in SAME or written.startswith("use same")
