"""A request's parameters as lines of text that people edit: `steps: 20`, one line a parameter."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from generation.name_search import nearest
from generation.refusal import Refused
from generation.request import ControlUse, GenerationRequest, LoraUse
from generation.request_options import Option, options

ELSEWHERE: Final = frozenset(("prompt", "negative_prompt"))
"""They have fields of their own."""
REPEATED: Final = frozenset(("lora", "controlnet"))
"""A line each: `lora: NAME:WEIGHT`, `controlnet: NAME:SCALE`."""


def write(request: GenerationRequest) -> str:
    """The parameters, one a line, in the order in which the request declares them."""
    values = msgspec.structs.asdict(request)
    lines = [
        f"{option.name}: {_formatted(values[option.field])}"
        for option in _scalars()
        if values[option.field] is not None and _matters(option, request)
    ]
    lines += [f"lora: {use.name}:{use.weight:g}" for use in request.loras]
    lines += [f"controlnet: {use.name}:{use.scale:g}" for use in request.controls]
    return "\n".join(lines)


def read(text: str, base: GenerationRequest) -> GenerationRequest:
    """`base` changed as the lines say. A LoRA or ControlNet whose line is gone is left out.

    Raises Refused, naming the line, for what is no parameter or out of bounds.
    """
    scalars = {option.name: option for option in _scalars()}
    # an optional parameter whose line is gone is left out too
    changes: dict[str, Any] = {
        field.name: None
        for field in msgspec.structs.fields(GenerationRequest)
        if field.default is None and field.name != "init_picture"
    }
    loras: list[LoraUse] = []
    nets: list[tuple[str, float]] = []
    for name, value in _lines(text):
        if name == "lora":
            loras.append(LoraUse(*_named(value, options()["lora_weight"])))
        elif name == "controlnet":
            nets.append(_named(value, options()["control_scale"]))
        elif name in scalars:
            option = scalars[name]
            changes[option.field] = option.parse(value)
            option.check(changes[option.field])
        else:
            known = [*scalars, *sorted(REPEATED)]
            [alike] = nearest(name, known)
            raise Refused("parameter_unknown", name=name[:50], nearest=alike)
    if len(nets) > len(base.controls):
        raise Refused("controls_not_added")
    controls = tuple(
        ControlUse(name=name, picture=use.picture, scale=scale)
        for (name, scale), use in zip(nets, base.controls, strict=False)
    )
    if changes.get("variation_seed") is None:
        changes |= {"variation_strength": 0.0, "lineage": ()}
    return base.with_(**changes, loras=tuple(loras), controls=controls)


def _scalars() -> Iterator[Option]:
    for option in options().values():
        if not option.item and not option.picture and option.name not in ELSEWHERE:
            yield option


def _matters(option: Option, request: GenerationRequest) -> bool:
    """Parameters that do nothing in this request only clutter the dialog."""
    if option.name == "denoising":
        return request.init_picture is not None
    if option.name == "variation_strength":
        return request.variation_seed is not None
    return True


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if not line.strip():
            continue
        name, colon, value = line.replace("：", ":").partition(":")
        if not colon or not value.strip():
            raise Refused("parameter_line", line=line.strip()[:80])
        yield name.strip().casefold().replace(" ", "_"), value.strip()


def _named(value: str, weight: Option) -> tuple[str, float]:
    """`NAME:WEIGHT` or `NAME`."""
    name, colon, number = value.rpartition(":")
    if not colon:
        return value.strip(), 1.0
    parsed = weight.parse(number.strip())
    weight.check(parsed)
    return name.strip(), float(parsed)


def _formatted(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
