"""What A1111's API can say of a request; all else is refused by the name of its option."""

import re
from collections.abc import Collection
from typing import Final

import msgspec

from generation.families import family_of
from generation.families.control import kinds_of
from generation.families.face_restorers import CODEFORMER, GFPGAN
from generation.hires import LATENT_UPSCALERS
from generation.messages import EngineWork, Finishing, Generate
from generation.models import ModelFile, ModelKind
from generation.preprocessors import NONE
from generation.programs.expressing import unsaid
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_parts import ControlUse
from generation.samplers import SAMPLERS, SCHEDULES, UNIFORM, sampler_of, schedule_of
from generation.webui.names import WebuiNames
from generation.webui.settings import FORMAT

FAMILIES: Final = frozenset(("sd1", "sd2", "sdxl"))
"""Families whose checkpoints hold all that draws."""
VARIANTS: Final = frozenset(("", "inpainting"))
SHOWN: Final = 6
"""WebuiNames that are given in the place of one that it lacks."""
SAID: Final = frozenset(
    (
        *("prompt", "negative_prompt", "model", "vae", "refiner", "refiner_switch"),
        *("width", "height", "steps", "guidance_scale", "sampler", "schedule", "conventions"),
        *("seed", "variation_seed", "variation_strength", "count", "clip_skip"),
        *("init_picture", "denoising_strength", "mask", "mask_blur", "mask_mode"),
        *("masked_content", "inpaint_area", "mask_padding"),
        *("hires", "hires_upscaler", "hires_denoising", "hires_steps", "hires_guidance"),
        *("hires_sampler", "hires_schedule", "hires_prompt", "hires_negative_prompt"),
        *("hires_model", "loras", "controls", "show_control"),
        *("faces", "face_model", "face_strength", "face_fidelity", "cutout"),
    )
)
"""The fields that the API says, or that are done by a process of this program's own."""
NETWORKS: Final = re.compile(r"<\w+:[^>]+>")
"""What A1111 takes out of a prompt, wherever it stands: extra networks."""
CONTROLNET: Final = "controlnet"
"""The script, as the extension and Forge call it in lower case."""


def check(request: GenerationRequest, names: WebuiNames | None = None) -> None:
    """Raise Refused for what the API can't say; `names` are the webui's, once they are known."""
    if request.describing is not None or request.only_enlarges:
        return
    if request.enlargement is not None:
        raise Refused("webui_only_draws")
    if request.conventions != "a1111":
        raise Refused("webui_conventions")
    if option := unsaid(request, SAID):
        raise Refused("webui_cant", option=option)
    if request.hires is not None and request.init_picture is not None:
        raise Refused("webui_cant", option="hires")
    for option, text in (
        ("prompt", request.prompt),
        ("hires_prompt", request.hires_prompt or ""),
    ):
        found = NETWORKS.search(text)
        if found is not None:
            raise Refused("webui_words", option=option, what=found[0][:60])
    for use in request.controls:
        _check_control(request, use, names)
    _check_samplers(request, names)
    if names is None:
        return
    if not lossless(names):
        raise Refused("webui_format", format=str(names.options[FORMAT]))
    own = request.hires_guidance
    if own is not None and own != request.guidance_scale and not names.forge:
        raise Refused("webui_cant", option="hires_guidance")


def lossless(names: WebuiNames) -> bool:
    """Whether it hands its pictures out whole."""
    return str(names.options.get(FORMAT, "png")).casefold() == "png"


