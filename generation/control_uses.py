"""What follows a control picture, as people write it:
`NAME:SCALE:kind=depth:start=0.2:end=0.8:pre=canny:a=100:b=200:res=512:mode=prompt:fit=crop`.

A ControlNet Union is told which kind of picture it is handed; any ControlNet may act over a part of
the steps alone, and have its picture made by a preprocessor.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from generation.catalog import Catalog
from generation.families.control import KINDS, follows, kinds_of
from generation.models import ModelFile, ModelKind
from generation.name_search import choice_of, nearest
from generation.preprocessors import AUTO, NONE, PREPROCESSORS, Slider, named, usual_for
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import CONTROLS_MAX, SIDE_MAX, SIDE_MIN, ControlFit, ControlMode
from generation.request_options import exact, options
from generation.request_parts import ControlUse

KEYS: Final = ("kind", "start", "end", "pre", "res", "a", "b", "mode", "fit", "picture")
NAMED: Final = re.compile(
    rf"(?:[:：]\s*+(?:{'|'.join(KEYS)})\s*+=\s*+[^:：=\x22]*+){{1,10}}\Z", re.IGNORECASE
)
"""What stands behind a name and its scale, at the end of a text."""
SHORT: Final = 80
"""Characters of a name that leave room for a kind in the hundred of Discord's choices."""
MODES: Final[Mapping[str, ControlMode]] = {
    "balanced": "balanced",
    "prompt": "prompt",
    "control": "control",
    "controlnet": "control",
    "my prompt is more important": "prompt",
    "controlnet is more important": "control",
}
FITS: Final[Mapping[str, ControlFit]] = {
    "crop": "crop",
    "stretch": "stretch",
    "fill": "fill",
    "crop and resize": "crop",
    "just resize": "stretch",
    "resize and fill": "fill",
}
"""Both under A1111's names, too."""
SOFT: Final = frozenset(("sd1", "sd2", "sdxl", "sdxl-refiner"))
"""Families whose ControlNets have modes: A1111 knows none of others."""
PICTURES: Final[Mapping[str, str]] = {
    "control": "control_picture",
    "start": "init_picture",
    "second": "second_picture",
    "third": "third_picture",
    "fourth": "fourth_picture",
}
"""Pictures of a request that a ControlNet may read, as they are written, with their options."""
_PART: Final = re.compile(r"\s*(?P<key>[^=]*?)\s*=\s*(?P<value>[^=]*?)\s*")


def of(
    asked: str, picture: str, scale: float | None, catalog: Catalog, usual: float = 1.0
) -> ControlUse:
    """A ControlNet as the catalogue names it, and what is written behind its name. Raises Refused.

    `scale` is that of the option `control_scale`, where it was given; without any it is `usual`.
    """
    name, written = _taken_apart(asked, catalog)
    if written and "=" not in written[0]:
        option = options()["control_scale"]
        own = float(option.parse(written.pop(0)))
        option.check(own)
        if scale is not None and scale != own:
            raise Refused("control_scale_twice", name=name[:80])
        scale = own
    net = reader(name, catalog)
    told = settings(written, asked)
    told.pop("picture", None)
    use = ControlUse(net.name, picture, usual if scale is None else scale, **told)
    return resolved(use, catalog)


def picture_of(asked: str, catalog: Catalog) -> str | None:
    """The option whose picture a ControlNet is told to read; None where nobody says. Raises
    Refused.
    """
    _, written = _taken_apart(asked, catalog)
    return settings([part for part in written if "=" in part], asked).get("picture")


def _taken_apart(asked: str, catalog: Catalog) -> tuple[str, list[str]]:
    """A name, and what stands behind it between colons."""
    parts = asked.split(":")
    ends = range(len(parts), 0, -1)
    names = (":".join(parts[:end]) for end in ends)
    name = next((n for n in names if _find(n, catalog) is not None), None)
    if name is not None:
        return name, parts[len(name.split(":")) :]
    found = NAMED.search(asked)
    return (asked if found is None else asked[: found.start()]), []


def reader(name: str, catalog: Catalog) -> ModelFile:
    """What reads a control picture by that name: a ControlNet, or a checkpoint or LoRA that follows
    one itself. Raises Refused.
    """
    return _find(name, catalog) or catalog.get(ModelKind.CONTROLNET, name)


def _find(name: str, catalog: Catalog) -> ModelFile | None:
    net = catalog.find(ModelKind.CONTROLNET, name)
    if net is not None:
        return net
    others = (catalog.find(kind, name) for kind in (ModelKind.CHECKPOINT, ModelKind.LORA))
    return next((model for model in others if model is not None and follows(model)), None)


