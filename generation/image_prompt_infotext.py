"""IP-Adapters in infotexts: units of sd-webui-controlnet's, `ControlNet 0: "Module: …, Model: …"`,
whose module is one of IP-Adapters. What that extension has no words for stands in a key of ours.

Sources: Mikubill, github.com/Mikubill/sd-webui-controlnet; Forge's modules' names.
"""

import re
from collections.abc import Mapping
from typing import Final

from generation import control_infotext
from generation.infotext_pairs import pairs, quoted
from generation.request import GenerationRequest
from generation.request_options import exact
from generation.request_parts import ImagePrompt

AUTO: Final = "ip-adapter-auto"
OWN: Final = re.compile(r"IP-Adapter [0-9]{1,2}")
KIND, JOIN = "Weight Type", "Combine Embeds"
"""As ComfyUI's IPAdapter calls them."""
_OTHERS: Final = re.compile(r"face_?id|pulid|InsightFace", re.IGNORECASE)
"""Modules that see who somebody is, which none here does."""


def write(request: GenerationRequest) -> list[tuple[str, str]]:
    """A key and a value for each, behind those of ControlNets."""
    found: list[tuple[str, str]] = []
    for number, prompt in enumerate(request.image_prompts, start=len(request.controls)):
        found.append((f"ControlNet {number}", _joined(_unit(prompt))))
        own: list[tuple[str, str]] = [(KIND, prompt.kind)] if prompt.kind != "whole" else []
        own += [(JOIN, prompt.join)] if prompt.join != "concat" else []
        if own:
            found.append((f"IP-Adapter {number}", _joined(own)))
    return found


def _unit(prompt: ImagePrompt) -> list[tuple[str, str]]:
    return [
        ("Module", AUTO),
        ("Model", quoted(prompt.name)),
        ("Weight", exact(prompt.weight)),
        ("Guidance Start", exact(prompt.start)),
        ("Guidance End", exact(prompt.end)),
    ]


def _joined(told: list[tuple[str, str]]) -> str:
    return quoted(", ".join(f"{key}: {value}" for key, value in told))


def read(parameters: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The first IP-Adapter as people write it, "" where there is none, and the keys of those that
    mean none here. Raises Refused for a value that can't be read.
    """
    text, unread = "", []
    for key, value in parameters.items():
        if not control_infotext.UNIT.fullmatch(key):
            continue
        unit = pairs(value)
        if not control_infotext.is_image_prompt(unit):
            continue
        model = control_infotext.model_of(unit)
        if text or not model or _OTHERS.search(unit["Module"]):
            unread.append(key)
            continue
        own = pairs(parameters.get(key.replace("ControlNet", "IP-Adapter"), ""))
        text = _text(model, unit, own)
    return text, tuple(unread)


def _text(model: str, unit: Mapping[str, str], own: Mapping[str, str]) -> str:
    def number(key: str, usual: float) -> str:
        return control_infotext.number(unit, key, usual)

    found = [model, number("Weight", 1)]
    found += [f"kind={own[KIND]}"] if KIND in own else []
    start, end = number("Guidance Start", 0), number("Guidance End", 1)
    found += [f"start={start}"] if start != "0" else []
    found += [f"end={end}"] if end != "1" else []
    found += [f"join={own[JOIN]}"] if JOIN in own else []
    return ":".join(found)
