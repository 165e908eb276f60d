"""From what a person gave to a whole request: defaults filled in, everything checked."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from generation import (
    control_uses,
    embedding_uses,
    lora_uses,
    refining,
    samplers,
    sizes,
    templates,
)
from generation.catalog import Catalog
from generation.enlarging import EnlargingSettings, file_of, second_pass
from generation.families import FAMILIES, RECOGNISED, Ability
from generation.model_settings import ModelSettings
from generation.models import GGUF, SAFETENSORS, ModelFile, ModelKind
from generation.name_search import fold
from generation.prompts import check_prompt, take_tags
from generation.refusal import Refused, known
from generation.request import (
    ENLARGED_SIDE_MAX,
    RANDOM_SEED,
    RANDOM_SEED_MAX,
    SIDE_MAX,
    SIDE_MIN,
    ControlUse,
    Count,
    Enlargement,
    GenerationRequest,
    LoraUse,
    Pixels,
    Steps,
    check_text,
)
from generation.request_options import options
from generation.samplers import AUTOMATIC, SAMPLERS, SCHEDULES

Given = Mapping[str, str | int | float | tuple[str | LoraUse, ...]]
"""Values by option name; pictures by the hash that the store gave them.

`lora` is a name, a `NAME:WEIGHT`, or several of these.
"""

EDITING: Final = "instruct-pix2pix"
"""The variant of models that change a picture, and draw none without."""
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
    wildcards: Path | None = None
    """A folder of text files that prompts draw from."""


def complete(given: Given, catalog: Catalog, rules: Rules) -> GenerationRequest:
    """The request that `given` means, with the defaults of the model and its family filled in.

    Raises Refused, with what to change, for anything that is wrong with it.
    """
    _check_given(given)
    prompt, tags = take_tags(str(given["prompt"]))
    prompt = prompt.strip()
    if not prompt:
        raise Refused("prompt_empty")
    model = _model(given, catalog, rules)
    family = FAMILIES[model.family]
    settings = settings_of(model, rules)
    width, height = _size(given, model, settings, rules.limits)
    values: dict[str, Any] = {
        "steps": _first(settings.steps, family.steps),
        "guidance_scale": _first(settings.guidance_scale, family.guidance_scale),
        "sampler": _first(settings.sampler, family.sampler),
        "schedule": settings.schedule,
        "clip_skip": _first(settings.clip_skip, 1),
        "negative_prompt": _first(settings.negative_prompt, ""),
        "vae": settings.vae,
        "seed": RANDOM_SEED,
    }
    if given.get("variation_strength"):
        values["variation_seed"] = RANDOM_SEED
    values |= {
        option.field: given[name]
        for name, option in options().items()
        if name in given and not option.item
    }
    values |= {
        "prompt": prompt,
        "model": model.name,
        "width": width,
        "height": height,
        **_sampling(str(values["sampler"]), values["schedule"]),
        "vae": catalog.get(ModelKind.VAE, values["vae"]).name
        if values["vae"] is not None
        else None,
        **_refiner(values.get("refiner"), given.get("refiner_switch"), catalog),
        "loras": lora_uses.of(given.get("lora"), given.get("lora_weight"), tags, catalog),
        "controls": _controls(given, catalog, model),
    }
    values |= {name: drawn(values[name]) for name in ("seed", "variation_seed") if name in values}
    request = msgspec.convert(msgspec.to_builtins(values), GenerationRequest)
    request = templates.drawn(request, rules.wildcards)
    check(request, catalog, rules)
    return request


def changed(
    request: GenerationRequest, given: Given, catalog: Catalog, rules: Rules
) -> GenerationRequest:
    """A request with some of its options given anew, all parts named as the catalogue does.

    Of options that are no field, `aspect` is one, with the area that the model's own sizes have.
    Raises Refused; whether this machine makes the whole is checked by `check`.
    """
    _check_values(given)
    values: dict[str, Any] = {
        option.field: given[name]
        for name, option in options().items()
        if name in given and not option.item
    }
    model = catalog.get(ModelKind.CHECKPOINT, str(values.get("model", request.model)))
    vae = values.get("vae", request.vae)
    if "aspect" in given:
        settings = settings_of(model, rules)
        width, height = _size(given, model, settings, rules.limits)
        values |= {"width": width, "height": height}
    if "refiner_switch" in given and values.get("refiner", request.refiner) is None:
        raise Refused("option_needs", option="refiner_switch", needs="refiner")
    second = values.get("variation_seed", request.variation_seed)
    if values.get("variation_strength") and second is None:
        values["variation_seed"] = RANDOM_SEED
    values |= {name: drawn(values[name]) for name in ("seed", "variation_seed") if name in values}
    values |= {
        "model": model.name,
        "vae": None if vae is None else catalog.get(ModelKind.VAE, str(vae)).name,
        **_refiner(values.get("refiner", request.refiner), given.get("refiner_switch"), catalog),
    }
    if "sampler" in given or "schedule" in given:
        schedule = given.get("schedule", None if "sampler" in given else request.schedule)
        values |= _sampling(str(values.get("sampler", request.sampler)), schedule)
    return request.with_(**values)


def drawn(seed: int | None) -> int | None:
    """The seed itself, or one drawn for people who wrote -1."""
    return random.randint(0, RANDOM_SEED_MAX) if seed == RANDOM_SEED else seed


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
    check_prompt("prompt", request.prompt, request.steps)
    check_prompt("negative_prompt", request.negative_prompt, request.steps)
    if take_tags(request.negative_prompt)[1]:
        raise Refused("tag_in_negative")
    if request.enlargement is None:
        _check_size(request, limits, enlarging)
    _at_most("steps", request.steps, limits.steps)
    _at_most("count", request.count, 1 if enlarging else limits.count)
    if request.variation_strength and request.variation_seed is None:
        raise Refused("option_needs", option="variation_strength", needs="variation_seed")
    known_sampler(request.sampler)
    known_schedule(request.schedule)
    if request.enlargement is not None:
        _check_enlargement(request.enlargement, catalog, limits)
        if request.only_enlarges:
            return
        request, enlarging = second_pass(request), True
    if not request.prompt.strip():
        raise Refused("prompt_empty")
    model = catalog.get(ModelKind.CHECKPOINT, request.model)
    check_runnable(model)
    _check_abilities(request, model)
    _check_start_picture(request, model)
    if request.vae is not None:
        vae = catalog.get(ModelKind.VAE, request.vae)
        if not FAMILIES[model.family].takes_vae_of(vae.family):
            raise _mismatch(vae, model)
    models = [model]
    if request.refiner is not None:
        models.append(_check_refiner(request.refiner, model, request, catalog))
    for use in request.loras:
        lora = catalog.get(ModelKind.LORA, use.name)
        if not any(lora.fits(each) for each in models):
            check_same_family(lora, model)
    for control in request.controls:
        net = catalog.get(ModelKind.CONTROLNET, control.name)
        check_same_family(net, model)
        control_uses.check(control, net)
    embedding_uses.check(request, model, catalog)


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


def native_size(model: ModelFile) -> int:
    """The side, in pixels, of the squares that the model was trained on."""
    return model.native_size or FAMILIES[model.family].native_size


def shaped(model: ModelFile, aspect: str, area: int, limits: Limits) -> tuple[int, int]:
    """Width and height in pixels of that shape and area: of the family's own, if it is its area.

    Raises Refused.
    """
    family = FAMILIES.get(model.family)
    buckets = family.buckets if family is not None and area == family.native_size**2 else ()
    return sizes.of(sizes.ratio(aspect), area, limits.side, limits.pixels, buckets)


def _check_size(request: GenerationRequest, limits: Limits, enlarging: bool) -> None:
    side = limits.upscaled_side if enlarging else limits.side
    _at_most("width", request.width, side)
    _at_most("height", request.height, side)
    if not enlarging and request.width * request.height > limits.pixels:
        raise Refused(
            "too_many_pixels",
            width=request.width,
            height=request.height,
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
    _at_most("width", made.width, limits.upscaled_side)
    _at_most("height", made.height, limits.upscaled_side)


def _check_abilities(request: GenerationRequest, model: ModelFile) -> None:
    """What the model's family can't do is refused by the name of the option that asks for it."""
    wanted: tuple[tuple[Ability, str, bool], ...] = (
        ("image_to_image", "init_picture", request.init_picture is not None),
        ("lora", "lora", bool(request.loras)),
        ("controlnet", "control_picture", bool(request.controls)),
        ("clip_skip", "clip_skip", request.clip_skip > 1),
        ("vae", "vae", request.vae is not None),
    )
    family = FAMILIES[model.family]
    for ability, option, asked in wanted:
        if asked and ability not in family.abilities:
            raise Refused("ability_missing", model=model.name, family=family.title, what=option)


def _check_start_picture(request: GenerationRequest, model: ModelFile) -> None:
    if model.variant == EDITING and request.init_picture is None:
        raise Refused("start_picture_needed", model=model.name)


def _check_refiner(
    name: str, model: ModelFile, request: GenerationRequest, catalog: Catalog
) -> ModelFile:
    refiner = catalog.get(ModelKind.CHECKPOINT, name)
    check_refiner(refiner, model)
    _check_start_picture(request, refiner)
    return refiner


def check_refiner(refiner: ModelFile, model: ModelFile | None) -> None:
    """Refuse a refiner that can't be drawn with, or not after that model."""
    check_runnable(refiner)
    if model is not None:
        check_runnable(model)
        refining.check(refiner, model)