def settings(written: Sequence[str], shown: str) -> dict[str, Any]:
    """The fields of a ControlUse that `kind=depth`, `start=0.2`, … give, and under "picture" the
    option whose picture it reads; `shown` is the whole as it was written. Raises Refused.

    Where no preprocessor is named the usual one is chosen later, by `resolved`.
    """
    found: dict[str, Any] = {"automatic": True}
    seen: set[str] = set()
    for part in written:
        told = _PART.fullmatch(part)
        key = told["key"].casefold() if told is not None else ""
        if told is None or key not in KEYS or key in seen:
            raise Refused("control_parts", text=shown[:80])
        seen.add(key)
        found |= _READ[key](told["value"])
    return found


def _kind(text: str) -> dict[str, Any]:
    kind = text.casefold()
    if kind not in KINDS:
        [alike] = nearest(kind, KINDS)
        raise Refused("control_kind_unknown", kind=kind[:40], nearest=alike)
    return {"kind": kind}


def _preprocessor(text: str) -> dict[str, Any]:
    if text.casefold() == AUTO:
        return {}
    return {"preprocessor": named(text), "automatic": False}


def _resolution(text: str) -> dict[str, Any]:
    number = _number(text, "res", 0, SIDE_MAX)
    if number % 1 or 0 < number < SIDE_MIN:
        raise Refused("control_number", key="res", value=text[:40], low=SIDE_MIN, high=SIDE_MAX)
    return {"resolution": int(number)}


