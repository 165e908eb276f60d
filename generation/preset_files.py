"""Presets as TOML: written for people, and read of their files within bounds."""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence

import msgspec
import tomli_w

from generation import (
    lora_uses,
    toml_text,
)
from generation.name_search import nearest
from generation.preset import (
    CONTROL,
    EXAMPLES,
    NOT_IN_NAMES,
    PLACE,
    Preset,
)
from generation.refusal import Refused
from generation.request_options import Option, bounds_of, options


def to_toml(presets: Sequence[Preset]) -> str:
    """Presets as the text of one TOML file."""
    return "\n".join(map(_table, presets))


def _table(preset: Preset) -> str:
    # tomli_w alone would put a short preset into one line, hard to edit
    keys = msgspec.to_builtins(preset)
    loras = [{k: v for k, v in use.items() if v is not None} for use in keys.pop("loras", [])]
    uses = (f"\n[[preset.loras]]\n{tomli_w.dumps(use)}" for use in loras)
    return f"[[preset]]\n{tomli_w.dumps(keys)}{''.join(uses)}"


def to_form(preset: Preset, leave: Collection[str] = ()) -> str:
    """A preset as text to fill in: TOML, with what it leaves open as comments, except `leave`."""
    decided = {*msgspec.to_builtins(preset), *leave}
    open_ = (f"# {key} = {value}" for key, value in EXAMPLES.items() if key not in decided)
    # keys stand before the tables of the LoRAs
    head, rest = to_toml([preset]).split("\n", 1)
    return "\n".join([head, *open_, rest])


def from_toml(text: str) -> list[Preset]:
    """The presets of a TOML file. Raises Refused, naming what is wrong and where."""
    try:
        tables = toml_text.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d{1,9})", str(error))
        if line is None:
            raise Refused("preset_no_toml") from None
        raise Refused("preset_no_toml_line", line=int(line[1])) from None
    listed = tables.get("preset")
    if not isinstance(listed, list) or not listed:
        raise Refused("preset_no_table")
    return [_read(table) for table in listed]


def _read(table: object) -> Preset:
    if not isinstance(table, Mapping):
        raise Refused("preset_no_table")
    known = Preset.__struct_fields__
    for key in table:
        if key not in known:
            if key == "seed":
                raise Refused("preset_no_seed")
            [alike] = nearest(str(key), known)
            raise Refused("preset_key_unknown", key=str(key)[:50], nearest=alike)
        _check_value(str(key), table[key])
    name = str(table.get("name", "")).strip()
    if not name:
        raise Refused("preset_no_name")
    roles = list(dict.fromkeys(table.get("roles", ())))
    table = {**table, "name": name, **({"roles": roles} if roles else {})}
    try:
        preset = msgspec.convert(table, Preset)
    except msgspec.ValidationError as error:
        key = str(error).partition(" - at `$.")[2].strip("`").split(".")[0].split("[")[0]
        raise _wrong(key if key in EXAMPLES else "name") from None
    if preset.template is not None and preset.template.count(PLACE) != 1:
        raise Refused("preset_template", name=preset.name)
    if NOT_IN_NAMES.search(name):
        raise Refused("preset_name", name=re.sub(f"[{CONTROL}]", " ", name))
    return preset


def _check_value(key: str, value: object) -> None:
    """Refuse, in people's own words, what the type's error would say in the program's."""
    if key == "loras":
        _check_loras(value)
    elif key == "roles":
        known = isinstance(value, list) and all(
            isinstance(role, int) and 0 <= role < 2**63 for role in value
        )
        if not known:
            raise _wrong(key)
    else:
        bounds = bounds_of(Preset, key)
        if isinstance(value, str) is not (bounds.type is str):
            raise _wrong(key)
        _check_bounds(bounds, value)


def _check_loras(uses: object) -> None:
    if not isinstance(uses, list) or not all(isinstance(use, Mapping) for use in uses):
        raise _wrong("loras")
    lora_uses.check_count(len(uses))
    for use in uses:
        if "name" not in use or not use.keys() <= {"name", "weight", "te_weight"}:
            raise _wrong("loras")
        weights = [use.get("weight", 1.0), *([use["te_weight"]] if "te_weight" in use else [])]
        for option, value in (("lora", use["name"]), *(("lora_weight", w) for w in weights)):
            if isinstance(value, str) is not (option == "lora"):
                raise _wrong("loras")
            _check_bounds(options()[option], value)


def _check_bounds(bounds: Option, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(bounds.name)
    if bounds.type is int and isinstance(value, float) and value % 1:
        raise Refused("not_a_whole_number", option=bounds.name, value=str(value)[:50])
    bounds.check(value)


def _wrong(key: str) -> Refused:
    key = {"lora": "loras", "lora_weight": "loras"}.get(key, key)
    return Refused("preset_value_wrong", key=key, example=f"{key} = {EXAMPLES[key]}")