def _check_values(given: Given) -> None:
    for name, value in given.items():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str):
                check_text(name, each)
            if name in options() and not isinstance(each, LoraUse):
                options()[name].check(each)


def _check_given(given: Given) -> None:
    _check_values(given)
    if not str(given.get("prompt", "")).strip():
        raise Refused("prompt_empty")
    if "denoising" in given and "init_picture" not in given:
        raise Refused("option_needs", option="denoising", needs="init_picture")
    if "variation_seed" in given and "variation_strength" not in given:
        raise Refused("option_needs", option="variation_seed", needs="variation_strength")
    if "refiner_switch" in given and "refiner" not in given:
        raise Refused("option_needs", option="refiner_switch", needs="refiner")
    for name in ("controlnet", "control_scale"):
        if name in given and "control_picture" not in given:
            raise Refused("option_needs", option=name, needs="control_picture")


def settings_of(model: ModelFile, rules: Rules) -> ModelSettings:
    """What holds for a checkpoint: the owner's table, and below it what lies beside the file."""
    written = {
        fold(name).removesuffix(SAFETENSORS).removesuffix(GGUF): name for name in rules.models
    }
    name = model.name if model.name in rules.models else written.get(fold(model.name), "")
    return rules.models.get(name, ModelSettings()).over(model.defaults)


