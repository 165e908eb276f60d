"""A request changed in a dialog: its prompts and parameter lines, and the flags in its prompt."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bot.requests import parameter_lines
from generation import completion, control_requests, lora_uses, prompt_flags, templates
from generation.catalog import Catalog
from generation.preset import GIVEN, PLACE, Preset, controls_of
from generation.prompt_flags import EXTENSION, Parsed
from generation.prompts import take_tags
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import CONTROLS_MAX
from generation.request_options import options
from generation.rules import Rules

CONTROL: Final = frozenset(("controlnet", "control_scale"))


class Edited(msgspec.Struct, frozen=True):
    """The new request; `private` where a flag says so.

    `ignored` are keys of pasted generation data that mean nothing here.
    """

    request: GenerationRequest
    private: bool | None = None
    ignored: tuple[str, ...] = ()


def edited(
    base: GenerationRequest,
    prompt: str,
    negative: str,
    lines: str,
    catalog: Catalog,
    rules: Rules,
    under: Preset | None = None,
    *,
    framed: bool = False,
) -> Edited:
    """`base` with what was handed in; what was not touched stays as it is, to the last digit.

    Flags in the prompt win over lines, and these, where they were changed, over pasted generation
    data, and these over a preset that was named, whose text is around the prompt already where it
    is `framed`. A LoRA's tag in the prompt adds it. Raises Refused.
    """
    request = parameter_lines.read(lines, base)
    parsed = _parsed(prompt, base)
    given: dict[str, Any] = dict(parsed.given)
    private = given.pop("private", None)
    given.pop("preset", None)
    if negative == base.negative_prompt.strip():
        negative = base.negative_prompt
    else:
        given.setdefault("negative_prompt", negative)
    for name, value in parsed.pasted.items():
        if name == EXTENSION:
            continue  # what is masked of a picture stays as it is there
        if name in ("denoising", "image_guidance") and base.init_picture is None:
            continue
        if (needs := options()[name].needs) and not base.has(needs):
            continue
        if name == "controlnet" and not base.controls:
            continue
        if name in ("width", "height") and "aspect" in given:
            continue
        field = options()[name].field
        # the seed of a start picture's dialog is another one each time
        if name == "seed" or getattr(request, field) == getattr(base, field):
            given.setdefault(name, value)
    text, tags = take_tags(parsed.prompt)
    text = text if text == base.prompt else text.strip()
    if not text:
        raise Refused("prompt_empty")
    loras = request.loras
    if under is not None:
        settings = _settings(under, base, request)
        if "aspect" in given:
            settings = {n: v for n, v in settings.items() if n not in ("width", "height")}
        given = settings | given
        template, own_tags = take_tags(under.template or "")
        if template and not framed:
            text = template.replace(PLACE, text.strip())
        loras = (*under.loras, *lora_uses.of(None, None, own_tags, catalog), *loras)
    added = lora_uses.of(given.pop("lora", None), given.pop("lora_weight", None), tags, catalog)
    uses = lora_uses.over(loras, added, catalog)
    lora_uses.check_count(len(uses))
    request = request.with_(prompt=text, loras=msgspec.to_builtins(uses))
    request = _with_control(request, {n: given.pop(n) for n in CONTROL & given.keys()}, catalog)
    request = completion.changed(request, given, catalog, rules, base)
    written = [n for n in templates.DRAWN if getattr(request, n) != getattr(base, n)]
    request = templates.drawn(request, rules.wildcards, written)
    return Edited(request, private, parsed.ignored)


def preset_named(prompt: str, base: GenerationRequest) -> str | None:
    """The preset that a flag in the prompt names. Raises Refused."""
    name = _parsed(prompt, base).given.get("preset")
    return None if name is None else str(name)


def private_told(prompt: str, base: GenerationRequest) -> bool | None:
    """What a flag in the prompt says of who sees the answer, for those who show one before all of
    it is read. Raises Refused.
    """
    told = _parsed(prompt, base).given.get("private")
    return None if told is None else bool(told)


def _settings(under: Preset, base: GenerationRequest, lines: GenerationRequest) -> dict[str, Any]:
    """What a preset gives, but for what the lines have changed."""
    found = {}
    for name in GIVEN:
        field, value = options()[name].field, getattr(under, name)
        needs = options()[name].needs
        if needs and not base.has(needs):
            continue
        if value is not None and getattr(lines, field) == getattr(base, field):
            found[name] = value
    if len(lines.controls) == 1 and lines.controls == base.controls:
        found |= controls_of(under)
    return found


def _parsed(prompt: str, base: GenerationRequest) -> Parsed:
    """The prompt's flags and pasted data; one that was not touched has none."""
    if prompt == base.prompt.strip():
        return Parsed(base.prompt, {})
    return prompt_flags.parse(prompt)


def _with_control(
    request: GenerationRequest, given: Mapping[str, Any], catalog: Catalog
) -> GenerationRequest:
    """The ControlNets as the flags say: others, or the same told anew, that read the pictures which
    are read, a further one the last of them.
    """
    if not given:
        return request
    asked, scale = control_requests.several(given.get("controlnet")), given.get("control_scale")
    if not request.controls or (not asked and len(request.controls) != 1):
        raise Refused("controls_not_added")
    last = len(request.controls) - 1
    uses = [
        control_requests.told(request.controls[min(number, last)], text, scale, request, catalog)
        for number, text in enumerate(asked)
    ]
    if not uses:
        uses = [msgspec.structs.replace(request.controls[0], scale=scale)]
    if len(uses) > CONTROLS_MAX:
        raise Refused("controls_too_many", high=CONTROLS_MAX)
    return request.with_(controls=msgspec.to_builtins(uses))
