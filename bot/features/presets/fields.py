"""What a preset holds, as short fields: their text, and the preset that they make."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bot.features.presets.shelf import Shelf
from bot.requests import parameter_lines
from generation import preset as presets
from generation import preset_files, sizes
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.models import ModelKind
from generation.preset import Preset
from generation.refusal import Refused
from generation.request_options import bounds_of, exact, options
from generation.rules import Rules, default_model, native_size, shaped

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "texts": ("name", "description", "template", "negative_prompt"),
    "numbers": ("steps", "guidance", "clip_skip", "schedule", "second_pass"),
    "size": ("width", "height"),
    "editing": ("image_guidance",),
    "mode": ("mode", "conventions"),
    "files": ("model", "vae", "upscaler"),
    "controls": ("controlnet", "control_scale", "controlnet_2", "controlnet_3", "show_control"),
    "image_prompt": ("ip_adapter", "image_weight"),
    "refiner": ("refiner", "refiner_switch"),
    "faces": ("faces", "face_model", "face_strength", "face_fidelity", "cutout"),
    "output": ("format", "quality"),
    "inpainting": ("mask_blur", "masked_content", "inpaint_area", "mask_padding", "differential"),
    "hires": ("hires", "hires_upscaler", "hires_denoising", "hires_steps", "hires_guidance"),
    "hires_own": (
        *("hires_model", "hires_sampler", "hires_schedule"),
        *("hires_prompt", "hires_negative_prompt"),
    ),
    "loras": ("loras",),
    "bounds": ("max_steps", "max_count", "max_pixels"),
}
"""What is asked for in one modal; one has at most five fields."""
LONG: Final = frozenset(
    ("template", "negative_prompt", "loras", "hires_prompt", "hires_negative_prompt")
)
NUMBERS: Final = frozenset(
    field
    for part in PARTS.values()
    for field in part
    if field != "loras" and bounds_of(Preset, field).type is not str
)
MARK: Final = 4
"""Characters of a mark; of five fields they fit into a custom_id, beside the longest name."""
OPEN: Final = {"description": "", "loras": (), "roles": ()}
"""What stands for a field that decides nothing, where that is not None."""


class ChangedByOthers(Refused):
    """Somebody else has changed what was changed here. `seen` are the marks of what was shown,
    those of the fields that it is said of as they are now.
    """

    def __init__(self, preset: Preset, seen: str) -> None:
        super().__init__("preset_changed", name=preset.name)
        self.seen = seen


def text(preset: Preset, field: str) -> str:
    """A field as one writes it; empty where it decides nothing."""
    value = getattr(preset, field)
    if field == "loras":
        return "\n".join(map(parameter_lines.lora_text, value))
    if value is None:
        return ""
    return exact(value) if isinstance(value, float) else str(value)


def changed(preset: Preset, values: Mapping[str, str]) -> Preset:
    """The preset with some fields as they were entered. Raises Refused."""
    return msgspec.structs.replace(preset, **{f: _read(f, t) for f, t in values.items()})


def mark(value: object) -> str:
    """What tells one value of a field, or one preset, from another, in a custom_id."""
    written = value.strip().replace("\r\n", "\n") if isinstance(value, str) else repr(value)
    digest = hashlib.sha256(written.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(digest)[:MARK].decode()


def marks(preset: Preset, part: str) -> str:
    """The marks of a part's fields as they are, one after the other."""
    return "".join(mark(text(preset, field)) for field in PARTS[part])


def touched(now: Preset, part: str, entered: Mapping[str, str], seen: str) -> Mapping[str, str]:
    """Of the fields that were entered those that are to be changed; `seen` are the marks of what
    was shown before.

    What somebody else has changed meanwhile stays where it was not touched here. Raises
    ChangedByOthers where both changed the same field.
    """
    names = PARTS[part]
    if len(seen) != MARK * len(names):
        return entered
    found, told = {}, ""
    for place, field in enumerate(names):
        before = seen[place * MARK : (place + 1) * MARK]
        there, here = mark(text(now, field)), mark(entered[field])
        both = there not in (before, here) and here != before
        told += there if both else before
        if there == before or here != before:
            found[field] = entered[field]
    if told != seen:
        raise ChangedByOthers(now, told)
    return found


def checked(preset: Preset, catalog: Catalog, shelf: Shelf) -> Preset:
    """A preset that may be kept, all parts named as the catalogue does. Raises Refused."""
    shelf.check(preset)
    # a file of it is held to all rules
    [read] = preset_files.from_toml(preset_files.to_toml([preset]))
    presets.check(read, catalog)
    return read


def sized(preset: Preset, aspect: str, catalog: Catalog, rules: Rules) -> Preset:
    """The preset with a shape, in the area of its model's own pictures."""
    if not aspect:
        return msgspec.structs.replace(preset, width=None, height=None)
    name = preset.model or default_model(catalog, rules)
    model = catalog.get(ModelKind.CHECKPOINT, name)
    native = native_size(model) if model.family in FAMILIES else 512
    width, height = shaped(model, sizes.ratio(aspect), native**2, rules.limits)
    return msgspec.structs.replace(preset, width=width, height=height)


def _read(field: str, entered: str) -> Any:
    written = entered if field in LONG - {"loras"} else entered.strip()
    if not written.strip():
        return OPEN.get(field) if field != "name" else ""
    if field in NUMBERS:
        bounds = bounds_of(Preset, field)
        number = bounds.parse(written)
        bounds.check(number)
        return number
    if field in options() and options()[field].choices:
        chosen = options()[field].parse(written)
        options()[field].check(chosen)
        return chosen
    if field == "loras":
        lines = [line.strip() for line in written.splitlines() if line.strip()]
        return tuple(map(parameter_lines.lora_use, lines))
    return written
