"""The LoRAs that a request names: by option, as `NAME:WEIGHT`, or by tags in the prompt."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from generation.catalog import Catalog
from generation.models import ModelKind
from generation.prompts import Tag
from generation.refusal import Refused
from generation.request_fields import LORAS_MAX
from generation.request_options import options
from generation.request_parts import LoraUse

_WEIGHT: Final = re.compile(r"\s*(?:(?P<key>[^=]*?)\s*=)?(?P<number>[^=]*)")


def of(asked: object, weight: object, tags: list[Tag], catalog: Catalog) -> list[LoraUse]:
    """Each LoRA once, as the catalogue names it; what a tag says of it holds.

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
    found = once(_canonical(_option(each, weight, catalog), catalog) for each in named)
    found |= once(_canonical(_tagged(tag.parts, str(tag), catalog), catalog) for tag in tags)
    check_count(len(found))
    return list(found.values())


def once(uses: Iterable[LoraUse]) -> dict[str, LoraUse]:
    """By name. Raises Refused where one has two weights."""
    found: dict[str, LoraUse] = {}
    for use in uses:
        if found.setdefault(use.name, use) != use:
            raise Refused("lora_twice", name=use.name[:80])
    return found


def over(
    under: Iterable[LoraUse], uses: Iterable[LoraUse], catalog: Catalog
) -> tuple[LoraUse, ...]:
    """Those of both, named as the catalogue does; one that is in both is as in `uses`."""
    named = [_canonical(use, catalog) for use in (*under, *uses)]
    return tuple({use.name: use for use in named}.values())


def check_count(count: int) -> None:
    """Refuse more LoRAs than a request can have."""
    if count > LORAS_MAX:
        raise Refused("loras_too_many", high=LORAS_MAX)


def weighed(name: str, written: Sequence[str], shown: str) -> LoraUse:
    """A LoRA and the weights behind its name, in A1111's order: text encoder, UNet.

    One alone holds for both, and `te=` and `unet=` name theirs; `te=` alone holds for both, too,
    and beside `unet=` alone the text encoder has 1. `shown` is the whole as it was written. Raises
    Refused.
    """
    parse = options()["lora_weight"].parse
    plain: list[float] = []
    named: dict[str, float] = {}
    for part in written:
        weight = _WEIGHT.fullmatch(part)
        if weight is None:
            raise Refused("tag_parts", tag=shown[:80])
        key = weight["key"]
        if key is not None and key.casefold() not in ("te", "unet"):
            raise Refused("tag_key", tag=shown[:80], key=key[:20])
        number = float(parse(weight["number"]))
        options()["lora_weight"].check(number)
        if key is None:
            plain.append(number)
        else:
            named[key.casefold()] = number
    if len(plain) > 2:
        # the third is the rank, which some LoRAs for A1111 can have lowered
        raise Refused("tag_parts", tag=shown[:80])
    te = named.get("te", plain[0] if plain else 1.0)
    unet = named.get("unet", plain[1] if len(plain) > 1 else te)
    return LoraUse(name, unet, None if te == unet else te)


def _canonical(use: LoraUse, catalog: Catalog) -> LoraUse:
    options()["lora"].check(use.name)
    options()["lora_weight"].check(use.weight)
    return msgspec.structs.replace(use, name=catalog.get(ModelKind.LORA, use.name).name)


def _option(asked: str | LoraUse, weight: object, catalog: Catalog) -> LoraUse:
    """`NAME` or, where there is no LoRA of that whole name, with weights behind it."""
    if isinstance(asked, LoraUse):
        return asked
    parts = asked.split(":")
    if weight is not None:
        if len(parts) > 1 and not _is_lora(asked, catalog):
            raise Refused("lora_weight_twice", name=":".join(parts[:-1])[:80])
        return LoraUse(asked, float(str(weight)))
    return _tagged(parts, asked, catalog)


def _tagged(parts: Sequence[str], shown: str, catalog: Catalog) -> LoraUse:
    """A name, which may have colons of its own, and weights."""
    ends = range(len(parts), 0, -1)
    end = next((n for n in ends if _is_lora(":".join(parts[:n]), catalog)), 1)
    name = ":".join(parts[:end])
    return weighed(name if _is_lora(name, catalog) else name.strip(), parts[end:], shown)


def _is_lora(name: str, catalog: Catalog) -> bool:
    return catalog.find(ModelKind.LORA, name) is not None
