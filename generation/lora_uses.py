"""The LoRAs that a request names: by option, as `NAME:WEIGHT`, or by tags in the prompt."""

import re
from typing import Final

from generation.catalog import Catalog
from generation.models import ModelKind
from generation.prompt_grammar import Tag
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
    if weight is not None and len(named) > 1:
        raise Refused("lora_weight_of_which")
    if not named and not tags:
        return []
    known = {lora.name.casefold() for lora in catalog.loras}
    uses = [_use(*_option(each, weight, known), catalog) for each in named]
    uses += [_use(*_tagged(tag, known), catalog) for tag in tags]
    found: dict[str, LoraUse] = {}
    for use in uses:
        if found.setdefault(use.name, use) != use:
            raise Refused("lora_twice", name=use.name[:80])
    if len(found) > LORAS_MAX:
        raise Refused("loras_too_many", high=LORAS_MAX)
    return list(found.values())


def _use(name: str, weight: float, catalog: Catalog) -> LoraUse:
    options()["lora_weight"].check(weight)
    options()["lora"].check(name)
    return LoraUse(name=catalog.get(ModelKind.LORA, name).name, weight=weight)


def _option(asked: str | LoraUse, weight: object, known: set[str]) -> tuple[str, float]:
    """`NAME` or, where there is no LoRA of that whole name, `NAME:WEIGHT`."""
    if isinstance(asked, LoraUse):
        return asked.name, asked.weight
    name, colon, written = asked.rpartition(":")
    if not colon or asked.casefold() in known:
        return asked, 1.0 if weight is None else float(str(weight))
    if weight is not None:
        raise Refused("lora_weight_twice", name=name[:80])
    return name.strip(), float(options()["lora_weight"].parse(written))


def _tagged(tag: Tag, known: set[str]) -> tuple[str, float]:
    """`<lora:NAME>`, `<lora:NAME:WEIGHT>`, or with the same weight for text encoder and UNet."""
    # a name may have colons of its own
    ends = range(len(tag.parts), 0, -1)
    end = next((n for n in ends if ":".join(tag.parts[:n]).casefold() in known), 1)
    name = ":".join(tag.parts[:end])
    weights = [_WEIGHT.fullmatch(part) for part in tag.parts[end:]]
    if len(weights) > 2 or None in weights:
        raise Refused("tag_parts", tag=str(tag)[:80])
    parse = options()["lora_weight"].parse
    numbers = {float(parse(weight["number"])) for weight in weights if weight} or {1.0}
    alone = len(weights) == 1 and weights[0] is not None and weights[0]["key"] is not None
    if alone or len(numbers) > 1:
        raise Refused("tag_two_weights", tag=str(tag)[:80])
    return name if name.casefold() in known else name.strip(), numbers.pop()
