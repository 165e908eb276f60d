"""What a graph of ComfyUI can say of a request; all else is refused by the name of its option."""

from collections.abc import Mapping
from typing import Final

from generation.comfyui.names import Names
from generation.families import family_of
from generation.messages import EngineWork, Generate
from generation.models import ModelFile
from generation.programs.expressing import unsaid
from generation.prompts import attention, composed, schedule
from generation.prompts.attention import BREAK
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.samplers import SAMPLERS, SCHEDULES, UNIFORM, sampler_of, schedule_of

FAMILIES: Final = frozenset(("sd1", "sd2", "sdxl"))
"""Families whose checkpoints hold all that draws."""
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
    )
)
"""The fields that a graph says."""
PLAIN: Final[Mapping[str, tuple[str, object]]] = {
    "preprocessor": ("pre", "none"),
    "kind": ("kind", None),
    "start": ("start", 0.0),
    "end": ("end", 1.0),
    "mode": ("mode", "balanced"),
    "fit": ("fit", "crop"),
}
"""What is written behind a ControlNet, and what of it a graph says. When it acts ComfyUI counts by
noise and not by steps."""


def check(request: GenerationRequest, names: Names | None = None) -> None:
    """Raise Refused for what no graph says; `names` are the server's, once they are known."""
    if request.describing is not None or request.enlargement is not None:
        raise Refused("comfyui_only_draws")
    if request.conventions != "comfyui":
        raise Refused("comfyui_conventions")
    if option := unsaid(request, SAID):
        raise Refused("comfyui_cant", option=option)
    for use in request.controls:
        for name, (written, plain) in PLAIN.items():
            if getattr(use, name) != plain:
                raise Refused("comfyui_control", what=written)
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
    assert isinstance(work, Generate), "whatever else there is was refused"
    model = work.checkpoint
    if model.family not in FAMILIES or model.variant:
        raise Refused("comfyui_family", model=model.name, family=family_of(model).title)
    if work.embeddings:
        raise Refused("comfyui_cant", option="embedding")
    for net in work.controlnets:
        if net.variant:
            raise Refused("comfyui_cant", option="controlnet")
    if len(work.controlnets) < len(work.request.controls):
        raise Refused("comfyui_cant", option="control_picture")
    for file in files_of(work):
        if file.is_folder:
            raise Refused("comfyui_folder", file=file.shown)
        if names is not None:
            names.of(file)


def files_of(work: Generate) -> tuple[ModelFile, ...]:
    """All that it is to load."""
    vae = () if work.vae is None else (work.vae,)
    return (work.checkpoint, *work.loras, *vae, *work.controlnets)


def theirs(request: GenerationRequest) -> tuple[str, str]:
    """ComfyUI's names of its sampler and its scheduler."""
    sampler, falling = sampler_of(request), schedule_of(request)
    row = SAMPLERS.get(sampler)
    return row.comfyui if row is not None else sampler, (
        "normal" if falling == UNIFORM else SCHEDULES.get(falling, "")
    )


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
