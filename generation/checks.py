"""What this machine can't or may not make, refused with what to change."""

from collections.abc import Sequence
from typing import Final

from generation import (
    abilities,
    assembly,
    control_uses,
    describing,
    embedding_uses,
    finishing,
    hires,
    image_prompts,
    mask_words,
    refining,
    samplers,
)
from generation.catalog import Catalog
from generation.enlarging import file_of, second_pass
from generation.families import FAMILIES, RECOGNISED
from generation.families.control import follows, is_shown_mask
from generation.models import ModelFile, ModelKind
from generation.prompts import check_prompt, take_tags
from generation.refusal import Refused, known
from generation.request import GenerationRequest
from generation.request_fields import SIDE_MAX, SIDE_MIN, check_text
from generation.request_options import options
from generation.request_parts import Enlargement
from generation.rules import Limits, Rules, settings_of
from generation.samplers import SAMPLERS, SCHEDULES

UNGUIDED: Final = frozenset(("", "schnell"))
"""Variants of checkpoints that are shown no picture beside what they draw, so that a LoRA can have
them follow one."""


def check(
    request: GenerationRequest, catalog: Catalog, rules: Rules, enlarging: bool = False
) -> None:
    """Raise Refused when this machine can't or may not make what is asked for.

    Also for requests that were made elsewhere: a reroll of last year's picture, an edited one.
    `enlarging` a picture has a limit of its own on the size, and nothing else has.
    """
    limits = rules.limits
    for option, texts in request.texts.items():
        for text in texts:
            check_text(option, text)
    if request.describing is not None:
        describing.files_of(request.describing, catalog)
        return
    check_prompt("prompt", request.prompt, request.steps)
    check_prompt("negative_prompt", request.negative_prompt, request.steps)
    for negative in (request.negative_prompt, request.hires_negative_prompt or ""):
        if take_tags(negative)[1]:
            raise Refused("tag_in_negative")
    if request.enlargement is None:
        _check_size(request, limits, enlarging)
        if request.extension is not None and max(request.size) > limits.upscaled_side:
            raise Refused("extended_enough", side=limits.upscaled_side)
    _at_most("steps", request.steps, limits.steps)
    _at_most("count", request.count, 1 if enlarging else limits.count)
    if request.variation_strength and request.variation_seed is None:
        raise Refused("option_needs", option="variation_strength", needs="variation_seed")
    known_sampler(request.sampler)
    known_schedule(request.schedule)
    finishing.of(request, catalog)
    if request.enlargement is not None:
        _check_enlargement(request.enlargement, catalog, limits)
        if request.only_enlarges:
            return
        request, enlarging = second_pass(request), True
    if not request.prompt.strip():
        raise Refused("prompt_empty")
    model = catalog.get(ModelKind.CHECKPOINT, request.model)
    check_runnable(model, request.vae)
    chosen = settings_of(model, rules).text_encoders or ()
    assembly.check_chosen(model, (catalog.get(ModelKind.TEXT_ENCODER, name) for name in chosen))
    abilities.check(request, model)
    if request.hires is not None:
        _check_hires(request, model, catalog, limits)
    _check_start_picture(request, model)
    mask_words.of(request, catalog)
    if request.vae is not None:
        vae = catalog.get(ModelKind.VAE, request.vae)
        if not FAMILIES[model.family].takes_vae_of(vae.family):
            raise _mismatch(vae, model)
    models = [model]
    if request.refiner is not None:
        models.append(_check_refiner(request.refiner, model, request, catalog))
    loras = [catalog.get(ModelKind.LORA, use.name) for use in request.loras]
    for lora in loras:
        if not any(lora.fits(each) for each in models):
            check_same_family(lora, model)
    _check_controls(request, models, loras, catalog)
    image_prompts.check(request, model, catalog)
    embedding_uses.check(request, model, catalog)


def check_runnable(model: ModelFile, vae: str | None = None) -> None:
    """Refuse a checkpoint of a family that is recognised only, and one that lacks a part; one made
    of parts may be drawn with a VAE that is chosen for it.
    """
    if model.family not in FAMILIES:
        title = RECOGNISED.get(model.family, model.family)
        raise Refused("family_unsupported", model=model.name, family=title)
    assembly.check_whole(model, vae)


def check_refiner(refiner: ModelFile, model: ModelFile | None) -> None:
    """Refuse a refiner that can't be drawn with, or not after that model."""
    check_runnable(refiner)
    if model is not None:
        check_runnable(model)
        refining.check(refiner, model)


def check_same_family(part: ModelFile, model: ModelFile) -> None:
    """Refuse a LoRA or ControlNet made for another family than the model's."""
    if not part.may_be_of(model.family):
        raise _mismatch(part, model)
    if not part.fits(model):
        raise Refused(f"{part.kind}_mismatch", name=part.name, model=model.name)