def _model(given: Given, catalog: Catalog, rules: Rules) -> ModelFile:
    name = str(given.get("model") or default_model(catalog, rules))
    if not name:
        if not catalog.scanned:
            raise Refused("models_being_read", found=len(catalog.all))
        raise Refused("no_models")
    try:
        model = catalog.get(ModelKind.CHECKPOINT, name)
    except Refused as refused:
        if given.get("model") or refused.code != "checkpoint_unknown":
            raise
        raise Refused("default_model_unknown", **refused.params) from None
    check_runnable(model)
    return model


def default_model(catalog: Catalog, rules: Rules) -> str:
    """The checkpoint where nobody names one; "" where there is none.

    The settings', or the first; one as small as the demo only where there is no other.
    """
    if not catalog.scanned:
        # of those that are found so far, the first need not be the first of all
        return rules.default_model
    first = ""
    for model in catalog.checkpoints:
        if model.family in FAMILIES:
            if rules.default_model or native_size(model) >= LARGE:
                return rules.default_model or model.name
            first = first or model.name
    return first


def check_runnable(model: ModelFile) -> None:
    """Refuse a checkpoint of a family that is recognised only."""
    if model.family not in FAMILIES:
        title = RECOGNISED.get(model.family, model.family)
        raise Refused("family_unsupported", model=model.name, family=title)


def check_same_family(part: ModelFile, model: ModelFile) -> None:
    """Refuse a LoRA or ControlNet made for another family than the model's."""
    if not part.may_be_of(model.family):
        raise _mismatch(part, model)
    if not part.fits(model):
        raise Refused(f"{part.kind}_mismatch", name=part.name, model=model.name)


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


def _size(
    given: Given, model: ModelFile, settings: ModelSettings, limits: Limits
) -> tuple[int, int]:
    """Width and height in pixels.

    An aspect keeps the area of the model's native square, in a shape that its family was trained
    on where there are such, or has the nearest that the limits allow.
    """
    native = native_size(model)
    width, height = settings.width or native, settings.height or native
    if "aspect" in given:
        if "width" in given or "height" in given:
            raise Refused("aspect_and_size")
        width, height = shaped(model, str(given["aspect"]), width * height, limits)
    return int(_number(given, "width", width)), int(_number(given, "height", height))


def _controls(given: Given, catalog: Catalog, model: ModelFile) -> tuple[ControlUse, ...]:
    """A control picture without a named ControlNet takes the only one that fits the model."""
    if "control_picture" not in given:
        return ()
    picture = str(given["control_picture"])
    scale = _number(given, "control_scale", 1.0) if "control_scale" in given else None
    if "controlnet" in given:
        return (control_uses.of(str(given["controlnet"]), picture, scale, catalog),)
    fitting = [net.name for net in catalog.controlnets if net.fits(model)]
    if not fitting:
        raise Refused("no_controlnets", model=model.name)
    if len(fitting) > 1:
        raise Refused("controlnet_unnamed", names=", ".join(sorted(fitting)[:5]))
    return (ControlUse(name=fitting[0], picture=picture, scale=1.0 if scale is None else scale),)


def _refiner(asked: object, switch: object, catalog: Catalog) -> dict[str, str | float | None]:
    """The refiner of a request, and where it takes over if that is said."""
    if asked is None:
        return {}
    name, share = refining.of(str(asked), None if switch is None else float(str(switch)), catalog)
    return {"refiner": name, **({} if share is None else {"refiner_switch": share})}


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


def _sampling(name: str, schedule: object) -> dict[str, str]:
    """Sampler and schedule of a request: what is said of the schedule goes before what the name of
    the sampler says.
    """
    sampler, told = known_sampler(name)
    chosen = known_schedule(str(schedule)) if schedule is not None else told or AUTOMATIC
    return {"sampler": sampler, "schedule": chosen}


def _at_most(option: str, value: int, high: int) -> None:
    if value > high:
        low = options()[option].low or 0
        raise Refused("out_of_bounds", option=option, value=value, low=low, high=high)


def _number(given: Given, name: str, default: float) -> float:
    value = given.get(name, default)
    return value if isinstance(value, int | float) else float(str(value))


def _first(*values: Any) -> Any:
    """The first that was set; 0 counts as set."""
    return next(value for value in values if value is not None)
