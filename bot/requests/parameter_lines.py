"""A request's parameters as lines of text that people edit: `steps: 20`, one line a parameter.

What is written is read back the same to the last digit. A name that begins or ends with blanks,
breaks lines or begins with a quotation mark is written as a JSON string.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from generation import control_uses, image_prompts, lora_uses
from generation.completion import drawn
from generation.name_search import nearest
from generation.preset import FACES
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import CONTROLS_MAX
from generation.request_options import Option, exact, options
from generation.request_parts import ControlUse, ImagePrompt, LoraUse

ELSEWHERE: Final = frozenset(("prompt", "negative_prompt"))
"""They have fields of their own."""
REPEATED: Final = frozenset(("lora", "controlnet", "ip_adapter"))
"""A line each: `lora: NAME:WEIGHT` (see `lora_text`), `controlnet: NAME:SCALE:kind=KIND`."""
_BREAK: Final = re.compile(r"\r\n|\r|\n")
_COLON: Final = re.compile(r"[:：]")
_NAMED_WEIGHTS: Final = re.compile(
    r"(?:[:：]\s*+(?:te|unet)\s*+=\s*+[^:：=\x22]*+){1,2}\Z", re.IGNORECASE
)
_WIDE_WEIGHT: Final = re.compile(r"(.+)：\s*([-+.\d\s]+)", re.DOTALL)


def write(request: GenerationRequest) -> str:
    """The parameters, one a line, in the order in which the request declares them."""
    values = msgspec.structs.asdict(request)
    lines = [
        f"{option.name}: {_formatted(values[option.field])}"
        for option in _scalars()
        if values[option.field] is not None and _matters(option, request)
    ]
    lines += [f"lora: {lora_text(use)}" for use in request.loras]
    lines += [f"controlnet: {_control_text(use)}" for use in request.controls]
    lines += [f"ip_adapter: {_prompted_text(prompt)}" for prompt in request.image_prompts]
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
        if field.default is None and field.name in {option.field for option in _scalars()}
    }
    seen: dict[str, str] = {}
    loras: list[LoraUse] = []
    nets: list[dict[str, Any]] = []
    prompted: list[ImagePrompt] = []
    for name, value in lines(text):
        if name == "lora":
            loras.append(lora_use(value))
        elif name == "controlnet":
            nets.append(_control(value))
        elif name == "ip_adapter":
            if len(prompted) == len(base.image_prompts):
                raise Refused("image_prompts_not_added")
            before = base.image_prompts[len(prompted)]
            prompted.append(image_prompts.read_line(value, before))
        elif name not in scalars:
            [alike] = nearest(name, [*scalars, *sorted(REPEATED)])
            raise Refused("parameter_unknown", name=name[:50], nearest=alike)
        elif seen.setdefault(name, value) != value:
            raise Refused("parameter_twice", name=name)
        else:
            option = scalars[name]
            parsed = option.take(unquoted(value) if option.type is str else value)
            changes[option.field] = drawn(int(parsed)) if option.random else parsed
    loras = list(lora_uses.once(loras).values())
    lora_uses.check_count(len(loras))
    controls = _controls(nets, base)
    if changes.get("variation_seed") is None and base.variation_seed is not None:
        changes |= {"variation_strength": 0.0, "lineage": ()}
    return base.with_(
        **changes,
        loras=msgspec.to_builtins(loras),
        controls=msgspec.to_builtins(controls),
        image_prompts=msgspec.to_builtins(prompted),
    )


def _controls(nets: list[dict[str, Any]], base: GenerationRequest) -> tuple[ControlUse, ...]:
    """ControlNets with the pictures that they read, or are told to read; one more than there were
    reads the picture of the last, or else the start picture. Raises Refused where there is none.
    """
    if len(nets) > CONTROLS_MAX:
        raise Refused("controls_too_many", high=CONTROLS_MAX)
    found: list[ControlUse] = []
    for number, net in enumerate(nets):
        option = net.pop("picture", "")
        there = base.controls[min(number, len(base.controls) - 1)].picture if base.controls else ""
        if option not in ("", "control_picture") or not there:
            there = getattr(base, option or "init_picture", None) or ""
        if not there:
            raise Refused("controls_not_added")
        use = ControlUse(picture=there, **net)
        before = base.controls[number] if number < len(base.controls) else use
        if (
            use.automatic
            and before.automatic
            and (use.name, use.kind) == (before.name, before.kind)
        ):
            # the usual one stays
            use = msgspec.structs.replace(use, preprocessor=before.preprocessor)
        found.append(use)
    return tuple(found)


def _scalars() -> Iterator[Option]:
    for option in options().values():
        if not option.item and not option.picture and option.name not in ELSEWHERE:
            yield option


def _matters(option: Option, request: GenerationRequest) -> bool:
    """Parameters that do nothing in this request only clutter the dialog."""
    if option.name == "denoising":
        return request.init_picture is not None
    if option.needs:
        return request.has(option.needs)
    if option.name == "variation_strength":
        return request.variation_seed is not None
    if option.name == "refiner_switch":
        return request.refiner is not None
    if option.name == "cutout":
        return request.cutout != "none"
    if option.name in FACES:
        return request.faces != "none"
    if option.name == "show_control":
        return bool(request.controls) or request.mask_words is not None
    if option.name == "conventions":
        return request.conventions != "a1111"
    if option.name in ("format", "quality"):
        return request.format != "png"
    if option.name in ("hires_tile", "hires_denoising"):
        return request.hires is not None
    return True


def lines(text: str) -> Iterator[tuple[str, str]]:
    for line in _BREAK.split(text):
        if not line.strip():
            continue
        name, *values = _COLON.split(line, maxsplit=1)
        if not values or not values[0].strip():
            raise Refused("parameter_line", line=line.strip()[:80])
        yield name.strip().casefold().replace(" ", "_"), values[0].strip()


def lora_text(use: LoraUse) -> str:
    """`NAME:WEIGHT`, or `NAME:WEIGHT:unet=WEIGHT` where that of the text encoder differs."""
    weight = exact(use.weight)
    if use.te_weight is None:
        return f"{name_text(use.name)}:{weight}"
    return f"{name_text(use.name)}:{exact(use.te_weight)}:unet={weight}"


def lora_use(value: str) -> LoraUse:
    """The LoRA that a text names, as `lora_text` writes it or alone. Raises Refused."""
    option, weight = options()["lora"], options()["lora_weight"]
    named = _NAMED_WEIGHTS.search(value)
    if named is None:
        return LoraUse(*weighted(value, option, weight))
    name, plain = weighted(value[: named.start()], option, weight)
    return lora_uses.weighed(name, [exact(plain), *_COLON.split(named[0])[1:]], value)


def _prompted_text(prompt: ImagePrompt) -> str:
    return f"{prompt.name}:{exact(prompt.weight)}{image_prompts.written(prompt)}"


def _control_text(use: ControlUse) -> str:
    return f"{name_text(use.name)}:{exact(use.scale)}{control_uses.written(use)}"


def _control(value: str) -> dict[str, Any]:
    """A ControlNet's name, scale and what else is set, as `_control_text` writes it or in part."""
    named = control_uses.NAMED.search(value)
    plain, parts = (value, "") if named is None else (value[: named.start()], named[0])
    name, scale = weighted(plain, options()["controlnet"], options()["control_scale"])
    told = control_uses.settings(_COLON.split(parts)[1:], value)
    return {"name": name, "scale": scale, **told}


