"""Which options of a request a program that draws for the bot is not told."""

from typing import Final

import msgspec

from generation.request import GenerationRequest
from generation.request_options import options

ELSEWHERE: Final = frozenset(("template", "negative_template", "mode", "full", "format", "quality"))
"""Fields that change nothing of what is drawn, or only its file."""
NAMES: Final = {"image_prompts": "image_prompt"}
"""What people call fields that are no option themselves."""


def unsaid(request: GenerationRequest, said: frozenset[str]) -> str:
    """The name of the first option that changes what is drawn and is no field of `said`; "" where
    there is none.
    """
    for field in msgspec.structs.fields(GenerationRequest):
        if field.name in said or field.name in ELSEWHERE or _unused(request, field.name):
            continue
        if getattr(request, field.name) != field.default:
            return _option(field.name)
    return ""


def _unused(request: GenerationRequest, field: str) -> bool:
    """Whether a field means nothing where it stands."""
    if field in ("variation_seed", "variation_strength"):
        return not request.varied
    option = options().get(field)
    needs = option.needs if option is not None else ""
    if field == "refiner_switch":
        needs = "refiner"
    return bool(needs) and not request.has(needs)


def _option(field: str) -> str:
    found = (option.name for option in options().values() if option.field == field)
    return NAMES.get(field) or next(found, field)
