"""Presets: named settings of a server, under what a person gives themselves."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from generation import (
    checks,
    completion,
    control_uses,
    enlarging,
    finishing,
    hires,
    hires_sizes,
    image_prompts,
    lora_uses,
    prompt_flags,
    references,
    refining,
)
from generation.catalog import Catalog
from generation.completion import Given
from generation.models import ModelKind
from generation.prompts import check_weights, take_tags
from generation.refusal import Refused
from generation.request import HIRES, GenerationRequest
from generation.request_fields import (
    LORAS_MAX,
    ClipSkip,
    ControlScale,
    Conventions,
    Count,
    FaceChoice,
    FileFormat,
    Guidance,
    HiresSize,
    HiresSteps,
    ImageWeight,
    InpaintArea,
    MaskBlur,
    MaskedContent,
    MaskPadding,
    Mode,
    Name,
    Pixels,
    Prompt,
    Quality,
    Side,
    Steps,
    Strength,
    Switch,
)
from generation.request_options import options
from generation.request_parts import LoraUse
from generation.rules import Rules

PLACE: Final = "{prompt}"
CONTROL: Final = "\x00-\x1f\x7f-\x9f\u2028\u2029"
NOT_IN_NAMES: Final = re.compile(f"[:{CONTROL}]")
"""What can't be typed, or sent in a button's id."""
STARTERS_MAX: Final = 10
STYLES_MAX: Final = 5


class Preset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every field but the name may be left out, and then decides nothing."""

    name: Annotated[str, Meta(min_length=1, max_length=50)]
    description: Annotated[str, Meta(max_length=200)] = ""
    model: Name | None = None
    vae: Name | None = None
    refiner: Name | None = None
    refiner_switch: Strength | None = None
    template: Prompt | None = None
    """Text around `{prompt}`."""
    negative_prompt: Prompt | None = None
    width: Side | None = None
    height: Side | None = None
    steps: Steps | None = None
    guidance: Guidance | None = None
    sampler: Name | None = None
    schedule: Name | None = None
    image_guidance: Guidance | None = None
    clip_skip: ClipSkip | None = None
    conventions: Conventions | None = None
    mode: Mode | None = None
    mask_blur: MaskBlur | None = None
    masked_content: MaskedContent | None = None
    inpaint_area: InpaintArea | None = None
    mask_padding: MaskPadding | None = None
    differential: Switch | None = None
    hires: HiresSize | None = None
    hires_upscaler: Name | None = None
    hires_denoising: Strength | None = None
    hires_steps: HiresSteps | None = None
    hires_guidance: Guidance | None = None
    hires_sampler: Name | None = None
    hires_schedule: Name | None = None
    hires_prompt: Prompt | None = None
    hires_negative_prompt: Prompt | None = None
    hires_model: Name | None = None
    controlnet: Name | None = None
    control_scale: ControlScale | None = None
    controlnet_2: Name | None = None
    controlnet_3: Name | None = None
    """With their scales; each reads the same picture, or in order its own."""
    ip_adapter: Name | None = None
    image_weight: ImageWeight | None = None
    """Of pictures that are prompts."""
    upscaler: Name | None = None
    second_pass: Strength | None = None
    """Of 🔍, as in EnlargingSettings."""
    faces: FaceChoice | None = None
    face_model: Name | None = None
    face_strength: Strength | None = None
    face_fidelity: Strength | None = None
    show_control: Switch | None = None
    cutout: Name | None = None
    format: FileFormat | None = None
    quality: Quality | None = None
    max_steps: Steps | None = None
    max_count: Count | None = None
    max_pixels: Pixels | None = None
    roles: tuple[int, ...] = ()
    """Ids of the roles that may use it; everybody where there are none."""
    loras: Annotated[tuple[LoraUse, ...], Meta(max_length=LORAS_MAX)] = ()


FACES: Final = ("faces", "face_model", "face_strength", "face_fidelity")
GIVEN: Final = (
    "model",
    "vae",
    "refiner",
    "refiner_switch",
    "negative_prompt",
    "width",
    "height",
    "steps",
    "guidance",
    "image_guidance",
    "sampler",
    "schedule",
    "clip_skip",
    "conventions",
    "mode",
    "show_control",
    *FACES,
    "cutout",
    "format",
    "quality",
    "mask_blur",
    "masked_content",
    "inpaint_area",
    "mask_padding",
    "differential",
    *(name for name in HIRES if name != "hires_tile"),
)
"""Fields that are options of the same name."""


