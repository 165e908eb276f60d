"""What a model's family can't do of a request is refused, and what it does not read is said."""

from typing import Final

from generation import assembly, references
from generation.families import Ability, Family, family_of
from generation.models import ModelFile
from generation.prompts import attention, composed, schedule
from generation.prompts.attention import BREAK
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import FURTHER_PICTURES
from generation.samplers import SAMPLERS, SCHEDULES, sampler_of, schedule_of

EDITING: Final = "instruct-pix2pix"
"""The variant of models that change a picture to start from, and draw none without."""
SHOWN: Final = 4
"""Samplers or schedule types that are named in the place of one that can't be."""


def check(request: GenerationRequest, model: ModelFile) -> None:
    """Refuse what the model's family can't do, by the name of the option that asks for it."""
    own = [use.name for use in request.own_controls]
    wanted: tuple[tuple[Ability, str, bool], ...] = (
        ("image_to_image", "init_picture", request.init_picture is not None),
        ("lora", "lora", bool(request.loras)),
        ("controlnet", "control_picture", any(use.name not in own for use in request.controls)),
        ("clip_skip", "clip_skip", request.clip_skip > 1),
        ("vae", "vae", request.vae is not None),
    )
    family = family_of(model)
    for ability, option, asked in wanted:
        if asked and ability not in family.abilities:
            raise Refused("ability_missing", model=model.name, family=family.title, what=option)
    _check_pictures(request, model, family)
    joins = family.reads_all_weighed and family.guidance == "cfg"
    if request.conventions == "a1111" and not joins and len(composed(request.prompt)) > 1:
        raise Refused("and_unread", model=model.name, family=family.title)
    _check_sides(request, model, family)
    _check_guided(request, model, family)
    if family.prediction == "flow":
        _check_flow(request, model)


def needs_picture(model: ModelFile) -> bool:
    """Whether a checkpoint that can be drawn with draws nothing without a picture."""
    shown = family_of(model).references
    return model.variant == EDITING or (shown is not None and shown.needed)


def edits(model: ModelFile) -> bool:
    """Whether a checkpoint that can be drawn with edits pictures by what the prompt says."""
    return family_of(model).references is not None or model.variant == EDITING


def unread(request: GenerationRequest, model: ModelFile) -> tuple[str, ...]:
    """What of a request changes nothing with that model, and what it lacks to read it, as sentences
    of `bot/locales/`.
    """
    family = family_of(model)
    found = []
    if any(part.optional for part in assembly.missing(model)):
        found.append("encoder_absent")
    if request.mode == "draft" and _is_plain(request):
        found.append("draft_plain")
    if family.guidance != "cfg" and request.negative_prompt.strip():
        found.append("negative_unread")
    if family.guidance == "none" and request.guidance_scale != family.guidance_scale:
        found.append("guidance_unread")
    if references.of(request, family) and request.denoising_strength != 1:
        found.append("denoising_unread")
    if request.image_guidance_scale is not None and model.variant != EDITING:
        found.append("image_guidance_unread")
    if not family.reads_all_weighed and _weighted(request):
        found.append("weights_unread" if not family.weighs_words else "weights_half_read")
    return tuple(found)


def _is_plain(request: GenerationRequest) -> bool:
    """Whether it is a draft that nothing makes fast but fewer steps."""
    full = request.full
    return full is not None and full.lora is None and full.model == request.model


def _weighted(request: GenerationRequest) -> bool:
    entries = schedule(request.prompt, request.steps)
    pieces = [piece for _, text in entries for piece in attention(text)]
    return any(weight != 1 for text, weight in pieces if (text, weight) != BREAK)


def _check_pictures(request: GenerationRequest, model: ModelFile, family: Family) -> None:
    """Several are for models that are shown several, and there is a first; so is that of a mask."""
    for option in (*FURTHER_PICTURES, "mask", "mask_words"):
        if getattr(request, option) is not None and request.init_picture is None:
            raise Refused("option_needs", option=option, needs="init_picture")
    row = family.references
    most = 1 if row is None or not references.of(request, family) else row.most
    if len(request.shown) > most:
        given = (name for name in FURTHER_PICTURES if getattr(request, name) is not None)
        params = {"model": model.name, "family": family.title, "option": list(given)[-1]}
        raise Refused("pictures_one" if most == 1 else "pictures_many", most=most, **params)


def _check_sides(request: GenerationRequest, model: ModelFile, family: Family) -> None:
    step = family.side_step
    sides = {"width": request.width, "height": request.height, "tile": request.tile}
    if request.hires is not None:
        sides |= {"hires_tile": request.hires_tile or 0}
    for option, side in sides.items():
        if side % step:
            nearest = max(step, round(side / step) * step)
            raise Refused(
                "side_step", option=option, value=side, model=model.name, step=step, nearest=nearest
            )


def _check_guided(request: GenerationRequest, model: ModelFile, family: Family) -> None:
    """CFG++ goes by the answer to a negative prompt, which not every model gives."""
    sampler = sampler_of(request)
    if SAMPLERS[sampler].guided and family.guidance != "cfg":
        fitting = [name for name, row in SAMPLERS.items() if row.flow and not row.guided]
        raise Refused("sampler_no_negative", name=sampler, model=model.name, others=_some(fitting))


def _check_flow(request: GenerationRequest, model: ModelFile) -> None:
    sampler, falling = sampler_of(request), schedule_of(request)
    if not SAMPLERS[sampler].flow:
        fitting = [name for name, row in SAMPLERS.items() if row.flow]
        raise Refused("sampler_no_flow", name=sampler, model=model.name, others=_some(fitting))
    if falling in NO_FLOW:
        fitting = [name for name in SCHEDULES if name not in NO_FLOW]
        raise Refused("schedule_no_flow", name=falling, model=model.name, others=_some(fitting))


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN])


NO_FLOW: Final = frozenset(("Align Your Steps",))
"""Schedule types whose levels are those of Stable Diffusion, which has far more noise than flow
models know."""
