"""Programs that write their settings as a table of JSON: Fooocus, SwarmUI, InvokeAI, Draw Things.

Sources: Fooocus' `meta_parser.py`, SwarmUI's documentation of its image metadata, InvokeAI's
`core_metadata` nodes of versions 3 to 6 and `sd-metadata` of version 2, Draw Things' EXIF in XMP.
"""

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from generation.info import json_text
from generation.info.a1111 import tagged
from generation.info.compel import as_a1111
from generation.info.found import XMP, FileOption, Info, NamedFile, Note, PictureSize, Said
from generation.metadata import INFOTEXT_MAX
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_fields import LORAS_MAX, Conventions
from generation.request_options import options
from generation.request_parts import LoraUse

NOTHING: Final = frozenset(("", "none", "automatic", "default (model)", "default", "(none)"))
"""Names that stand for no file."""
SHOWN_MAX: Final = 40
"""Keys that are named as left out."""
_SIZE: Final = re.compile(r"\D*(\d{1,5})\D+(\d{1,5})\D*")
_UNWANTED: Final = re.compile(r"\[([^\[\]]*)\]")
"""What was not wanted stood in square brackets."""
_COMMENT: Final = re.compile(
    r"<exif:UserComment>\s*<rdf:Alt>\s*<rdf:li[^>]{0,80}>([^<]{0,20000})</rdf:li>"
)


class _Table:
    """A table of settings, and what has been taken from it."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.table = table
        self.given: dict[str, Said] = {}
        self.files: dict[FileOption, NamedFile] = {}
        self.loras: dict[str, LoraUse] = {}
        self.hashes: dict[str, str] = {}
        self.notes: list[Note] = []
        self._used: set[str] = set()

    def get(self, *keys: str) -> Any:
        """The first that is there."""
        self._used.update(keys)
        return next((self.table[key] for key in keys if self.table.get(key) is not None), None)

    def number(self, option: str, *keys: str) -> None:
        """A number, as the option's type is."""
        whole = options()[option].type is int if option in options() else False
        read = json_text.whole if whole else json_text.number
        value = read(self.get(*keys))
        if value is not None:
            self.given[option] = value if whole else float(value)

    def word(self, option: str, *keys: str) -> None:
        """A name of a sampler or schedule."""
        value = json_text.text(self.get(*keys)).strip()
        if value:
            self.given[option] = value[:100]

    def file(self, option: FileOption, kind: ModelKind, name: Any, digits: Any = "") -> None:
        """A file, unless the name stands for none."""
        written = json_text.text(name).strip()
        if written.casefold() not in NOTHING:
            self.files[option] = NamedFile(kind, written[:500], json_text.text(digits)[:80])

    def lora(self, name: Any, weight: Any, digits: Any = "") -> None:
        """A LoRA and its weight."""
        written, number = json_text.text(name).strip(), json_text.number(weight)
        value = 1.0 if number is None else float(number)
        if written.casefold() in NOTHING or len(self.loras) == LORAS_MAX:
            return
        self.loras.setdefault(written[:500], LoraUse(written[:500], value))
        if json_text.text(digits):
            self.hashes[written[:500]] = json_text.text(digits)[:80]

    def size(self, *keys: str) -> None:
        """Both sides, written as one text."""
        found = _SIZE.fullmatch(str(self.get(*keys))[:60])
        if found is not None:
            self.given |= {"width": int(found[1]), "height": int(found[2])}

    def unused(self, *quiet: str) -> tuple[str, ...]:
        """The keys that mean nothing here, but for those that say nothing of the picture."""
        left = (key[:50] for key in self.table if key not in self._used and key not in quiet)
        return tuple(left)[:SHOWN_MAX]

    def info(
        self,
        program: str,
        text: str,
        prompt: str,
        negative: str,
        *quiet: str,
        conventions: Conventions = "a1111",
    ) -> Info:
        """All that was taken."""
        plain, loras, notes = tagged(prompt[:INFOTEXT_MAX])
        uses = {**self.loras, **{use.name: use for use in loras}}
        return Info(
            program=program,
            prompt=plain.strip(),
            negative_prompt=negative[:INFOTEXT_MAX].strip(),
            given=self.given,
            files=self.files,
            loras=tuple(uses.values())[:LORAS_MAX],
            lora_hashes=self.hashes,
            conventions=conventions,
            ignored=self.unused(*quiet),
            notes=(*self.notes, *notes),
            text=text,
        )