def check_reads(
    net: ModelFile, models: Sequence[ModelFile], loras: Sequence[ModelFile] = ()
) -> None:
    """Refuse a ControlNet of another family than the first model's, and a checkpoint or LoRA that
    follows a control picture itself, where it is none of them.
    """
    if not follows(net):
        check_same_family(net, models[0])
    elif net not in (*models, *loras):
        code = "control_by_lora" if net.kind is ModelKind.LORA else "control_by_model"
        raise Refused(code, name=net.name, model=models[0].name)


def known_sampler(name: str) -> tuple[str, str | None]:
    """The sampler of that name, whatever its case, and the schedule that an old name has in it,
    such as `DPM++ 2M Karras`. Raises Refused with the nearest.
    """
    found = samplers.read(name)
    return (known(name, SAMPLERS, "sampler_unknown"), None) if found is None else found


def known_schedule(name: str) -> str:
    """The schedule type of that name, whatever its case. Raises Refused with the nearest."""
    found = samplers.schedule(name)
    return known(name, SCHEDULES, "schedule_unknown") if found is None else found


def _check_hires(
    request: GenerationRequest, model: ModelFile, catalog: Catalog, limits: Limits
) -> None:
    """Refuse a hires pass that can't or may not be drawn."""
    if request.init_picture is not None:
        raise Refused("hires_with_picture")
    hires.check_sizes(request)
    passed = hires.second_pass(request)
    _at_most("hires_steps", passed.steps, limits.steps)
    for option in ("hires_prompt", "hires_negative_prompt"):
        check_prompt(option, getattr(request, option) or "", passed.steps)
    hires.upscaler_file(request, catalog)
    known_sampler(passed.sampler)
    known_schedule(passed.schedule)
    own = catalog.get(ModelKind.CHECKPOINT, passed.model)
    if own.name != model.name:
        check_runnable(own, request.vae)
        refining.check_latents(own, model)
        _check_start_picture(request, own)
    abilities.check(passed, own)
    embedding_uses.check(passed, own, catalog)


def _check_size(request: GenerationRequest, limits: Limits, enlarging: bool) -> None:
    side = limits.upscaled_side if enlarging else limits.side
    try:
        width, height = request.drawn_size
    except (ValueError, ZeroDivisionError):
        # of a request that was made elsewhere
        raise Refused("hires_wrong", value=str(request.hires)) from None
    _at_most("width", request.width, side)
    _at_most("height", request.height, side)
    if max(width, height) > side or min(width, height) < SIDE_MIN:
        raise Refused("hires_size", width=width, height=height, low=SIDE_MIN, high=side)
    if not enlarging and width * height > limits.pixels:
        raise Refused(
            "too_many_pixels",
            width=width,
            height=height,
            megapixels=f"{limits.pixels / 1e6:.1f}",
        )
    if 0 < request.tile < SIDE_MIN:
        raise Refused(
            "out_of_bounds", option="tile", value=request.tile, low=SIDE_MIN, high=SIDE_MAX
        )
    if request.tile and request.init_picture is None:
        raise Refused("option_needs", option="tile", needs="init_picture")


def _check_enlargement(made: Enlargement, catalog: Catalog, limits: Limits) -> None:
    file_of(made, catalog)
    if made.control is not None:
        control_uses.check_preprocessor(made.control, catalog)
    _at_most("width", made.width, limits.upscaled_side)
    _at_most("height", made.height, limits.upscaled_side)


def _check_start_picture(request: GenerationRequest, model: ModelFile) -> None:
    if abilities.needs_picture(model) and request.init_picture is None:
        raise Refused("start_picture_needed", model=model.name)


def _check_controls(
    request: GenerationRequest,
    models: Sequence[ModelFile],
    loras: Sequence[ModelFile],
    catalog: Catalog,
) -> None:
    for use in request.controls:
        net = control_uses.reader(use.name, catalog)
        check_reads(net, models, loras)
        control_uses.check(use, net, catalog)
        if is_shown_mask(net) and not request.has("mask"):
            raise Refused("control_needs_mask", name=net.name)
    following = [each for each in loras if follows(each)]
    for lora in following:
        if len(following) > 1 or models[0].variant not in UNGUIDED:
            other = next((each for each in following if each != lora), models[0])
            raise Refused("lora_follows_beside", name=lora.name, other=other.name)
    for each in (*models, *following):
        own = [use for use in request.controls if use.name == each.name]
        if follows(each) and len(own) != 1:
            raise Refused("control_picture_needed", model=each.name)


def _check_refiner(
    name: str, model: ModelFile, request: GenerationRequest, catalog: Catalog
) -> ModelFile:
    refiner = catalog.get(ModelKind.CHECKPOINT, name)
    check_refiner(refiner, model)
    _check_start_picture(request, refiner)
    return refiner


def _mismatch(part: ModelFile, model: ModelFile) -> Refused:
    return Refused(
        "family_mismatch",
        name=part.name,
        family=_title(part.family),
        model=model.name,
        model_family=_title(model.family),
    )


def _title(family: str) -> str:
    return FAMILIES[family].title if family in FAMILIES else RECOGNISED.get(family, family)


def _at_most(option: str, value: int, high: int) -> None:
    if value > high:
        low = options()[option].low or 0
        raise Refused("out_of_bounds", option=option, value=value, low=low, high=high)
