"""What a graph of ComfyUI can say of a request; all else is refused by the name of its option."""

from collections.abc import Mapping
from typing import Final

from generation import enlarging, hires
from generation.comfyui import loading
from generation.comfyui.graph import LATENT_METHODS, UNION_TYPES
from generation.comfyui.names import Names, theirs
from generation.comfyui.noise_levels import knows
from generation.comfyui.shown import INPAINTING
from generation.comfyui.words import is_spellable
from generation.families import family_of
from generation.families.control import USUAL_KIND, is_shown_mask
from generation.messages import EngineWork, Enlarge, Generate
from generation.models import GGUF, ModelFile, ModelKind
from generation.programs.expressing import unsaid
from generation.prompts import attention, composed, schedule
from generation.prompts.attention import BREAK
from generation.quantisation import FOUR_BITS
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.samplers import SAMPLERS, SCHEDULES, sampler_of, schedule_of

FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "sd1": frozenset(("", INPAINTING)),
    "sd2": frozenset(("", INPAINTING)),
    "sdxl": frozenset(("", INPAINTING)),
    **{family: frozenset(("",)) for family in loading.PARTS},
    "flux": frozenset(("", "schnell")),
}
"""Which variants of which families it is told of."""
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
        if file.path.suffix == GGUF or file.quantisation in FOUR_BITS:
            raise Refused("comfyui_packed", file=file.shown)
        if names is not None:
            parts = file.kind is ModelKind.CHECKPOINT and not loading.is_one_file(file)
            names.of(file, alone=parts and not file.carries)


def _check_models(work: Generate) -> None:
    request = work.request
    for model in work.checkpoints:
        if model.variant not in FAMILIES.get(model.family, ()):
            raise Refused("comfyui_family", model=model.name, family=family_of(model).title)
        if model.family in loading.PARTS:
            _check_parts(work, model)
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


def _check_parts(work: Generate, model: ModelFile) -> None:
    """What of a flow model's request is not told, beside what its files are."""
    request = work.request
    if work.controlnets:
        raise Refused("comfyui_cant", option="controlnet")
    if request.clip_skip > 1:
        raise Refused("comfyui_cant", option="clip_skip")
    if request.masked_content == "latent nothing":
        raise Refused("comfyui_cant", option="masked_content")
    if not loading.is_one_file(model) and not _has_parts(model):
        # some of its text encoders lie in it, and some do not
        raise Refused("comfyui_family", model=model.name, family=family_of(model).title)


def _has_parts(model: ModelFile) -> bool:
    wanted = (*loading.PARTS[model.family].parts, *(() if "vae" in model.carries else ("vae",)))
    return all(part in model.parts for part in wanted)


def files_of(work: Generate | Enlarge) -> tuple[ModelFile, ...]:
    """All that it is to load."""
    upscaler = () if work.upscaler is None else (work.upscaler,)
    if isinstance(work, Enlarge):
        return upscaler
    vae = () if work.vae is None else (work.vae,)
    nets = (*work.loras, *work.controlnets, *work.embeddings)
    parts = (file for model in work.checkpoints for file in loading.files_of(model))
    return (*work.checkpoints, *parts, *vae, *nets, *upscaler)


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