def check_work(work: EngineWork, names: WebuiNames | None = None) -> None:
    """The same, and for files that it can't load, or does not find."""
    check(work.request, names)
    if not isinstance(work, Generate):
        return
    for model in work.checkpoints:
        if model.family not in FAMILIES or model.variant not in VARIANTS:
            raise Refused("webui_family", model=model.name, family=family_of(model).title)
    for net in work.controlnets:
        if kinds_of(net):
            raise Refused("webui_cant", option="controlnet")
    if len(work.controlnets) < len(work.request.controls):
        raise Refused("webui_cant", option="control_picture")
    for file in files_of(work):
        if file.is_folder:
            raise Refused("webui_folder", file=file.shown)
        if file.kind is ModelKind.LORA and set(file.path.stem) & set("<>:"):
            raise Refused("webui_name", file=file.shown)
        if names is not None:
            names.of(file)
    if names is None:
        return
    upscaler = work.request.hires_upscaler
    if work.upscaler is not None:
        names.of(work.upscaler)
    elif upscaler is not None and work.request.hires is not None:
        _among(upscaler, names.upscalers | LATENT_UPSCALERS.keys(), "webui_upscaler")


def left_to_do(work: Generate, names: WebuiNames) -> Finishing:
    """What the webui does not do itself to a picture that is drawn: it restores all faces, wholly,
    with what it has.
    """
    restorer, request = work.finishing.restorer, work.request
    if (
        restorer is None
        or restorer.variant not in {CODEFORMER, GFPGAN} & names.face_restorers
        or (request.faces, request.face_strength) != ("all", 1.0)
    ):
        return work.finishing
    return msgspec.structs.replace(work.finishing, faces=None, restorer=None, detector=None)


def files_of(work: Generate) -> tuple[ModelFile, ...]:
    """All that it is to load, but for what enlarges and restores faces."""
    vae = () if work.vae is None else (work.vae,)
    return (*work.checkpoints, *work.loras, *vae, *work.controlnets, *work.embeddings)


def theirs(request: GenerationRequest, names: WebuiNames | None) -> tuple[str, str]:
    """A1111's names of a sampler and a schedule type; before 1.9 it had one name for both."""
    sampler, falling = sampler_of(request), schedule_of(request)
    if names is None or names.schedulers:
        return sampler, falling
    return (sampler if falling == UNIFORM else f"{sampler} {falling}"), ""


def second(request: GenerationRequest) -> GenerationRequest:
    """The same, with the sampler and the schedule type of its hires pass."""
    return request.with_(
        sampler=request.hires_sampler or request.sampler,
        schedule=request.hires_schedule or request.schedule,
    )


def _check_samplers(request: GenerationRequest, names: WebuiNames | None) -> None:
    asked = [request] if request.hires is None else [request, second(request)]
    for each in asked:
        sampler, falling = theirs(each, names)
        _among(sampler, names.samplers if names else SAMPLERS.keys(), "webui_sampler")
        if falling:
            _among(falling, names.schedulers if names else SCHEDULES.keys(), "webui_schedule")


def _among(name: str, there: Collection[str], code: str) -> None:
    """Refuse what is not there, and say what is, the project's own names first."""
    if name in there:
        return
    own = [each for each in (*SAMPLERS, *SCHEDULES, *LATENT_UPSCALERS) if each in there]
    others = list(dict.fromkeys((*own, *sorted(there))))
    raise Refused(code, name=name, others=", ".join(others[:SHOWN]))


def _check_control(request: GenerationRequest, use: ControlUse, names: WebuiNames | None) -> None:
    """Whether ControlNet's extension can be told of it."""
    if use.kind is not None:
        raise Refused("webui_control", what="kind")
    if request.inpaint_area == "only masked" and not is_plain(use):
        # the extension cuts out what is drawn before it is made
        raise Refused("webui_control", what="pre" if use.preprocessor != NONE else "fit")
    if names is None:
        return
    if CONTROLNET not in names.scripts:
        raise Refused("webui_no_controlnet")
    if names.forge and (use.start, use.end) != (0.0, 1.0):
        # Forge counts by noise and not by steps
        raise Refused("webui_control", what="start" if use.start else "end")


def is_plain(use: ControlUse) -> bool:
    """Whether its picture is a control picture already, which is cropped where it is to be."""
    return use.preprocessor == NONE and use.fit == "crop"