EXAMPLES: Final = {
    "name": '"portrait"',
    "description": '"for portraits"',
    "template": '"{prompt}, film grain"',
    "negative_prompt": '"text, watermark"',
    "model": '"as /models has it"',
    "vae": '"a name"',
    "refiner": '"as /models has it"',
    "refiner_switch": "0.8",
    "width": "1024",
    "height": "1024",
    "steps": "30",
    "guidance": "5.0",
    "image_guidance": "1.5",
    "sampler": '"DPM++ 2M"',
    "schedule": '"Karras"',
    "clip_skip": "2",
    "conventions": '"comfyui"',
    "mode": '"draft"',
    "mask_blur": "4",
    "masked_content": '"fill"',
    "inpaint_area": '"only masked"',
    "mask_padding": "32",
    "differential": '"on"',
    "hires": '"2"',
    "hires_upscaler": '"Latent"',
    "hires_denoising": "0.7",
    "hires_steps": "15",
    "hires_guidance": "5.0",
    "hires_sampler": '"DPM++ 2M"',
    "hires_schedule": '"Karras"',
    "hires_prompt": '"text of the second pass"',
    "hires_negative_prompt": '"text, watermark"',
    "hires_model": '"as /models has it"',
    "controlnet": '"a name"',
    "control_scale": "0.8",
    "controlnet_2": '"a name:0.5:pre=depth"',
    "controlnet_3": '"a name:0.5:pre=pose"',
    "show_control": '"on"',
    "ip_adapter": '"a name:kind=style:end=0.8"',
    "image_weight": "0.7",
    "upscaler": '"a name, or Lanczos"',
    "second_pass": "0.3",
    "faces": '"all"',
    "face_model": '"a name, or CodeFormer"',
    "face_strength": "0.8",
    "face_fidelity": "0.5",
    "cutout": '"auto"',
    "format": '"webp"',
    "quality": "90",
    "max_steps": "50",
    "max_count": "4",
    "max_pixels": "1048576",
    "roles": "[123456789012345678]",
    "loras": '[{ name = "as /loras has it", weight = 0.8 }]',
}
"""Every key as it may stand in TOML."""


def complete(
    given: Given,
    preset: Preset | None,
    catalog: Catalog,
    rules: Rules,
    pictures: references.Sizes = references.NO_SIZES,
) -> GenerationRequest:
    """The request that a person's options mean over a preset, as `completion.complete` has it.
    Raises Refused.
    """
    if preset is None:
        return completion.complete(given, catalog, rules, pictures)
    template, tags = take_tags(preset.template or "")
    if tags:
        preset = msgspec.structs.replace(preset, template=template)
    merged = apply(preset, given)
    usual = merged.keys() - given.keys()
    request = completion.complete(merged, catalog, rules, pictures, usual)
    # a LoRA that the person names comes on top of the preset's, or takes its place
    uses = lora_uses.over(preset.loras, lora_uses.of(None, None, tags, catalog), catalog)
    if not uses:
        return request
    uses = lora_uses.over(uses, request.loras, catalog)
    if len(uses) > LORAS_MAX:
        raise Refused("preset_loras", name=preset.name, high=LORAS_MAX)
    request = request.with_(loras=msgspec.to_builtins(uses))
    checks.check(request, catalog, rules)
    return request


def apply(preset: Preset, given: Given) -> Given:
    """A preset's settings under what a person gave, which always wins; its text around theirs."""
    under = {name: getattr(preset, name) for name in GIVEN if not options()[name].lacks(given)}
    if "aspect" in given:
        under |= {"width": None, "height": None}
    if preset.refiner is None or "refiner" in given:
        # where another one takes over is said with its name
        under["refiner_switch"] = None
    if "init_picture" in given or prompt_flags.hires_off(given):
        under |= dict.fromkeys(HIRES)
    if "control_picture" in given:
        under |= {} if "controlnet" in given else controls_of(preset)
    if "image_prompt" in given and "ip_adapter" not in given:
        under |= {"ip_adapter": preset.ip_adapter, "image_weight": preset.image_weight}
    if given.get("faces", preset.faces or "none") == "none":
        # how they are restored matters only where they are
        under |= dict.fromkeys(FACES[1:])
    merged = {name: value for name, value in under.items() if value is not None} | dict(given)
    prompt = str(given.get("prompt", "")).strip()
    if preset.template is not None and prompt:
        merged["prompt"] = preset.template.replace(PLACE, prompt)
    return merged


