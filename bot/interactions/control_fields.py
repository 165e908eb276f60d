"""What the fields of a modal say of a ControlNet, as it is written behind its name."""

import re
from typing import Any, Final

from bot.interactions.asking import named_or_chosen
from bot.interactions.modal_submit import Values, text_of
from bot.ui.control_fields import MODE, NETS, NUMBERS, PREPROCESSOR
from generation.preprocessors import AUTO
from generation.refusal import Refused
from generation.request_options import options

APART: Final = re.compile(r"[\s,;，；]+")


def asked_of(values: Values) -> tuple[str, float]:
    """The ControlNet with what it is told behind its name, and its scale. Raises Refused."""
    scale, *span = _numbers(text_of(values, NUMBERS))
    told = [f"{key}={number}" for key, number in zip(("start", "end"), span, strict=False)]
    for key, field, usual in (("pre", PREPROCESSOR, AUTO), ("mode", MODE, "balanced")):
        chosen: Any = values.get(field)
        if isinstance(chosen, list) and chosen and chosen[0] != usual:
            told.append(f"{key}={chosen[0]}")
    option = options()["control_scale"]
    number = option.parse(scale)
    option.check(number)
    return ":".join([named_or_chosen(values, NETS), *told]), float(number)


def _numbers(text: str) -> list[str]:
    """A scale, a start and an end, or the first of them."""
    found = APART.split(text) if text else ["1"]
    if len(found) > 3:
        raise Refused("control_numbers", text=text[:40])
    return found
