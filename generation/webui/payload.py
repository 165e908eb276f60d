"""A picture of a request in the words of A1111's API: of `/sdapi/v1/txt2img` and `img2img`."""

import base64
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from generation.hires import LATENT, OF_LATENTS, second_steps
from generation.messages import Generate
from generation.request import GenerationRequest
from generation.request_options import exact
from generation.request_parts import ControlUse, LoraUse
from generation.webui import settings
from generation.webui.expressing import CONTROLNET, left_to_do, second, theirs
from generation.webui.names import WebuiNames

FILLS: Final = {"fill": 0, "original": 1, "latent noise": 2, "latent nothing": 3}
"""What the masked part begins with."""
MODES: Final = {
    "balanced": "Balanced",
    "prompt": "My prompt is more important",
    "control": "ControlNet is more important",
}


class GivenPictures(NamedTuple):
    """The pictures of a request as the webui is given them: PNG files."""

    start: bytes | None = None
    mask: bytes | None = None
    controls: tuple[bytes, ...] = ()


def kind_of(request: GenerationRequest) -> str:
    """What the API calls it."""
    return "txt2img" if request.init_picture is None else "img2img"


def payload_of(
    work: Generate, index: int, names: WebuiNames, given: GivenPictures, task: str
) -> dict[str, Any]:
    """Picture `index` of a request, by the number `task`. Raises Refused for a file that the webui
    has not.
    """
    request = work.request
    sampler, schedule = theirs(request, names)
    loras = zip(request.loras, work.loras, strict=True)
    tags = "".join(_tag(use, names.of(file).name) for use, file in loras)
    variation = request.variation_seeds[index]
    said: dict[str, Any] = {
        "prompt": request.prompt + tags,
        "negative_prompt": request.negative_prompt,
        "styles": [],
        "seed": request.seeds[index],
        "subseed": -1 if variation is None else variation,
        "subseed_strength": 0.0 if variation is None else request.variation_strength,
        "sampler_name": sampler,
        "batch_size": 1,
        "n_iter": 1,
        "steps": request.steps,
        "cfg_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        "restore_faces": left_to_do(work, names).faces != work.finishing.faces,
        "tiling": False,
        "override_settings": _settings(work, names),
        "override_settings_restore_afterwards": True,
        "send_images": True,
        "save_images": False,
        "force_task_id": task,
    }
    if schedule:
        said["scheduler"] = schedule
    if work.refiner is not None:
        said["refiner_checkpoint"] = names.of(work.refiner).name
        said["refiner_switch_at"] = request.refiner_switch
    if request.controls:
        units = [
            _unit(work, number, use, names, given) for number, use in enumerate(request.controls)
        ]
        said["alwayson_scripts"] = {CONTROLNET: {"args": units}}
    if given.start is not None:
        said |= _start(request, given)
    if request.hires is not None:
        said |= _hires(work, names, tags)
    return said


def _tag(use: LoraUse, name: str) -> str:
    """Directly behind the prompt: what is left once it is taken out is the prompt itself."""
    weights = (use.weight,) if use.te_weight is None else (use.te_weight, use.weight)
    return f"<lora:{':'.join((name, *map(exact, weights)))}>"


def _settings(work: Generate, names: WebuiNames) -> dict[str, object]:
    request, restorer = work.request, work.finishing.restorer
    wanted: dict[str, object] = {
        # first, since what follows is of the one that is loaded then
        settings.CHECKPOINT: names.of(work.checkpoint).name,
        **settings.SAME,
        settings.CLIP_SKIP: request.clip_skip,
    }
    vae = None if work.vae is None else names.of(work.vae)
    if names.forge:
        wanted[settings.MODULES] = [] if vae is None else [vae.path]
    else:
        wanted[settings.VAE] = "None" if vae is None else vae.name
    if restorer is not None and left_to_do(work, names).restorer is None:
        wanted[settings.FACES] = restorer.variant
        wanted[settings.FIDELITY] = request.face_fidelity
    return names.pinned(wanted)


def _start(request: GenerationRequest, given: GivenPictures) -> dict[str, Any]:
    assert given.start is not None
    said: dict[str, Any] = {
        "init_images": [_encoded(given.start)],
        "resize_mode": 0,
        "denoising_strength": request.denoising_strength,
        "include_init_images": False,
    }
    if given.mask is not None:
        said |= {
            "mask": _encoded(given.mask),
            "mask_blur": request.mask_blur,
            "mask_round": True,
            "inpainting_fill": FILLS[request.masked_content],
            "inpaint_full_res": request.inpaint_area == "only masked",
            "inpaint_full_res_padding": request.mask_padding,
            "inpainting_mask_invert": int(request.mask_mode == "not masked"),
        }
    return said


def _hires(work: Generate, names: WebuiNames, tags: str) -> dict[str, Any]:
    request = work.request
    assert request.hires is not None
    across, both, down = request.hires.partition("x")
    sampler, schedule = theirs(second(request), names)
    upscaler = request.hires_upscaler or LATENT
    if work.upscaler is not None:
        upscaler = names.of(work.upscaler).name
    own = request.hires_prompt
    denoising = request.hires_denoising
    said: dict[str, Any] = {
        "enable_hr": True,
        "hr_scale": 1.0 if both else float(across),
        "hr_resize_x": int(across) if both else 0,
        "hr_resize_y": int(down) if both else 0,
        "hr_upscaler": upscaler,
        "hr_second_pass_steps": second_steps(request),
        "denoising_strength": OF_LATENTS if denoising is None else denoising,
        "hr_sampler_name": sampler,
        # empty is the first pass's
        "hr_prompt": own + tags if own else "",
        "hr_negative_prompt": request.hires_negative_prompt or "",
    }
    if schedule:
        said["hr_scheduler"] = schedule
    if work.hires_checkpoint is not None:
        said["hr_checkpoint_name"] = names.of(work.hires_checkpoint).name
    if names.forge:
        guidance = request.hires_guidance
        said["hr_cfg"] = request.guidance_scale if guidance is None else guidance
        said["hr_additional_modules"] = ["Use same choices"]
    return said


def _unit(
    work: Generate, number: int, use: ControlUse, names: WebuiNames, given: GivenPictures
) -> Mapping[str, Any]:
    """One of ControlNet's, as the extension's API has it."""
    return {
        "enabled": True,
        # Forge writes it with a capital
        "module": "None" if names.forge else "none",
        "model": names.of(work.controlnets[number]).name,
        "weight": use.scale,
        "image": _encoded(given.controls[number]),
        "resize_mode": "Crop and Resize",
        "guidance_start": use.start,
        "guidance_end": use.end,
        "control_mode": MODES[use.mode],
    }


def _encoded(file: bytes) -> str:
    return base64.b64encode(file).decode()
