"""From what a person gave to a whole request: defaults filled in, everything checked."""

import random
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from generation import (
    control_requests,
    control_uses,
    drafting,
    finishing,
    hires_choice,
    image_prompts,
    lora_uses,
    mask_words,
    outpainting_infotext,
    references,
    refining,
    sizes,
    templates,
)
from generation.abilities import EDITING, edits
from generation.catalog import Catalog
from generation.checks import check, check_runnable, known_sampler, known_schedule
from generation.families import FAMILIES, Family, family_of
from generation.model_settings import ModelSettings
from generation.models import ModelFile, ModelKind
from generation.name_search import fold
from generation.prompts import take_tags
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import IMAGE_GUIDANCE, RANDOM_SEED, RANDOM_SEED_MAX, check_text
from generation.request_options import options
from generation.request_parts import LoraUse
from generation.rules import Limits, Rules, default_model, native_size, settings_of, shaped
from generation.samplers import AUTOMATIC

Given = Mapping[str, str | int | float | tuple[str | LoraUse, ...]]
"""Values by option name; pictures by the hash that the store gave them.

`lora` is a name, a `NAME:WEIGHT`, or several of these; `controlnet` a ControlNet and what is
written behind it, or several, and `control_picture` one picture for all or one for each.
"""


def complete(
    given: Given,
    catalog: Catalog,
    rules: Rules,
    pictures: references.Sizes = references.NO_SIZES,
    usual: Collection[str] = (),
) -> GenerationRequest:
    """The request that `given` means, with the defaults of the model and its family filled in; of
    the pictures in it, these sizes are known. `usual` are the options in it that nobody gave: they
    only go along with others.

    Raises Refused, with what to change, for anything that is wrong with it.
    """
    _check_given(given)
    prompt, tags = take_tags(str(given["prompt"]))
    prompt = prompt.strip()
    if not prompt:
        raise Refused("prompt_empty")
    model = _model(given, catalog, rules)
    family = family_of(model)
    settings = settings_of(model, rules)
    width, height = _size(given, model, settings, rules.limits, pictures)
    values: dict[str, Any] = {
        "steps": _first(settings.steps, family.steps),
        "guidance_scale": _first(settings.guidance_scale, family.guidance_scale),
        "sampler": _first(settings.sampler, family.sampler),
        "schedule": settings.schedule,
        "clip_skip": _first(settings.clip_skip, 1),
        "negative_prompt": _first(settings.negative_prompt, ""),
        "vae": settings.vae,
        "seed": RANDOM_SEED,
        "conventions": rules.conventions,
        "format": rules.output.format,
        "quality": rules.output.quality,
    }
    if given.get("variation_strength"):
        values["variation_seed"] = RANDOM_SEED
    if "extension" in given:
        values["extension"] = outpainting_infotext.read(str(given["extension"]))
    masked = not {"mask", "mask_words", "extension"}.isdisjoint(given)
    if masked or (edits(model) and "init_picture" in given):
        values["denoising_strength"] = 1.0
    if model.variant == EDITING:
        values["image_guidance_scale"] = IMAGE_GUIDANCE
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
        **_sampling(str(values["sampler"]), values["schedule"], family),
        "vae": catalog.get(ModelKind.VAE, values["vae"]).name
        if values["vae"] is not None
        else None,
        **_refiner(values.get("refiner"), given.get("refiner_switch"), catalog),
        "loras": lora_uses.of(given.get("lora"), given.get("lora_weight"), tags, catalog),
        **_faces(values, catalog),
        **_cutout(values.get("cutout"), catalog),
        **mask_words.named(values, catalog),
    }
    values["image_prompts"] = image_prompts.of_given(given, catalog, model)
    values["controls"] = control_requests.of(given, catalog, model, values["loras"])
    shows = given.get("show_control") == "on" and "show_control" not in usual
    if shows and not values["controls"] and values.get("mask_words") is None:
        raise Refused("option_needs", option="show_control", needs="control_picture")
    values = control_requests.without_read(values, given, catalog)
    values |= {name: drawn(values[name]) for name in ("seed", "variation_seed") if name in values}
    request = msgspec.convert(msgspec.to_builtins(values), GenerationRequest)
    own = given.keys() - {*usual}
    request = drafting.settled(request, own, catalog, rules)
    request = hires_choice.settled(request, given, catalog, rules, usual=usual)
    if request.mode == drafting.HD and "hires" not in own:
        request = drafting.with_hires(request, catalog, rules)
    request = templates.drawn(request, rules.wildcards)
    check(request, catalog, rules)
    return request