def controls_of(preset: Preset) -> dict[str, Any]:
    """Its ControlNets, as somebody would give them."""
    texts = (preset.controlnet, preset.controlnet_2, preset.controlnet_3)
    named = tuple(text for text in texts if text is not None)
    scale = {} if preset.control_scale is None else {"control_scale": preset.control_scale}
    if len(named) == 1:
        return {"controlnet": named[0], **scale}
    return {"controlnet": named, **scale} if named else scale


def check_bounds(preset: Preset, request: GenerationRequest, *, enlarging: bool = False) -> None:
    """Refuse what goes over the preset's own bounds. `enlarging` a picture sets a size of its own,
    and nothing else is free.
    """
    width, height = request.drawn_size
    pixels = width * height
    steps = max(one.steps for one in hires.passes(request))
    for what, asked, most in (
        ("steps", steps, preset.max_steps),
        ("count", request.count, preset.max_count),
    ):
        if most is not None and asked > most:
            raise Refused("preset_bound", name=preset.name, what=what, value=asked, high=most)
    if not enlarging and preset.max_pixels is not None and pixels > preset.max_pixels:
        raise Refused("preset_bound_pixels", name=preset.name, value=pixels, high=preset.max_pixels)


def check_roles(preset: Preset, roles: Sequence[int]) -> None:
    """Refuse whoever has none of the roles that a preset is for."""
    if preset.roles and not set(preset.roles) & set(roles):
        names = ", ".join(f"<@&{role}>" for role in preset.roles[:5])
        raise Refused("preset_for_roles", name=preset.name, roles=names)


def check(preset: Preset, catalog: Catalog) -> None:
    """Refuse a preset that names what is not there."""
    model = None
    if preset.model is not None:
        model = catalog.get(ModelKind.CHECKPOINT, preset.model)
    if preset.vae is not None:
        catalog.get(ModelKind.VAE, preset.vae)
    for text in (preset.controlnet, preset.controlnet_2, preset.controlnet_3):
        if text is None:
            continue
        use = control_uses.of(text, "", None, catalog)
        net = control_uses.reader(use.name, catalog)
        control_uses.check(use, net, catalog)
        if model is not None:
            checks.check_reads(net, [model])
    if preset.ip_adapter is not None:
        image_prompts.check_named(preset.ip_adapter, model, catalog)
    for lora in preset.loras:
        part = catalog.get(ModelKind.LORA, lora.name)
        if model is not None:
            checks.check_same_family(part, model)
    if preset.refiner is not None:
        name, _ = refining.of(preset.refiner, None, catalog)
        if name is not None:
            checks.check_refiner(catalog.get(ModelKind.CHECKPOINT, name), model)
    if preset.sampler is not None:
        checks.known_sampler(preset.sampler)
    if preset.schedule is not None:
        checks.known_schedule(preset.schedule)
    if preset.hires is not None:
        try:
            hires_sizes.read(preset.hires)
        except ValueError:
            raise Refused("hires_wrong", value=preset.hires) from None
    if preset.hires_upscaler is not None:
        hires.find(preset.hires_upscaler, catalog)
    if preset.hires_sampler is not None:
        checks.known_sampler(preset.hires_sampler)
    if preset.hires_schedule is not None:
        checks.known_schedule(preset.hires_schedule)
    if preset.hires_model is not None:
        own = catalog.get(ModelKind.CHECKPOINT, preset.hires_model)
        checks.check_runnable(own)
        if model is not None:
            refining.check_latents(own, model)
    if preset.cutout not in (None, "none"):
        finishing.remover(preset.cutout or "", catalog)
    if preset.face_model is not None:
        finishing.restorer(preset.face_model, catalog)
    if preset.upscaler is not None:
        enlarging.find(preset.upscaler, catalog)
    template, tags = take_tags(preset.template or "")
    check_weights("template", template)
    for option in ("negative_prompt", "hires_prompt", "hires_negative_prompt"):
        check_weights(option, getattr(preset, option) or "")
    lora_uses.of(None, None, tags, catalog)


def without_roles(preset: Preset) -> Preset:
    """The same for everybody."""
    return msgspec.structs.replace(preset, roles=())
