"""Presets made of what is there: of a request as it was drawn, and of the models, to begin with."""

from collections.abc import Sequence
from typing import Any

from generation import (
    control_uses,
    image_prompts,
)
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.preset import (
    GIVEN,
    NOT_IN_NAMES,
    PLACE,
    STARTERS_MAX,
    STYLES_MAX,
    Preset,
)
from generation.request import HIRES, GenerationRequest
from generation.request_fields import (
    NAME_MAX,
)
from generation.request_options import exact
from generation.request_parts import ControlUse, ImagePrompt, LoraUse


def of_request(name: str, request: GenerationRequest) -> Preset:
    """A preset of everything that a request has but its prompt, seed and pictures."""
    return Preset(
        name=name,
        model=request.model,
        vae=request.vae,
        refiner=request.refiner,
        refiner_switch=request.refiner_switch if request.refiner is not None else None,
        negative_prompt=request.negative_prompt or None,
        width=request.width,
        height=request.height,
        steps=request.steps,
        guidance=request.guidance_scale,
        image_guidance=request.image_guidance_scale,
        sampler=request.sampler,
        schedule=request.schedule,
        clip_skip=request.clip_skip if request.clip_skip > 1 else None,
        conventions=request.conventions if request.conventions != "a1111" else None,
        **_masked(request),
        **{name: getattr(request, name) for name in GIVEN if name in HIRES},
        controlnet=_control(request.controls[0]) if request.controls else None,
        control_scale=request.controls[0].scale if request.controls else None,
        controlnet_2=_scaled_control(request.controls, 1),
        controlnet_3=_scaled_control(request.controls, 2),
        ip_adapter=_prompted(request.image_prompts[0]) if request.image_prompts else None,
        image_weight=request.image_prompts[0].weight if request.image_prompts else None,
        upscaler=request.enlargement.upscaler if request.enlargement else None,
        second_pass=request.enlargement.denoising_strength if request.enlargement else None,
        faces=request.faces if request.faces != "none" else None,
        face_model=request.face_model if request.faces != "none" else None,
        face_strength=request.face_strength if request.faces != "none" else None,
        face_fidelity=request.face_fidelity if request.faces != "none" else None,
        show_control=request.show_control if request.controls else None,
        cutout=request.cutout if request.cutout != "none" else None,
        format=request.format if request.format != "png" else None,
        quality=request.quality if request.format != "png" else None,
        loras=request.loras,
    )


def _masked(request: GenerationRequest) -> dict[str, Any]:
    """How its mask is drawn, if it has one."""
    names = ("mask_blur", "masked_content", "inpaint_area", "mask_padding", "differential")
    return {name: getattr(request, name) for name in names} if request.has("mask") else {}


def _control(use: ControlUse) -> str:
    """Its name and what it is told; the scale has a field of its own."""
    return f"{use.name}{control_uses.written(use)}"[:NAME_MAX]


def _prompted(prompt: ImagePrompt) -> str:
    return f"{prompt.name}{image_prompts.written(prompt)}"[:NAME_MAX]


def _scaled_control(uses: Sequence[ControlUse], number: int) -> str | None:
    if number >= len(uses):
        return None
    use = uses[number]
    return f"{use.name}:{exact(use.scale)}{control_uses.written(use)}"[:NAME_MAX]


def starters(catalog: Catalog) -> list[Preset] | None:
    """First presets of a new server: one a model that can be drawn with, and some of its LoRAs.

    None while the models are read for the first time.
    """
    if not catalog.scanned:
        return None
    models = [model for model in catalog.checkpoints if model.family in FAMILIES][:STARTERS_MAX]
    found = [Preset(name=_name_of(model.name), model=model.name) for model in models]
    for lora in catalog.loras[:STYLES_MAX]:
        fitting = next((model for model in models if lora.fits(model)), None)
        if fitting is None:
            continue
        words = ", ".join(lora.trigger_words[:3])
        found.append(
            Preset(
                name=_name_of(lora.name),
                model=fitting.name,
                template=f"{words}, {PLACE}" if words else None,
                loras=(LoraUse(name=lora.name),),
            )
        )
    by_key = {preset.name.casefold(): preset for preset in reversed(found)}
    return list(reversed(by_key.values()))


def _name_of(file: str) -> str:
    """A preset's name after a file, which may be called anything."""
    return NOT_IN_NAMES.sub(" ", file)[:50].strip() or "-"
