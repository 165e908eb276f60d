"""ControlNets in infotexts, as sd-webui-controlnet writes them: `ControlNet 0: "Module: canny, …"`.

Source: Mikubill, github.com/Mikubill/sd-webui-controlnet (scripts/infotext.py).
"""

import re
from collections.abc import Mapping
from typing import Final

from generation import preprocessors
from generation.infotext_pairs import pairs, quoted
from generation.preprocessors import NONE, PREPROCESSORS
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import CONTROLS_MAX, ControlFit, ControlMode
from generation.request_options import exact
from generation.request_parts import ControlUse

UNIT: Final = re.compile(r"ControlNet [0-9]{1,2}")
FITS: Final[Mapping[ControlFit, tuple[str, str]]] = {
    "stretch": ("Just Resize", "ResizeMode.RESIZE"),
    "crop": ("Crop and Resize", "ResizeMode.INNER_FIT"),
    "fill": ("Resize and Fill", "ResizeMode.OUTER_FIT"),
}
MODES: Final[Mapping[ControlMode, tuple[str, str]]] = {
    "balanced": ("Balanced", "ControlMode.BALANCED"),
    "prompt": ("My prompt is more important", "ControlMode.PROMPT"),
    "control": ("ControlNet is more important", "ControlMode.CONTROL"),
}
"""As older versions write them, and newer ones."""
AUTOMATIC: Final = "Unless Prepared"
"""Ours: A1111 leaves out what it does not know."""
_IP_ADAPTERS: Final = re.compile(r"ip-adapter[-_].*|.*\(IPAdapter\)", re.IGNORECASE)
_HASHED: Final = re.compile(r" \[[0-9a-f]{8}\]$")


def write(request: GenerationRequest) -> list[tuple[str, str]]:
    """A key and a value for each ControlNet."""
    return [
        (f"ControlNet {number}", quoted(", ".join(f"{k}: {v}" for k, v in _unit(use, request))))
        for number, use in enumerate(request.controls)
    ]


def _unit(use: ControlUse, request: GenerationRequest) -> list[tuple[str, str]]:
    row = PREPROCESSORS.get(use.preprocessor, PREPROCESSORS[NONE])
    found = [("Module", row.webui)]
    if use.automatic:
        found.append((AUTOMATIC, "True"))
    found += [
        ("Model", quoted(use.name)),
        ("Weight", exact(use.scale)),
        ("Resize Mode", FITS[use.fit][0]),
    ]
    if row.sized:
        side = min(request.width, request.height)
        found.append(("Processor Res", str(use.resolution or side)))
    for name, value, slider in (
        ("Threshold A", use.threshold_a, row.a),
        ("Threshold B", use.threshold_b, row.b),
    ):
        if slider is not None:
            found.append((name, exact(slider.default if value is None else value)))
    found += [
        ("Guidance Start", exact(use.start)),
        ("Guidance End", exact(use.end)),
        ("Pixel Perfect", str(row.sized and not use.resolution)),
        ("Control Mode", MODES[use.mode][0]),
    ]
    if use.kind is not None:
        found.append(("Union Control Type", use.kind))
    return found


def read(parameters: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ControlNets as people write them, and the keys of those that mean none here."""
    nets: list[str] = []
    unread: list[str] = []
    for key, value in parameters.items():
        if not UNIT.fullmatch(key):
            continue
        unit = pairs(value)
        if is_image_prompt(unit):
            continue
        text = _text(unit)
        if text is None or len(nets) == CONTROLS_MAX:
            unread.append(key)
        else:
            nets.append(text)
    return tuple(nets), tuple(unread)


def _text(unit: Mapping[str, str]) -> str | None:
    """None for what names no ControlNet or a preprocessor that is not here."""
    model = model_of(unit)
    module = unit.get("Module", NONE)
    preprocessor = preprocessors.find(module)
    if not model or preprocessor is None:
        return None
    row = PREPROCESSORS[preprocessor]
    found = [model, number(unit, "Weight", 1)]
    kind = unit.get("Union Control Type", "")
    if kind and kind.casefold() not in ("unknown", "controltype.unknown", "all"):
        found.append(f"kind={kind.casefold()}")
    start, end = number(unit, "Guidance Start", 0), number(unit, "Guidance End", 1)
    found += [f"start={start}"] if start != "0" else []
    found += [f"end={end}"] if end != "1" else []
    if unit.get(AUTOMATIC) != "True":
        found.append(f"pre={preprocessor}")
    if row.sized and unit.get("Pixel Perfect") != "True" and "Processor Res" in unit:
        found.append(f"res={number(unit, 'Processor Res', 0)}")
    for name, letter, slider in (("Threshold A", "a", row.a), ("Threshold B", "b", row.b)):
        if slider is not None:
            told = number(unit, name, slider.default)
            found += [f"{letter}={told}"] if told != exact(slider.default) else []
    found += _chosen(unit, "Control Mode", "mode", MODES, "balanced")
    found += _chosen(unit, "Resize Mode", "fit", FITS, "crop")
    return ":".join(found)


def is_image_prompt(unit: Mapping[str, str]) -> bool:
    """Whether a unit is an IP-Adapter, as its module says in A1111's words or Forge's."""
    return _IP_ADAPTERS.fullmatch(unit.get("Module", "").strip()) is not None


def model_of(unit: Mapping[str, str]) -> str:
    """The file that a unit names; "" where it names none."""
    model = _HASHED.sub("", unit.get("Model", ""))
    return "" if model == "None" else model


def number(unit: Mapping[str, str], key: str, usual: float) -> str:
    """Raises Refused."""
    value = unit.get(key, str(usual))
    try:
        return exact(float(value))
    except ValueError:
        raise Refused("infotext_value", key=key, value=value[:50]) from None


def _chosen(
    unit: Mapping[str, str],
    key: str,
    ours: str,
    names: Mapping[ControlFit, tuple[str, str]] | Mapping[ControlMode, tuple[str, str]],
    usual: str,
) -> list[str]:
    """Raises Refused."""
    value = unit.get(key)
    if value is None:
        return []
    for name, theirs in names.items():
        if value in theirs:
            return [] if name == usual else [f"{ours}={name}"]
    raise Refused("infotext_value", key=key, value=value[:50])
