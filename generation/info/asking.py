"""The request that a file's data mean here."""

from typing import Any, Final

import msgspec

from generation import checks, completion
from generation.catalog import Catalog
from generation.families import FAMILIES, family_of
from generation.info.found import Info
from generation.info.resolving import NotHere, Resolved
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import PROMPT_MAX
from generation.request_options import stepped
from generation.rules import Rules, default_model

STANDS_IN: Final = "x"
"""For the prompt while all else is completed: nothing in a stranger's is drawn or taken out."""
NAMED_MAX: Final = 5


def request_of(info: Info, resolved: Resolved, catalog: Catalog, rules: Rules) -> GenerationRequest:
    """What would be asked for. Raises Refused, naming what is missing or what would not do."""
    if info.refused is not None:
        raise Refused(info.refused.code, **info.refused.params)
    if resolved.missing:
        raise Refused("info_missing", names=named(resolved.missing))
    if info.request is not None:
        request = info.request.with_(
            **resolved.files, loras=[msgspec.to_builtins(use) for use in resolved.loras.values()]
        )
        checks.check(request, catalog, rules)
        return request
    if not info.prompt.strip():
        raise Refused("info_without_prompt", program=info.program)
    given: dict[str, Any] = {
        "clip_skip": 1,
        **info.given,
        **resolved.files,
        "prompt": STANDS_IN,
        "negative_prompt": "",
    }
    _guidance(given, catalog, rules)
    # where a file says nothing of a hires pass there was none
    given.setdefault("hires", "off")
    if resolved.loras:
        given["lora"] = tuple(resolved.loras.values())
    if "refiner" not in given:
        given.pop("refiner_switch", None)
    request = completion.complete(stepped(given), catalog, rules)
    try:
        request = request.with_(
            prompt=info.prompt,
            negative_prompt=info.negative_prompt,
            conventions=info.conventions,
        )
    except msgspec.ValidationError:
        longest = max(len(info.prompt), len(info.negative_prompt))
        raise Refused("too_long", option="prompt", length=longest, high=PROMPT_MAX) from None
    checks.check(request, catalog, rules)
    return request


def _guidance(given: dict[str, Any], catalog: Catalog, rules: Rules) -> None:
    """Of a model that is told its guidance, that is what it was told, and its CFG is none; where
    nothing says what it was told, it is as usual.
    """
    distilled = given.pop("distilled", None)
    name = str(given.get("model") or default_model(catalog, rules))
    model = catalog.find(ModelKind.CHECKPOINT, name)
    if model is None or model.family not in FAMILIES:
        return
    if family_of(model).guidance == "distilled":
        cfg = given.pop("guidance", None)
        if distilled is not None:
            given["guidance"] = distilled
        elif cfg is not None and cfg != 1:
            given["guidance"] = cfg


def options_of(info: Info, resolved: Resolved) -> dict[str, Any]:
    """The same as options that people can change: what is missing by the name that it has there."""
    found: dict[str, Any] = {"prompt": info.prompt}
    if info.negative_prompt:
        found["negative_prompt"] = info.negative_prompt
    found |= info.given
    distilled = found.pop("distilled", None)
    if distilled is not None and found.get("guidance", 1) == 1:
        found["guidance"] = distilled
    if info.conventions != "a1111":
        found["conventions"] = info.conventions
    if "width" in found:
        found.setdefault("hires", "off")
    for option, file in info.files.items():
        name = resolved.files.get(option, file.name)
        if name:
            found[option] = name
    if info.loras:
        found["lora"] = tuple(resolved.loras.get(use.name, use) for use in info.loras)
    return found


def named(missing: tuple[NotHere, ...]) -> str:
    """The names of what is missing, as many as a sentence takes."""
    names = ", ".join(f"{one.name}" for one in missing[:NAMED_MAX])
    return names + (", …" if len(missing) > NAMED_MAX else "")
