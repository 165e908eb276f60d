"""The LoRAs that a request names: by option, as `NAME:WEIGHT`, or by tags in the prompt."""

import re
from typing import Final

from generation.catalog import Catalog
from generation.models import ModelKind
from generation.prompts import Tag
from generation.refusal import Refused
from generation.request import LORAS_MAX, LoraUse
from generation.request_options import options

_WEIGHT: Final = re.compile(r"\s*(?:(?P<key>te|unet)\s*=)?(?P<number>[^=]*)", re.IGNORECASE)


def of(asked: object, weight: object, tags: list[Tag], catalog: Catalog) -> list[LoraUse]:
    """Each LoRA once, as the catalogue names it.

    `asked` is what the option `lora` was given: nothing, a text, or several texts and LoraUses;
    `weight` is that of the option `lora_weight`. Raises Refused.
    """
    named = asked if isinstance(asked, tuple) else () if asked is None else (str(asked),)
    if weight is not None and not named:
        raise Refused("option_needs", option="lora_weight", needs="lora")
    if weight is not None and len(named) > 1:
        raise Refused("lora_weight_of_which")
    if not named and not tags:
        return []
    uses = [_use(*_option(each, weight, catalog), catalog) for each in named]
    uses += [_use(*_tagged(tag, catalog), catalog) for tag in tags]
    found: dict[str, LoraUse] = {}
    for use in uses:
        if found.setdefault(use.name, use) != use:
            raise Refused("lora_twice", name=use.name[:80])
    check_count(len(found))
    return list(found.values())


def check_count(count: int) -> None:
    """Refuse more LoRAs than a request can have."""
    if count > LORAS_MAX:
        raise Refused("loras_too_many", high=LORAS_MAX)


def _use(name: str, weight: float, catalog: Catalog) -> LoraUse:
    options()["lora_weight"].check(weight)
    options()["lora"].check(name)
    return LoraUse(name=catalog.get(ModelKind.LORA, name).name, weight=weight)


def _option(asked: str | LoraUse, weight: object, catalog: Catalog) -> tuple[str, float]:
    """`NAME` or, where there is no LoRA of that whole name, `NAME:WEIGHT`."""
    if isinstance(asked, LoraUse):
        return asked.name, asked.weight
    name, colon, written = asked.rpartition(":")
    if not colon or _is_lora(asked, catalog):
        return asked, 1.0 if weight is None else float(str(weight))
    if weight is not None:
        raise Refused("lora_weight_twice", name=name[:80])
    return name.strip(), float(options()["lora_weight"].parse(written))


def _tagged(tag: Tag, catalog: Catalog) -> tuple[str, float]:
    """`<lora:NAME>`, `<lora:NAME:WEIGHT>`, or with the same weight for text encoder and UNet."""
    # a name may have colons of its own
    ends = range(len(tag.parts), 0, -1)
    end = next((n for n in ends if _is_lora(":".join(tag.parts[:n]), catalog)), 1)
    name = ":".join(tag.parts[:end])
    weights = [_WEIGHT.fullmatch(part) for part in tag.parts[end:]]
    if len(weights) > 2 or None in weights:
        raise Refused("tag_parts", tag=str(tag)[:80])
    parse = options()["lora_weight"].parse
    numbers = {float(parse(weight["number"])) for weight in weights if weight} or {1.0}
    alone = len(weights) == 1 and weights[0] is not None and weights[0]["key"] is not None
    if alone or len(numbers) > 1:
        raise Refused("tag_two_weights", tag=str(tag)[:80])
    return name if _is_lora(name, catalog) else name.strip(), numbers.pop()


def _is_lora(name: str, catalog: Catalog) -> bool:
    return catalog.find(ModelKind.LORA, name) is not None