def fooocus(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """Its own scheme; the other one it has is A1111's."""
    for keyword in ("parameters", "UserComment", "Comment"):
        table = json_text.table(texts.get(keyword))
        if table is not None and {"base_model", "Base Model"} & table.keys():
            return _fooocus(table, texts[keyword])
    return None


def _fooocus(table: Mapping[str, Any], text: str) -> Info:
    found = _Table(table)
    # what its styles made of the prompt is what was drawn
    prompt = found.get("full_prompt", "prompt", "Prompt")
    negative = found.get("full_negative_prompt", "negative_prompt", "Negative Prompt")
    found.get("prompt", "negative_prompt", "styles", "prompt_expansion", "performance")
    found.get("refiner_switch", "Refiner Switch")
    found.number("seed", "seed", "Seed")
    found.number("steps", "steps")
    found.number("guidance", "guidance_scale", "Guidance Scale")
    found.number("clip_skip", "clip_skip")
    found.word("sampler", "sampler", "Sampler")
    found.word("schedule", "scheduler", "Scheduler")
    found.size("resolution", "Resolution")
    model = found.get("base_model", "Base Model")
    found.file("model", ModelKind.CHECKPOINT, model, found.get("base_model_hash"))
    found.file("vae", ModelKind.VAE, found.get("vae"))
    refiner = found.get("refiner_model", "Refiner Model")
    found.file("refiner", ModelKind.CHECKPOINT, refiner, found.get("refiner_model_hash"))
    if "refiner" in found.files:
        found.number("refiner_switch", "refiner_switch", "Refiner Switch")
    for each in _lists(found.get("loras")):
        found.lora(*[*each, "", "", ""][:3])
    for number in range(1, 11):
        name, _, weight = json_text.text(found.get(f"lora_combined_{number}")).rpartition(" : ")
        if name:
            found.lora(name, weight)
    quiet = ("metadata_scheme", "version", "created_by", "Version")
    return found.info("Fooocus", text, _joined(prompt), _joined(negative), *quiet)


def swarmui(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """What it gave its backend, which is ComfyUI."""
    for keyword in ("parameters", "UserComment", "prompt", "Comment"):
        table = json_text.table(texts.get(keyword))
        params = table.get("sui_image_params") if table is not None else None
        if table is not None and isinstance(params, dict):
            return _swarmui(params, _swarm_hashes(table), texts[keyword])
    return None


def _swarmui(params: Mapping[str, Any], hashes: Mapping[str, str], text: str) -> Info:
    found = _Table(params)
    found.number("seed", "seed")
    found.number("steps", "steps")
    found.number("guidance", "cfgscale")
    found.number("distilled", "fluxguidancescale")
    found.number("width", "width")
    found.number("height", "height")
    found.word("sampler", "sampler", "comfyuisampler")
    found.word("schedule", "scheduler", "comfyuischeduler")
    if "steps" in found.given:
        # where it says nothing of them these are its own
        found.given.setdefault("sampler", "euler")
        found.given.setdefault("schedule", "normal")
    model = json_text.text(found.get("model"))
    found.file("model", ModelKind.CHECKPOINT, model, hashes.get(_stem(model)))
    vae = json_text.text(found.get("vae"))
    found.file("vae", ModelKind.VAE, vae, hashes.get(_stem(vae)))
    layer = json_text.whole(found.get("clipstopatlayer"))
    if layer is not None and -12 <= layer < -1:
        found.given["clip_skip"] = -layer
    seed, strength = found.get("variationseed"), found.get("variationseedstrength")
    second, amount = json_text.whole(seed), json_text.number(strength)
    if second is not None and amount:
        found.given |= {"variation_seed": second, "variation_strength": float(amount)}
    names, weights = found.get("loras"), found.get("loraweights")
    weights = weights if isinstance(weights, list) else []
    for place, name in enumerate(names if isinstance(names, list) else []):
        weight = weights[place] if place < len(weights) else 1
        found.lora(name, weight, hashes.get(_stem(json_text.text(name))))
    if found.get("initimage", "initimagecreativity") is not None:
        found.notes.append(Note("info_start_picture"))
    if found.get("refinermodel", "refinerupscale", "refinercontrolpercentage") is not None:
        found.notes.append(Note("info_more_passes"))
    prompt, negative = found.get("prompt"), found.get("negativeprompt")
    return found.info(
        "SwarmUI",
        text,
        json_text.text(prompt),
        json_text.text(negative),
        *("swarm_version", "aspectratio", "automaticvae", "images", "sidelength"),
        *(
            "refinermethod",
            "refinerupscalemethod",
            "modelspecificenhancements",
            "lorasectionconfinement",
        ),
        conventions="comfyui",
    )


def invokeai(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """Of versions 3 and later."""
    table = json_text.table(texts.get("invokeai_metadata"))
    if table is None:
        return None
    found = _Table(table)
    found.number("seed", "seed")
    found.number("steps", "steps")
    found.number("guidance", "cfg_scale")
    found.number("distilled", "guidance")
    found.number("width", "width")
    found.number("height", "height")
    found.word("sampler", "scheduler")
    _as_k_diffusion(found.given)
    skipped = json_text.whole(found.get("clip_skip"))
    if skipped is not None and 0 < skipped < 12:
        # it counts the layers that are left out
        found.given["clip_skip"] = skipped + 1
    files: tuple[tuple[FileOption, ModelKind, str], ...] = (
        ("model", ModelKind.CHECKPOINT, "model"),
        ("vae", ModelKind.VAE, "vae"),
        ("refiner", ModelKind.CHECKPOINT, "refiner_model"),
    )
    for option, kind, key in files:
        name, digits = _invoke_model(found.get(key))
        found.file(option, kind, name, digits)
    for each in _tables(found.get("loras")):
        name, digits = _invoke_model(each.get("model", each.get("lora")))
        found.lora(name, each.get("weight"), digits)
    if found.get("init_image", "strength") is not None:
        found.notes.append(Note("info_start_picture"))
    if any(
        found.get(key) for key in ("controlnets", "t2iAdapters", "ipAdapters", "control_layers")
    ):
        found.notes.append(Note("info_control_picture"))
    found.notes.append(Note("info_other_noise", {"program": "InvokeAI"}))
    prompt = as_a1111(json_text.text(found.get("positive_prompt")))
    negative = as_a1111(json_text.text(found.get("negative_prompt")))
    quiet = (
        "app_version",
        "generation_mode",
        "rand_device",
        "seamless_x",
        "seamless_y",
        "hrf_enabled",
    )
    return found.info("InvokeAI", texts["invokeai_metadata"], prompt, negative, *quiet)


def old_invokeai(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """Of version 2: `sd-metadata`."""
    table = json_text.table(texts.get("sd-metadata"))
    image = table.get("image") if table is not None else None
    if table is None or not isinstance(image, dict):
        return None
    found = _Table(image)
    found.number("seed", "seed")
    found.number("steps", "steps")
    found.number("guidance", "cfg_scale")
    found.number("width", "width")
    found.number("height", "height")
    found.word("sampler", "sampler")
    _as_k_diffusion(found.given)
    found.file("model", ModelKind.CHECKPOINT, table.get("model_weights"), table.get("model_hash"))
    said = found.get("prompt")
    if isinstance(said, list):
        said = ", ".join(json_text.text(one.get("prompt")) for one in said if isinstance(one, dict))
    text = json_text.text(said)
    negative = ", ".join(_UNWANTED.findall(text[:INFOTEXT_MAX]))
    prompt = _UNWANTED.sub("", text[:INFOTEXT_MAX])
    found.notes.append(Note("info_other_noise", {"program": "InvokeAI"}))
    quiet = ("type", "variations", "perlin", "threshold", "seamless", "hires_fix", "postprocessing")
    return found.info("InvokeAI", texts["sd-metadata"], as_a1111(prompt), negative, *quiet)


def draw_things(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """JSON within EXIF within XMP."""
    comment = _COMMENT.search(texts.get(XMP, "")[:100_000])
    text = html.unescape(comment[1]) if comment is not None else texts.get("UserComment", "")
    table = json_text.table(text.strip())
    if table is None or not {"c", "sampler"} <= table.keys():
        return None
    found = _Table(table)
    found.number("seed", "seed")
    found.number("steps", "steps")
    found.number("guidance", "scale")
    found.word("sampler", "sampler")
    found.size("size")
    found.file("model", ModelKind.CHECKPOINT, found.get("model"))
    for each in _tables(found.get("lora")):
        found.lora(each.get("model"), each.get("weight"))
    prompt, negative = json_text.text(found.get("c")), json_text.text(found.get("uc"))
    found.notes.append(Note("info_other_noise", {"program": "Draw Things"}))
    return found.info("Draw Things", text, prompt, negative, "v2", "profile", "strength", "lang")


def _as_k_diffusion(given: dict[str, Said]) -> None:
    """InvokeAI's schedulers: `k_euler_a`, `dpmpp_2m_k`, where the last letter stands for Karras."""
    name = str(given.get("sampler", ""))
    name = name.removeprefix("k_") if name != "k_" else name
    if not name:
        return
    if name.endswith("_k"):
        name = name[:-2]
        given["schedule"] = "Karras"
    known = {
        "euler_a": "Euler a",
        "dpm_2_a": "DPM2 a",
        "dpm_2": "DPM2",
        "kdpm_2": "DPM2",
        "kdpm_2_a": "DPM2 a",
        "dpmpp_2": "DPM++ 2M",
        "dpmpp_2s": "DPM++ 2S a",
        "dpmpp_sde": "DPM++ SDE",
        "unipc": "UniPC",
        "pndm": "PLMS",
    }
    given["sampler"] = known.get(name, name)


def _invoke_model(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        return json_text.text(value), ""
    name = json_text.text(value.get("name", value.get("model_name")))
    return name, json_text.text(value.get("hash")).removeprefix("sha256:")


def _swarm_hashes(table: Mapping[str, Any]) -> dict[str, str]:
    models = table.get("sui_models")
    return {
        _stem(json_text.text(each.get("name"))): json_text.text(each.get("hash"))
        for each in (models if isinstance(models, list) else [])
        if isinstance(each, dict)
    }


def _stem(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors").casefold()


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def _lists(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json_text.loads(value)
        except Refused:
            return
    for each in value if isinstance(value, list) else ():
        if isinstance(each, list):
            yield each


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(each for each in value if isinstance(each, str))
    return json_text.text(value)
