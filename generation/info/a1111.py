"""The infotext of AUTOMATIC1111's webui, and of the many programs that write as it does.

Sources: the webui's `infotext_utils`, Forge's and SD.Next's keys beside it, Civitai's
`Civitai resources`, and the keys that Fooocus writes in its scheme `a1111`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from generation import control_infotext, lora_uses
from generation.info import json_text
from generation.info.found import FileOption, Info, NamedFile, Note, Said
from generation.infotext_pairs import pairs
from generation.metadata import INFOTEXT_MAX, NO_VAE, Infotext, bare_name, read_infotext
from generation.models import ModelKind
from generation.prompts import take_tags
from generation.refusal import Refused
from generation.request_fields import LORAS_MAX
from generation.request_options import options
from generation.request_parts import LoraUse

PROGRAM: Final = "AUTOMATIC1111"
OWN: Final = "Darkroom"
USED: Final = frozenset(
    (
        *("Model hash", "VAE hash", "Lora hashes", "TI hashes", "TI", "Hashes", "Version", "App"),
        *("Upscaler hash", "Civitai resources", "Civitai metadata", "Lora weights"),
        *("Metadata scheme", "User", "Distilled CFG Scale", "Postprocess upscaler"),
    )
)
"""Keys that options don't hold and that are read all the same, or say nothing of the picture."""
OF_PICTURES: Final = frozenset(("denoising", "image_guidance"))
"""Options that mean nothing without a start picture."""
CONTROL: Final = re.compile(r"ControlNet \d{1,2}|ControlNet")
CONTROL_MODEL: Final = re.compile(
    r"(?:^|, )[Mm]odel: (?P<name>[^,\[\]]{1,300})(?:\[(?P<hash>[^\]]{1,80})\])?"
)
DIGITS: Final = re.compile(r"[0-9a-fA-F]{8,64}")
OF_RESOURCES: Final[Mapping[str, ModelKind]] = {
    "checkpoint": ModelKind.CHECKPOINT,
    "lora": ModelKind.LORA,
    "locon": ModelKind.LORA,
    "lycoris": ModelKind.LORA,
    "dora": ModelKind.LORA,
    "embed": ModelKind.EMBEDDING,
    "textualinversion": ModelKind.EMBEDDING,
    "embedding": ModelKind.EMBEDDING,
    "vae": ModelKind.VAE,
    "upscaler": ModelKind.UPSCALER,
}
"""Civitai's types of its models."""


def read(text: str) -> Info | None:
    """What an infotext says; None for a text that is none. Raises Refused for more than is read.

    Where a value can't be read, all of it is the prompt, for people to correct.
    """
    if len(text) > INFOTEXT_MAX:
        raise Refused("data_too_long")
    try:
        found = read_infotext(text)
    except Refused as refused:
        why = Note(refused.code, dict(refused.params))
        return Info(program=PROGRAM, prompt=text, refused=why, text=text)
    return None if found is None else of_infotext(found, text)


def of_infotext(found: Infotext, text: str) -> Info:
    """The same of one that was read."""
    parameters = found.parameters
    hashes = _hashes(parameters)
    prompt, loras, notes = tagged(found.prompt)
    loras, weighted = _weighted(parameters, loras)
    given: dict[str, Said] = {
        name: value
        for name, value in found.given.items()
        # what ControlNets read is not in a file
        if name not in (*_FILES, "controlnet", "ip_adapter") and not isinstance(value, tuple)
    }
    negative = str(given.pop("negative_prompt", ""))
    if "Distilled CFG Scale" in parameters:
        distilled = json_text.number(parameters["Distilled CFG Scale"])
        given |= {} if distilled is None else {"distilled": float(distilled)}
    if "Denoising strength" in parameters and "hires" not in given:
        notes = (*notes, Note("info_start_picture"))
    given = {
        name: value
        for name, value in given.items()
        if name == "distilled" or (not options()[name].needs and name not in OF_PICTURES)
    }
    if not given.get("variation_strength"):
        given.pop("variation_seed", None)
    controls = [_control(value) for key, value in parameters.items() if CONTROL.fullmatch(key)]
    beside = tuple(each for each in controls if each is not None)
    prompted = [each for each in beside if each.kind is ModelKind.IPADAPTER]
    if len(controls) > len(prompted):
        notes = (*notes, Note("info_control_picture"))
    if prompted:
        notes = (*notes, Note("info_image_prompt"))
    resources = _resources(parameters)
    return Info(
        program=_program(parameters),
        prompt=prompt,
        negative_prompt=negative,
        given=given,
        files=_files(found.given, parameters, hashes, resources),
        loras=loras,
        lora_hashes=_lora_hashes(loras, hashes) | weighted,
        embeddings=tuple(
            NamedFile(ModelKind.EMBEDDING, n.removeprefix("embed:"), h)
            for n, h in hashes.items()
            if n.startswith("embed:")
        ),
        beside=beside,
        conventions="comfyui" if parameters.get("Version", "").startswith("ComfyUI") else "a1111",
        ignored=tuple(
            key for key in found.ignored if key not in USED and not CONTROL.fullmatch(key)
        ),
        notes=notes,
        text=text,
    )


_FILES: Final = frozenset(get_args(FileOption))


