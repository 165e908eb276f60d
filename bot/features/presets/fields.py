"""What a preset holds, as short fields: their text, and the preset that they make."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bot.requests import parameter_lines
from generation import completion, sizes
from generation import preset as presets
from generation.catalog import Catalog
from generation.completion import Rules
from generation.families import FAMILIES
from generation.models import ModelKind
from generation.preset import Preset
from generation.request import LoraUse
from generation.request_options import bounds_of, exact, options

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "texts": ("name", "description", "template", "negative_prompt"),
    "numbers": ("steps", "guidance", "clip_skip"),
    "size": ("width", "height"),
    "files": ("model", "vae", "controlnet", "control_scale"),
    "loras": ("loras",),
    "bounds": ("max_steps", "max_count", "max_pixels"),
}
"""What is asked for in one modal; one has at most five fields."""
LONG: Final = frozenset(("template", "negative_prompt", "loras"))
NUMBERS: Final = frozenset(
    field for part in ("numbers", "size", "bounds") for field in PARTS[part]
) | {"control_scale"}
OPEN: Final = {"description": "", "loras": (), "roles": ()}
"""What stands for a field that decides nothing, where that is not None."""


def text(preset: Preset, field: str) -> str:
    """A field as one writes it; empty where it decides nothing."""
    value = getattr(preset, field)
    if field == "loras":
        return "\n".join(f"{parameter_lines.name_text(u.name)}:{exact(u.weight)}" for u in value)
    if value is None:
        return ""
    return exact(value) if isinstance(value, float) else str(value)


def changed(preset: Preset, values: Mapping[str, str]) -> Preset:
    """The preset with some fields as they were entered. Raises Refused."""
    return msgspec.structs.replace(preset, **{f: _read(f, t) for f, t in values.items()})


def checked(preset: Preset, catalog: Catalog) -> Preset:
    """A preset that may be kept, all parts named as the catalogue does. Raises Refused."""
    # a file of it is held to all rules
    [read] = presets.from_toml(presets.to_toml([preset]))
    presets.check(read, catalog)
    return read


def sized(preset: Preset, aspect: str, catalog: Catalog, rules: Rules) -> Preset:
    """The preset with a shape, in the area of its model's own pictures."""
    if not aspect:
        return msgspec.structs.replace(preset, width=None, height=None)
    name = preset.model or completion.default_model(catalog, rules)
    model = catalog.get(ModelKind.CHECKPOINT, name)
    native = completion.native_size(model) if model.family in FAMILIES else 512
    limits = rules.limits
    width, height = sizes.of(sizes.ratio(aspect), native**2, limits.side, limits.pixels)
    return msgspec.structs.replace(preset, width=width, height=height)


def _read(field: str, entered: str) -> Any:
    written = entered if field in ("template", "negative_prompt") else entered.strip()
    if not written.strip():
        return OPEN.get(field) if field != "name" else ""
    if field in NUMBERS:
        bounds = bounds_of(Preset, field)
        number = bounds.parse(written)
        bounds.check(number)
        return number
    if field == "loras":
        lora, weight = options()["lora"], options()["lora_weight"]
        lines = [line.strip() for line in written.splitlines() if line.strip()]
        return tuple(LoraUse(*parameter_lines.weighted(line, lora, weight)) for line in lines)
    return written
