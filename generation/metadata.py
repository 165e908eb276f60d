"""What a picture carries inside its file: A1111's infotext, and our own request to replay."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from generation import (
    control_infotext,
    face_words,
    hires_infotext,
    image_prompt_infotext,
    outpainting_infotext,
    picture_files,
    samplers,
)
from generation.enlarging import NO_UPSCALER
from generation.infotext_pairs import pairs, quoted
from generation.numerics import Numerics
from generation.prompts import written_tag
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_options import exact, options
from generation.request_parts import Enlargement, LoraUse

INFOTEXT_MAX: Final = 20_000
"""Characters of an infotext that is read: twice what the longest prompts make."""
NEGATIVE: Final = "Negative prompt:"
TENSORS: Final = "tensors"
"""Kind of the hashes that A1111 and Civitai know LoRAs by: of the weights without the header."""

EMBEDDING: Final = "embedding:"
"""How the hashes' names begin of learned words (textual inversion)."""

MODULE: Final = "Module"
"""How Forge numbers the files that were parts of a model, its VAE first."""
_MODULE: Final = re.compile(rf"{MODULE} \d{{1,3}}")
KEYS: Final[Mapping[str, str]] = {
    "Steps": "steps",
    "CFG scale": "guidance",
    "Image CFG scale": "image_guidance",
    "Seed": "seed",
    "Variation seed": "variation_seed",
    "Variation seed strength": "variation_strength",
    "Clip skip": "clip_skip",
    "Denoising strength": "denoising",
    "Mask blur": "mask_blur",
    "Mask mode": "mask_mode",
    "Masked content": "masked_content",
    "Inpaint area": "inpaint_area",
    "Masked area padding": "mask_padding",
    "Differential diffusion": "differential",
    "Mask words": "mask_words",
    "Mask threshold": "mask_threshold",
    "Mask growth": "mask_growth",
    "Mask model": "mask_model",
    "Model": "model",
    "VAE": "vae",
    "Refiner switch at": "refiner_switch",
    "Conventions": "conventions",
}
"""What an infotext calls the options that it gives as they are."""
SIGNS: Final = frozenset(("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model"))
"""A line that gives two of these is the parameters and no prompt."""
INPAINT: Final = "Inpaint"
"""How a mask's mode begins in A1111's words."""
NO_VAE: Final = frozenset(("automatic", "none"))
BY_STEPS: Final = "Refiner switch by sampling steps"
"""How A1111 tells it from a switch at a level of noise, which newer versions have by default."""
_HASHED: Final = re.compile(r" \[[0-9a-f]{8,64}\]$")
"""What A1111 writes behind the name of a refiner."""
_STEPS: Final = re.compile(r"(?:(?<=\s)|^)Steps:[ ]*+[0-9]++[ ]*+,")
_INLINE_NEGATIVE: Final = re.compile(rf"\s{NEGATIVE}")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that made one picture.

    `hashes` are SHA-256 by `kind:name`: of the files, and of LoRAs' weights as `tensors:name`.
    """

    request: GenerationRequest
    index: int
    seed: int
    variation_seed: int | None = None
    hashes: dict[str, str] = {}
    versions: dict[str, str] = {}
    numerics: Numerics | None = None


def infotext(about: About) -> str:
    """The text that A1111, ComfyUI's front end and Civitai read.

    Three parts, a line each: prompt, `Negative prompt: …`, and comma-separated parameters.
    """
    request = about.request
    lines = [_with_loras(request)]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in _parameters(about)))
    return "\n".join(lines)


def embed(file: bytes, about: About) -> bytes:
    """The same file, which carries the infotext and our own request."""
    return picture_files.carrying(file, infotext(about), msgspec.json.encode(about))


def _with_loras(request: GenerationRequest) -> str:
    """A1111 names LoRAs inside the prompt."""
    tags = (written_tag(use.name, *map(exact, _weights(use))) for use in request.loras)
    return "".join([request.prompt, *(f" {tag}" for tag in tags)])


def _weights(use: LoraUse) -> tuple[float, ...]:
    """As A1111 has them: one for all, or the text encoder's before the UNet's."""
    return (use.weight,) if use.te_weight is None else (use.te_weight, use.weight)


def _parameters(about: About) -> list[tuple[str, str]]:
    request, made = about.request, about.request.enlargement
    if made is not None and not request.prompt:
        # all that is known of a picture which was not drawn here
        return [*_enlarged(made, about), _version(about)]
    found = [
        ("Steps", str(request.steps)),
        ("Sampler", samplers.sampler_of(request)),
        ("Schedule type", samplers.schedule_of(request)),
        ("CFG scale", exact(request.guidance_scale)),
        *_image_guidance(request),
        ("Seed", str(about.seed)),
        ("Size", f"{request.width}x{request.height}"),
    ]
    checkpoint = about.hashes.get(f"checkpoint:{request.model}")
    if checkpoint:
        found.append(("Model hash", checkpoint[:10]))
    found.append(("Model", quoted(request.model)))
    if request.vae is not None:
        vae = about.hashes.get(f"vae:{request.vae}")
        if vae:
            found.append(("VAE hash", vae[:10]))
        found.append(("VAE", quoted(request.vae)))
    for number, name in enumerate(_modules(about), start=1):
        found.append((f"{MODULE} {number}", quoted(name)))
    if request.refiner is not None:
        refiner = about.hashes.get(f"checkpoint:{request.refiner}")
        name = f"{request.refiner} [{refiner[:10]}]" if refiner else request.refiner
        found.append(("Refiner", quoted(name)))
        found.append(("Refiner switch at", exact(request.refiner_switch)))
        found.append((BY_STEPS, "True"))
    if about.variation_seed is not None:
        found.append(("Variation seed", str(about.variation_seed)))
        found.append(("Variation seed strength", exact(request.variation_strength)))
    if request.lineage:
        earlier = ", ".join(f"{step.seed}: {exact(step.strength)}" for step in request.lineage)
        found.append(("Variation of", quoted(earlier)))
    if request.clip_skip > 1:
        found.append(("Clip skip", str(request.clip_skip)))
    second_pass = made is not None and made.denoising_strength > 0
    if request.init_picture is not None and not second_pass:
        found.append(("Denoising strength", exact(request.denoising_strength)))
        if request.has("mask"):
            found += _masked(request)
    found += hires_infotext.written(request, about.hashes, quoted)
    found += control_infotext.write(request)
    found += image_prompt_infotext.write(request)
    loras = [(bare_name(use.name), _lora_hash(about, use.name)) for use in request.loras]
    if any(short for _, short in loras):
        value = ", ".join(f"{name}: {short}" for name, short in loras if short)
        found.append(("Lora hashes", quoted(value)))
    words = [name for name in about.hashes if name.startswith(EMBEDDING)]
    if words:
        value = ", ".join(
            f"{bare_name(name.removeprefix(EMBEDDING))}: {about.hashes[name][:12]}"
            for name in words
        )
        found.append(("TI hashes", quoted(value)))
    if request.faces_drawn is not None:
        found += _told_of_faces(face_words.written(request.faces_drawn, about.hashes))
    if request.cutout != "none":
        found.append((face_words.CUTOUT, quoted(request.cutout)))
    if made is not None:
        found += _enlarged(made, about)
    if request.conventions != "a1111":
        found.append(("Conventions", request.conventions))
    return [*found, _version(about)]


def _image_guidance(request: GenerationRequest) -> list[tuple[str, str]]:
    """As A1111 has it, of models that edit with it alone."""
    scale = request.image_guidance_scale
    return [] if scale is None else [("Image CFG scale", exact(scale))]


def _masked(request: GenerationRequest) -> list[tuple[str, str]]:
    """As A1111 has it, which says what is not as usual."""
    found = [("Mask blur", str(request.mask_blur))]
    if request.mask_mode != "masked":
        found.append(("Mask mode", f"{INPAINT} {request.mask_mode}"))
    if request.masked_content != "original":
        found.append(("Masked content", request.masked_content))
    if request.inpaint_area != "whole picture":
        found.append(("Inpaint area", request.inpaint_area.capitalize()))
        found.append(("Masked area padding", str(request.mask_padding)))
    if request.differential == "on":
        found.append(("Differential diffusion", "on"))
    if request.extension is not None:
        written = outpainting_infotext.written(request.extension)
        found.append((outpainting_infotext.KEY, quoted(written)))
    if request.mask_words is not None:
        found.append(("Mask words", quoted(request.mask_words)))
        found.append(("Mask threshold", exact(request.mask_threshold)))
        found.append(("Mask growth", str(request.mask_growth)))
        if request.mask_model is not None:
            found.append(("Mask model", quoted(request.mask_model)))
    return found


def _modules(about: About) -> list[str]:
    """The files of the parts that the model did not bring with it, and that nobody chose."""
    kinds = [key.partition(":")[::2] for key in about.hashes]
    vaes = [name for kind, name in kinds if kind == "vae" and name != about.request.vae]
    return vaes + [name for kind, name in kinds if kind == "text_encoder"]


def _enlarged(made: Enlargement, about: About) -> list[tuple[str, str]]:
    """As A1111 has it of a second pass (its hires. fix), and of an upscaler alone (its extras)."""
    name = quoted(made.upscaler)
    if made.denoising_strength and about.request.hires is None:
        found = [
            ("Denoising strength", exact(made.denoising_strength)),
            ("Hires resize", f"{made.width}x{made.height}"),
            ("Hires upscaler", name),
        ]
    elif made.upscaler == NO_UPSCALER:
        found = []
    else:
        found = [
            ("Postprocess upscale by", exact(round(made.factor, 4))),
            ("Postprocess upscaler", name),
        ]
        if made.denoising_strength:
            found.append(("Postprocess denoising strength", exact(made.denoising_strength)))
    upscaler = about.hashes.get(f"upscaler:{made.upscaler}")
    if upscaler:
        found.append(("Upscaler hash", upscaler[:10]))
    if made.faces is not None:
        found += _told_of_faces(face_words.extras(made.faces, about.hashes))
    if made.cutout and made.cutout != about.request.cutout:
        found.append((face_words.CUTOUT, quoted(made.cutout)))
    return found


def _told_of_faces(told: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(key, quoted(value)) for key, value in told]


def _version(about: About) -> tuple[str, str]:
    return "Version", f"darkroom {about.versions.get('darkroom', '')}".strip()


def _lora_hash(about: About, name: str) -> str:
    """Twelve digits of the weights' hash; of what was made before it was kept, of the file's."""
    whole = about.hashes.get(f"{TENSORS}:{name}") or about.hashes.get(f"lora:{name}", "")
    return whole[:12]


def bare_name(name: str) -> str:
    """A name in a list of `name: hash`: commas, colons and breaks are left out, as A1111 does."""
    return re.sub(r"[,:\s]+", " ", re.sub(r"[,:]", "", name)).strip()


Told = str | int | float | tuple[str, ...]


class Infotext(msgspec.Struct, frozen=True):
    """What generation data say: a prompt, options by name, and the keys that mean none here."""

    prompt: str
    given: dict[str, Told]
    ignored: tuple[str, ...] = ()
    extension: str = ""
    """The larger canvas of its start picture, as generation.outpainting_infotext writes it."""
    parameters: dict[str, str] = {}
    """All that stands behind the prompts, by key, as it is written."""


def read_infotext(text: str) -> Infotext | None:
    """The infotext that a text is: A1111's three parts, in lines or, pasted into a field, in one.

    None where it is none but a plain prompt. Values are parsed and not yet checked. Raises Refused
    for a value that can't be read.
    """
    if len(text) > INFOTEXT_MAX:
        raise Refused("too_long", option="prompt", length=len(text), high=INFOTEXT_MAX)
    head, parameters, lines = _parts(text)
    if lines:
        prompt, negative, rest = f"\n{head}".partition(f"\n{NEGATIVE}")
        prompt = prompt[1:]
    else:
        found = _INLINE_NEGATIVE.search(head)
        prompt, negative, rest = head, "", ""
        if found is not None:
            prompt, negative, rest = head[: found.start()], NEGATIVE, head[found.end() :]
    if not negative and not parameters:
        return None
    given, ignored = _options(parameters)
    if negative:
        given["negative_prompt"] = rest.removeprefix(" ")
    extension = parameters.get(outpainting_infotext.KEY, "")
    return Infotext(prompt, given, ignored, extension, parameters)


def _parts(text: str) -> tuple[str, dict[str, str], bool]:
    """The prompts, the parameters behind them, and whether these parts have lines of their own."""
    head, break_, last = text.rpartition("\n")
    parameters = _pairs(last)
    if parameters:
        return head, parameters, True
    starts = [match.start() for match in _STEPS.finditer(text)]
    if starts and (parameters := _pairs(text[starts[-1] :])):
        before = text[: starts[-1]]
        in_lines = before.endswith("\n") or not before
        return before.rstrip() if not in_lines else before[:-1], parameters, in_lines
    return text, {}, bool(break_)


def _pairs(line: str) -> dict[str, str]:
    """`Steps: 20, Sampler: Euler, …` by key; nothing where the line is no such list."""
    found = pairs(line, SIGNS)
    return found if len(SIGNS & found.keys()) >= 2 else {}


def _options(parameters: Mapping[str, str]) -> tuple[dict[str, Told], tuple[str, ...]]:
    """The options that parameters give, and the keys that give none."""
    given: dict[str, Told]
    found, hires = hires_infotext.read(parameters)
    given = dict(found)
    given |= face_words.read(parameters)
    ignored: list[str] = []
    for key, value in parameters.items():
        if key in hires:
            continue
        if key == "Sampler":
            given |= _sampling(value, parameters)
        elif key == "Size":
            size = re.fullmatch(r"\s*([0-9]{1,9})\s*[x×]\s*([0-9]{1,9})\s*", value)
            if size is None:
                raise Refused("infotext_value", key=key, value=value[:50])
            given |= {"width": int(size[1]), "height": int(size[2])}
        elif key == "Refiner":
            name = _HASHED.sub("", value)
            if name.strip().casefold() not in NO_VAE:
                given["refiner"] = options()["refiner"].parse(name)
        elif (
            key == BY_STEPS
            or (given.get("faces") and key in face_words.KEYS)
            or key in (face_words.CUTOUT, outpainting_infotext.KEY)
            or _MODULE.fullmatch(key)
            or (key == "VAE" and value.casefold() in NO_VAE)
            or image_prompt_infotext.OWN.fullmatch(key)
        ) or control_infotext.UNIT.fullmatch(key):
            continue
        elif key == "Mask mode":
            mode = value.strip().removeprefix(INPAINT)
            given["mask_mode"] = options()["mask_mode"].parse(mode)
        elif key in KEYS:
            given[KEYS[key]] = options()[KEYS[key]].parse(value)
        elif key != "Schedule type":
            ignored.append(key[:50])
    nets, unread = control_infotext.read(parameters)
    if nets:
        given["controlnet"] = nets if len(nets) > 1 else nets[0]
    prompted, more = image_prompt_infotext.read(parameters)
    if prompted:
        given["ip_adapter"] = prompted
    return given, (*ignored, *unread, *more)


def _sampling(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Sampler and schedule; that they are ours is checked later."""
    schedule = parameters.get("Schedule type", "")
    _, told = samplers.read(name) or (name, None)
    if told is not None and not schedule:
        return {"sampler": name}
    # this bot once wrote "Automatic" for what is uniform; without a word, so did A1111 draw
    own = parameters.get("Version", "").startswith("darkroom")
    if not schedule or (schedule == samplers.AUTOMATIC and own):
        schedule = samplers.UNIFORM
    return {"sampler": name, "schedule": schedule}