def changed(
    request: GenerationRequest,
    given: Given,
    catalog: Catalog,
    rules: Rules,
    before: GenerationRequest | None = None,
) -> GenerationRequest:
    """A request with some of its options given anew, all parts named as the catalogue does; if it
    has another size than `before`, that may give it a hires pass.

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
    for name, option in options().items():
        if name in given and option.lacks(given) and not request.has(option.needs):
            raise Refused("option_needs", option=name, needs=option.needs)
    _check_faces(given, values.get("faces", request.faces))
    second = values.get("variation_seed", request.variation_seed)
    if values.get("variation_strength") and second is None:
        values["variation_seed"] = RANDOM_SEED
    values |= {name: drawn(values[name]) for name in ("seed", "variation_seed") if name in values}
    values["image_prompts"] = image_prompts.changed(request.image_prompts, given, catalog)
    values |= {
        "model": model.name,
        "vae": None if vae is None else catalog.get(ModelKind.VAE, str(vae)).name,
        **_refiner(values.get("refiner", request.refiner), given.get("refiner_switch"), catalog),
        **_faces({"faces": request.faces, "face_model": request.face_model} | values, catalog),
        **_cutout(values.get("cutout"), catalog),
        **mask_words.named(
            {"mask_words": request.mask_words, "mask_model": request.mask_model} | values, catalog
        ),
    }
    if model.variant == EDITING:
        told = values.get("image_guidance_scale", request.image_guidance_scale)
        values["image_guidance_scale"] = IMAGE_GUIDANCE if told is None else told
    if "sampler" in given or "schedule" in given:
        schedule = given.get("schedule", None if "sampler" in given else request.schedule)
        sampler, family = str(values.get("sampler", request.sampler)), FAMILIES.get(model.family)
        values |= _sampling(sampler, schedule, family)
    if "aspect" in given and "hires" not in given and "x" in (request.hires or ""):
        # of the old shape
        values["hires"] = hires_choice.factor_of(request)
    uses = [control_uses.resolved(use, catalog) for use in request.controls]
    done = request.with_(**values, controls=msgspec.to_builtins(uses))
    sized = before is not None and (done.width, done.height) != (before.width, before.height)
    done = hires_choice.settled(done, given, catalog, rules, sized=sized)
    return done if before is None else drafting.edited(done, given, before, catalog, rules)


def drawn(seed: int | None) -> int | None:
    """The seed itself, or one drawn for people who wrote -1."""
    return random.randint(0, RANDOM_SEED_MAX) if seed == RANDOM_SEED else seed


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
    for name, option in options().items():
        if name in given and option.lacks(given):
            raise Refused("option_needs", option=name, needs=option.needs)
    if "variation_seed" in given and "variation_strength" not in given:
        raise Refused("option_needs", option="variation_seed", needs="variation_strength")
    if "refiner_switch" in given and "refiner" not in given:
        raise Refused("option_needs", option="refiner_switch", needs="refiner")
    if "control_scale" in given and not given.keys() & {"controlnet", "control_picture"}:
        raise Refused("option_needs", option="control_scale", needs="control_picture")
    _check_faces(given, given.get("faces"))


def _check_faces(given: Given, faces: object) -> None:
    """How faces are restored is said only where some are. Raises Refused."""
    if faces in (None, "none"):
        for name in ("face_model", "face_strength", "face_fidelity"):
            if name in given:
                raise Refused("option_needs", option=name, needs="faces")


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
    check_runnable(model, str(given.get("vae") or ""))
    return model


def _size(
    given: Given,
    model: ModelFile,
    settings: ModelSettings,
    limits: Limits,
    pictures: references.Sizes = references.NO_SIZES,
) -> tuple[int, int]:
    """Width and height in pixels.

    An aspect keeps the area of the model's native square, in a shape that its family was trained
    on where there are such, or has the nearest that the limits allow. So does the shape of a
    picture that is edited, where nobody says another.
    """
    native = native_size(model)
    width, height = settings.width or native, settings.height or native
    if "aspect" in given:
        if "width" in given or "height" in given:
            raise Refused("aspect_and_size")
        ratio = sizes.ratio(str(given["aspect"]))
        width, height = shaped(model, ratio, width * height, limits)
    elif edits(model) and not given.keys() & {"width", "height"}:
        edited = pictures.get(str(given.get("init_picture")))
        if edited is not None:
            width, height = shaped(model, edited[0] / edited[1], width * height, limits)
    return int(_number(given, "width", width)), int(_number(given, "height", height))


def _refiner(asked: object, switch: object, catalog: Catalog) -> dict[str, str | float | None]:
    """The refiner of a request, and where it takes over if that is said."""
    if asked is None:
        return {}
    name, share = refining.of(str(asked), None if switch is None else float(str(switch)), catalog)
    return {"refiner": name, **({} if share is None else {"refiner_switch": share})}


def _faces(values: Mapping[str, Any], catalog: Catalog) -> dict[str, str]:
    """What restores the faces of a request, as the catalogue calls it; where none are, nothing may
    be said of how.
    """
    if values.get("faces", "none") != "none":
        return {"face_model": finishing.restorer(str(values.get("face_model") or ""), catalog).name}
    return {}


def _cutout(asked: object, catalog: Catalog) -> dict[str, str]:
    """What removes a request's background, as the catalogue calls it."""
    if asked is None or fold(str(asked)) == "none":
        return {} if asked is None else {"cutout": "none"}
    return {"cutout": finishing.remover(str(asked), catalog).name}


def _sampling(name: str, schedule: object, family: Family | None) -> dict[str, str]:
    """Sampler and schedule of a request: what is said of the schedule goes before what the name of
    the sampler says, and that before what is usual in the model's family.
    """
    sampler, told = known_sampler(name)
    chosen = known_schedule(str(schedule)) if schedule is not None else told or AUTOMATIC
    if chosen == AUTOMATIC and family is not None:
        chosen = family.schedule or AUTOMATIC
    return {"sampler": sampler, "schedule": chosen}


def _number(given: Given, name: str, default: float) -> float:
    value = given.get(name, default)
    return value if isinstance(value, int | float) else float(str(value))


def _first(*values: Any) -> Any:
    """The first that was set; 0 counts as set."""
    return next(value for value in values if value is not None)