def weighted(value: str, option: Option, weight: Option) -> tuple[str, float]:
    """`NAME:WEIGHT` or `NAME`."""
    name, rest = _quoted_start(value)
    if name is None:
        name, colon, number = value.rpartition(":")
        wide = _WIDE_WEIGHT.fullmatch(value) if not colon else None
        if wide is not None:
            name, colon, number = wide[1], ":", wide[2]
        name = (name if colon else value).strip()
    else:
        colon, number = rest[:1], rest[1:]
    option.check(name)
    if not colon:
        return name, 1.0
    parsed = weight.parse(number)
    weight.check(parsed)
    return name, float(parsed)


def _quoted_start(value: str) -> tuple[str | None, str]:
    """The JSON string that a value begins with, and what follows; None where it is plain text."""
    if value.startswith('"'):
        try:
            name, end = json.JSONDecoder().raw_decode(value)
        except ValueError:
            return None, ""
        rest = value[end:].strip()
        if not rest or _COLON.match(rest):
            return str(name), rest
    return None, ""


def unquoted(value: str) -> str:
    name, rest = _quoted_start(value)
    return value if name is None or rest else name


def name_text(name: str) -> str:
    plain = name and name == name.strip() and name[0] != '"' and not _BREAK.search(name)
    return name if plain else json.dumps(name, ensure_ascii=False)


def _formatted(value: object) -> str:
    if isinstance(value, float):
        return exact(value)
    return name_text(value) if isinstance(value, str) else str(value)
