"""What a graph of ComfyUI can say of a request; all else is refused by the name of its option."""

from typing import Final

from generation import enlarging, hires
from generation.comfyui.graph import LATENT_METHODS, UNION_TYPES
from generation.comfyui.names import Names, theirs
from generation.comfyui.noise_levels import knows
from generation.comfyui.shown import INPAINTING
from generation.comfyui.words import is_spellable
from generation.families import family_of
from generation.families.control import USUAL_KIND, is_shown_mask
from generation.messages import EngineWork, Enlarge, Generate
from generation.models import ModelFile
from generation.programs.expressing import unsaid
from generation.prompts import attention, composed, schedule
from generation.prompts.attention import BREAK
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.samplers import SAMPLERS, SCHEDULES, sampler_of, schedule_of

FAMILIES: Final = frozenset(("sd1", "sd2", "sdxl"))
"""Families whose checkpoints hold all that draws."""
VARIANTS: Final = frozenset(("", INPAINTING))
"""Of their checkpoints."""
NETS: Final = frozenset(("", "union", "union-promax"))
"""Variants of ControlNets."""
LACKING: Final = frozenset(("Restart", "DDIM CFG++", "PLMS", "TCD"))
"""Samplers that ComfyUI lacks."""
SHOWN: Final = 6
"""Samplers or schedule types that are named in the place of one that it lacks."""
SAID: Final = frozenset(
    (
        "prompt",
        "negative_prompt",
        "model",
        "vae",
        "width",
        "height",
        "steps",
        "guidance_scale",
        "sampler",
        "schedule",
        "conventions",
        "seed",
        "count",
        "clip_skip",
        "init_picture",
        "denoising_strength",
        "loras",
        "controls",
        "show_control",
        "mask",
        "mask_blur",
        "mask_mode",
        "masked_content",
        "inpaint_area",
        "mask_padding",
        "differential",
        "extension",
        "tile",
        "hires",
        "hires_upscaler",
        "hires_denoising",
        "hires_steps",
        "hires_guidance",
        "hires_sampler",
        "hires_schedule",
        "hires_prompt",
        "hires_negative_prompt",
        "hires_model",
        "hires_tile",
        "faces",
        "face_model",
        "face_strength",
        "face_fidelity",
        "cutout",
    )
)
"""The fields that a graph says."""


def check(request: GenerationRequest, names: Names | None = None) -> None:
    """Raise Refused for what no graph says; `names` are the server's, once they are known."""
    if request.describing is not None or request.only_enlarges:
        return
    if request.enlargement is not None:
        request = enlarging.second_pass(request)
    if request.conventions != "comfyui":
        raise Refused("comfyui_conventions")
    if option := unsaid(request, SAID):
        raise Refused("comfyui_cant", option=option)
    if request.has("mask"):
        _check_mask(request)
    name = request.hires_upscaler or hires.LATENT
    if name in hires.LATENT_UPSCALERS and name not in LATENT_METHODS:
        raise Refused("comfyui_latents", name=name, others=", ".join(LATENT_METHODS))
    for one in hires.passes(request):
        _check_pass(one, names)


def _check_mask(request: GenerationRequest) -> None:
    if request.masked_content == "latent noise":
        raise Refused("comfyui_cant", option="masked_content")
    if request.masked_content == "latent nothing" and request.differential == "on":
        raise Refused("comfyui_cant", option="differential")


def _check_pass(request: GenerationRequest, names: Names | None) -> None:
    if 0 < request.tile < max(request.width, request.height):
        raise Refused("comfyui_tiles", side=request.tile)
    for use in request.controls:
        if use.mode != "balanced":
            raise Refused("comfyui_control", what="mode")
        if (use.start, use.end) != (0.0, 1.0) and not knows(request):
            raise Refused("comfyui_control_times", sampler=sampler_of(request))
    _check_words(request)
    sampler, falling = theirs(request)
    samplers = [name for name in SAMPLERS if name not in LACKING]
    schedules = [name for name in SCHEDULES if SCHEDULES[name]]
    if names is not None:
        samplers = [name for name in samplers if SAMPLERS[name].comfyui in names.samplers]
        schedules = [name for name in schedules if SCHEDULES[name] in names.schedulers]
    if sampler not in {SAMPLERS[name].comfyui for name in samplers}:
        others = ", ".join(samplers[:SHOWN])
        raise Refused("comfyui_sampler", name=sampler_of(request), others=others)
    if falling not in {SCHEDULES[name] for name in schedules}:
        others = ", ".join(schedules[:SHOWN])
        raise Refused("comfyui_schedule", name=schedule_of(request), others=others)


def check_work(work: EngineWork, names: Names | None = None) -> None:
    """The same, and for files that it can't load, or does not find."""
    check(work.request, names)
    if isinstance(work, Generate):
        _check_models(work)
    files = files_of(work) if isinstance(work, Generate | Enlarge) else ()
    for file in files:
        if file.is_folder:
            raise Refused("comfyui_folder", file=file.shown)
        if names is not None:
            names.of(file)


def _check_models(work: Generate) -> None:
    request = work.request
    for model in work.checkpoints:
        if model.family not in FAMILIES or model.variant not in VARIANTS:
            raise Refused("comfyui_family", model=model.name, family=family_of(model).title)
        timed = any((use.start, use.end) != (0.0, 1.0) for use in request.controls)
        if timed and model.zero_terminal_snr:
            raise Refused("comfyui_control", what="start")
    for one in work.embeddings:
        if not is_spellable(one.name):
            raise Refused("comfyui_cant", option=f"embedding:{one.name}")
    if len(work.controlnets) < len(request.controls):
        raise Refused("comfyui_cant", option="control_picture")
    for use, net in zip(request.controls, work.controlnets, strict=True):
        hidden = request.has("mask") and is_shown_mask(net)
        if net.variant not in NETS or hidden:
            raise Refused("comfyui_cant", option="controlnet")
        if net.variant and (use.kind or USUAL_KIND) not in UNION_TYPES:
            raise Refused("comfyui_control", what="kind")


def files_of(work: Generate | Enlarge) -> tuple[ModelFile, ...]:
    """All that it is to load."""
    upscaler = () if work.upscaler is None else (work.upscaler,)
    if isinstance(work, Enlarge):
        return upscaler
    vae = () if work.vae is None else (work.vae,)
    nets = (*work.loras, *work.controlnets, *work.embeddings)
    return (*work.checkpoints, *vae, *nets, *upscaler)


def _check_words(request: GenerationRequest) -> None:
    """Refuse what A1111's language does with a prompt and ComfyUI takes for text."""
    for option, text in (
        ("prompt", request.prompt),
        ("negative_prompt", request.negative_prompt),
    ):
        if len(composed(text)) > 1:
            raise Refused("comfyui_words", option=option, what="AND")
        if len(schedule(text, request.steps)) > 1:
            raise Refused("comfyui_words", option=option, what="[from:to:when]")
        if BREAK in attention(text):
            raise Refused("comfyui_words", option=option, what="BREAK")