def tagged(prompt: str) -> tuple[str, tuple[LoraUse, ...], tuple[Note, ...]]:
    """The prompt without its LoRAs, these, and why they are left in where they can't be read."""
    try:
        text, tags = take_tags(prompt)
        uses = lora_uses.once(
            lora_uses.weighed(tag.parts[0].strip(), tag.parts[1:], str(tag)) for tag in tags
        )
    except Refused as refused:
        return prompt, (), (Note(refused.code, dict(refused.params)),)
    return text.strip(), tuple(uses.values()), ()


def _program(parameters: Mapping[str, str]) -> str:
    version = parameters.get("Version", "")
    if version.startswith("darkroom"):
        return OWN
    if version.startswith(("ComfyUI", "Fooocus")):
        return version.split()[0]
    if parameters.get("App", "").startswith("SD.Next"):
        return "SD.Next"
    if re.match(r"f\d|neo|classic", version) or "Module 1" in parameters:
        return "Forge"
    return "Civitai" if "Civitai resources" in parameters else PROGRAM


def _files(
    given: Mapping[str, Any],
    parameters: Mapping[str, str],
    hashes: Mapping[str, str],
    resources: Mapping[ModelKind, NamedFile],
) -> dict[Any, NamedFile]:
    found: dict[Any, NamedFile] = {}
    model, short = str(given.get("model", "")), parameters.get("Model hash", "")
    if model or short or "model" in hashes:
        found["model"] = NamedFile(ModelKind.CHECKPOINT, model, hashes.get("model", short))
    elif ModelKind.CHECKPOINT in resources:
        found["model"] = resources[ModelKind.CHECKPOINT]
    vae = str(given.get("vae", ""))
    if vae and vae.casefold() not in NO_VAE:
        found["vae"] = NamedFile(
            ModelKind.VAE, vae, hashes.get("vae", parameters.get("VAE hash", ""))
        )
    if given.get("refiner"):
        digits = re.search(r"\[([0-9a-f]{8,64})\]$", parameters.get("Refiner", ""))
        name = str(given["refiner"])
        found["refiner"] = NamedFile(ModelKind.CHECKPOINT, name, digits[1] if digits else "")
    if given.get("hires_model"):
        found["hires_model"] = NamedFile(ModelKind.CHECKPOINT, str(given["hires_model"]))
    if given.get("hires_upscaler"):
        found["hires_upscaler"] = NamedFile(ModelKind.UPSCALER, str(given["hires_upscaler"]))
    return found


def _hashes(parameters: Mapping[str, str]) -> dict[str, str]:
    """Hashes by `model`, `vae`, `lora:NAME`, `embed:NAME`."""
    found: dict[str, str] = {}
    table = json_text.table(parameters.get("Hashes")) or {}
    for name, digits in table.items():
        if isinstance(digits, str):
            found[name] = digits
    for key, kind in (("Lora hashes", "lora"), ("TI hashes", "embed"), ("TI", "embed")):
        for pair in parameters.get(key, "").split(","):
            name, _, digits = pair.strip().rpartition(":")
            if DIGITS.fullmatch(digits.strip()):
                found.setdefault(f"{kind}:{name.strip()}", digits.strip())
    return found


def _lora_hashes(loras: Iterable[LoraUse], hashes: Mapping[str, str]) -> dict[str, str]:
    """Of those that have one; in the list that has them a name has no commas and colons."""
    found = {
        use.name: hashes.get(f"lora:{use.name}") or hashes.get(f"lora:{bare_name(use.name)}", "")
        for use in loras
    }
    return {name: digits for name, digits in found.items() if digits}


def _weighted(
    parameters: Mapping[str, str], loras: tuple[LoraUse, ...]
) -> tuple[tuple[LoraUse, ...], dict[str, str]]:
    """With those that Fooocus names beside the prompt: `Lora hashes: "NAME: HASH: WEIGHT, …"`."""
    if "Lora weights" not in parameters and "Fooocus" not in parameters.get("Version", ""):
        return loras, {}
    found = {use.name: use for use in loras}
    hashes: dict[str, str] = {}
    for pair in parameters.get("Lora hashes", "").split(","):
        name, digits, weight, *rest = [*(part.strip() for part in pair.split(":")), "", "", ""]
        number = json_text.number(weight)
        if number is None or not options()["lora_weight"].holds(number):
            continue
        if name and len(found) < LORAS_MAX and not any(rest):
            found.setdefault(name, LoraUse(name[:500], float(number)))
            hashes[name] = digits
    return tuple(found.values()), hashes


def _resources(parameters: Mapping[str, str]) -> dict[ModelKind, NamedFile]:
    """Civitai's list of what it drew with, as far as it gives names."""
    found: dict[ModelKind, NamedFile] = {}
    for each in _listed(parameters.get("Civitai resources", "")):
        kind = OF_RESOURCES.get(json_text.text(each.get("type")).casefold())
        name = json_text.text(each.get("modelName"))
        if kind is not None and name:
            version = json_text.text(each.get("modelVersionName"))
            found.setdefault(kind, NamedFile(kind, f"{name} {version}".strip()[:500]))
    return found


def _listed(text: str) -> Iterator[Mapping[str, Any]]:
    try:
        found = json_text.loads(text) if text.startswith("[") else []
    except Refused:
        return
    yield from (each for each in found if isinstance(each, dict))


def _control(value: str) -> NamedFile | None:
    named = CONTROL_MODEL.search(value)
    if named is None:
        return None
    prompted = control_infotext.is_image_prompt(pairs(value))
    kind = ModelKind.IPADAPTER if prompted else ModelKind.CONTROLNET
    return NamedFile(kind, named["name"].strip(' "'), named["hash"] or "")