def _number(text: str, key: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise Refused("control_number", key=key, value=text[:40], low=low, high=high)
    return number


def share(text: str) -> float:
    """A part of the steps, from 0 to 1, that somebody wrote. Raises Refused."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise Refused("control_share", value=text[:40])
    return found


def _one_of(key: str, field: str, names: Mapping[str, str]) -> Callable[[str], dict[str, Any]]:
    def read(text: str) -> dict[str, Any]:
        found = names.get(text.casefold())
        if found is None:
            choices = ", ".join(dict.fromkeys(names.values()) if key != "picture" else names)
            raise Refused("control_choice", key=key, value=text[:40], choices=choices)
        return {field: found}

    return read


_READ: Final[Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "kind": _kind,
    "start": lambda text: {"start": share(text)},
    "end": lambda text: {"end": share(text)},
    "pre": _preprocessor,
    "res": _resolution,
    "a": lambda text: {"threshold_a": _number(text, "a", 0, 255)},
    "b": lambda text: {"threshold_b": _number(text, "b", 0, 255)},
    "mode": _one_of("mode", "mode", MODES),
    "fit": _one_of("fit", "fit", FITS),
    "picture": _one_of("picture", "picture", PICTURES),
}


def resolved(use: ControlUse, catalog: Catalog) -> ControlUse:
    """With the usual preprocessor where nobody named one, as far as its files are there."""
    if not use.automatic:
        return use
    net = _find(use.name, catalog)
    if net is None:
        return use
    usual = usual_for(net, use.kind)
    if lacking(usual, catalog):
        usual = NONE
    return msgspec.structs.replace(use, preprocessor=usual)


def unavailable(catalog: Catalog) -> frozenset[str]:
    """The preprocessors whose files are not there."""
    return frozenset(name for name in PREPROCESSORS if lacking(name, catalog))


def offered(model: ModelFile, catalog: Catalog) -> list[str]:
    """The ControlNets that fit a model, those that are told the kind of a picture with each kind;
    the model itself, where it follows a picture. Raises Refused where there is none.
    """
    if follows(model):
        return [model.name]
    fitting = (net for net in catalog.controlnets if net.fits(model))
    found = [name for net in fitting for name in names(net)]
    if not found:
        raise Refused("no_controlnets", model=model.name)
    return found


def addable(request: GenerationRequest, catalog: Catalog) -> list[str]:
    """What may read one more picture of a request. Raises Refused where nothing may."""
    if len(request.controls) >= CONTROLS_MAX:
        raise Refused("controls_too_many", high=CONTROLS_MAX)
    model = catalog.get(ModelKind.CHECKPOINT, request.model)
    if request.controls and follows(model):
        raise Refused("control_one_followed", model=model.name)
    return offered(model, catalog)


def lacking(preprocessor: str, catalog: Catalog) -> tuple[str, ...]:
    """The annotators that a preprocessor needs and that are not there."""
    return tuple(need for need in PREPROCESSORS[preprocessor].needs if not catalog.annotator(need))


def written(use: ControlUse) -> str:
    """What stands behind the name and the scale; "" where nothing does."""
    found = [f":kind={use.kind}"] if use.kind is not None else []
    if use.start > 0:
        found.append(f":start={exact(use.start)}")
    if use.end < 1:
        found.append(f":end={exact(use.end)}")
    if not use.automatic:
        found.append(f":pre={use.preprocessor}")
    if use.resolution:
        found.append(f":res={use.resolution}")
    if use.threshold_a is not None:
        found.append(f":a={exact(use.threshold_a)}")
    if use.threshold_b is not None:
        found.append(f":b={exact(use.threshold_b)}")
    if use.mode != "balanced":
        found.append(f":mode={use.mode}")
    if use.fit != "crop":
        found.append(f":fit={use.fit}")
    return "".join(found)


def check(use: ControlUse, net: ModelFile, catalog: Catalog) -> None:
    """Refuse a kind of picture that the ControlNet is not told, a part of the steps that is none,
    a preprocessor that is not there or is told too much, and anything of what follows its picture
    as it was trained to.
    """
    kinds = kinds_of(net)
    if use.kind is not None and not kinds:
        raise Refused("control_kind_alone", name=net.name, kind=use.kind[:40])
    if use.kind is not None and use.kind not in kinds:
        raise Refused("control_kind", name=net.name, kind=use.kind[:40], kinds=", ".join(kinds))
    if follows(net) and (use.scale, use.start, use.end, use.mode) != (1, 0, 1, "balanced"):
        raise Refused("control_as_trained", name=net.name)
    if use.mode != "balanced" and net.family not in SOFT and not net.may_be_of("sd1"):
        raise Refused("control_mode_unknown", name=net.name)
    if use.start >= use.end:
        raise Refused("control_span", start=use.start, end=use.end)
    check_preprocessor(use, catalog)


def check_preprocessor(use: ControlUse, catalog: Catalog) -> None:
    """Refuse a preprocessor that is not there, or numbers that it does not take."""
    row = PREPROCESSORS.get(use.preprocessor)
    if row is None:
        raise Refused(
            "preprocessor_unknown",
            name=use.preprocessor[:80],
            nearest=", ".join(nearest(use.preprocessor, PREPROCESSORS, 3)),
        )
    missing = lacking(row.name, catalog)
    if missing:
        raise Refused(f"annotator_missing_{missing[0]}", name=row.name)
    for key, value, slider in (("a", use.threshold_a, row.a), ("b", use.threshold_b, row.b)):
        if value is not None:
            _check_slider(row.name, key, value, slider)


def _check_slider(name: str, key: str, value: float, slider: Slider | None) -> None:
    if slider is None:
        raise Refused("preprocessor_number", name=name, key=key)
    if not slider.low <= value <= slider.high:
        raise Refused(
            "control_number", key=key, value=exact(value), low=slider.low, high=slider.high
        )


def preview_of(asked: str, catalog: Catalog) -> ControlUse:
    """What a control picture is made with, as `canny` or `canny:a=50`. Raises Refused."""
    name, *parts = asked.split(":")
    told = settings([f"pre={name.strip()}", *parts], asked)
    told.pop("picture", None)
    use = ControlUse("", "0" * 64, **told | {"automatic": False})
    check_preprocessor(use, catalog)
    return use


def reading(use: ControlUse, picture: str) -> ControlUse:
    """The same of another picture of the store."""
    return msgspec.structs.replace(use, picture=picture)


def untold(uses: Iterable[ControlUse], catalog: Catalog) -> list[ModelFile]:
    """The unions among them that nobody told the kind of the picture."""
    nets = (catalog.find(ModelKind.CONTROLNET, use.name) for use in uses if use.kind is None)
    return [net for net in nets if net is not None and kinds_of(net)]


class Unmade(msgspec.Struct, frozen=True):
    """A ControlNet that is handed a picture as it is, for want of a file."""

    net: str
    preprocessor: str
    """What would make the pictures that it reads."""
    annotator: str
    """What that needs and is not there, as in `preprocessors.Annotator`."""


def unmade(uses: Iterable[ControlUse], catalog: Catalog) -> list[Unmade]:
    """Those among them whose usual preprocessor lacks a file, so that nothing is made of theirs."""
    found = []
    for use in uses:
        net = _find(use.name, catalog) if use.automatic and use.preprocessor == NONE else None
        usual = NONE if net is None else usual_for(net, use.kind)
        found += [Unmade(use.name, usual, need) for need in lacking(usual, catalog)[:1]]
    return found


def names(net: ModelFile) -> list[str]:
    """What completion offers: its name, that of a union with each kind behind it."""
    short = choice_of(net.name, SHORT)
    return [net.name, *(f"{short}:kind={kind}" for kind in kinds_of(net))]
