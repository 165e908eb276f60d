"""Flags in a prompt, as Midjourney has them: `a lighthouse --ar 3:2 --seed 5 --no fog`.

Every option of a request is a flag of its name; Midjourney's short names mean the same. A prompt
that is A1111's generation data, pasted, is taken apart here too.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from generation import hires_sizes, metadata
from generation.midjourney import NO_COUNTERPART
from generation.name_search import nearest
from generation.prompts import tag_spans
from generation.refusal import Refused
from generation.request import HIRES
from generation.request_fields import PROMPT_MAX, check_text
from generation.request_options import options
from generation.request_parts import LoraUse

SHORT: Final[Mapping[str, str]] = {
    "ar": "aspect",
    "no": "negative_prompt",
    "cfg": "guidance",
    "n": "count",
    "m": "model",
    "draft": "mode",
    "hd": "mode",
    "hr": "hires",
    "hires_cfg": "hires_guidance",
    "hires_checkpoint": "hires_model",
    "hires_denoise": "hires_denoising",
    "hires_negative": "hires_negative_prompt",
    "hr_scale": "hires",
    "hr_upscaler": "hires_upscaler",
    "hr_steps": "hires_steps",
    **dict.fromkeys(("hires_upscale", "hires_scale", "hires_resize"), "hires"),
    "hires_strength": "hires_denoising",
}
MODES: Final = ("draft", "hd")
"""Flags without a value that are modes."""
EXTENSION: Final = "extension"
"""What pasted generation data say of a larger canvas for the start picture; it is no option."""
OTHERS: Final = ("aspect", "preset", "private")
"""Options of `/imagine` that are no fields of a request."""
FLAG: Final = re.compile(
    r"(?:^|(?<=\s))(?:--(?=[^\W\d_])|[—–](?=[A-Za-z]))(?P<name>[^\s=]+)=?"
    r"(?:\s*(?P<quoted>\"[^\"]*\"|'[^']*'|“[^”]*”)(?=\s|$))?"
)
"""Two dashes, or the one that phones make of them, at the beginning of a word, and a letter."""

TEXT_MAX: Final = metadata.INFOTEXT_MAX

Value = str | int | float | bool | tuple[str | LoraUse, ...]


class Parsed(msgspec.Struct, frozen=True):
    """The prompt without its flags, and what these give, by option name.

    `pasted` is what generation data in the prompt give: flags and options win over it. `ignored`
    are its keys that mean nothing here.
    """

    prompt: str
    given: dict[str, Value]
    pasted: dict[str, Value] = {}
    ignored: tuple[str, ...] = ()


def parse(text: str) -> Parsed:
    """Take the flags out of a prompt; a value goes on to the next flag.

    Raises Refused, naming the flag that is wrong.
    """
    check_text("prompt", text)
    if len(text) > TEXT_MAX:
        raise Refused("too_long", option="prompt", length=len(text), high=PROMPT_MAX)
    tags = tag_spans(text)
    found = [m for m in FLAG.finditer(text) if not any(a <= m.start() < b for a, b in tags)]
    if not found:
        return _with_pasted(text, {})
    given: dict[str, Value] = {}
    moved = ""
    for match, following in zip(found, [*found[1:], None], strict=True):
        flag = match["name"][:50]
        name = _option(flag)
        begin, end = match.end(), following.start() if following else len(text)
        rest = text[begin:end]
        if name != "negative_prompt":
            # a LoRA's tag may stand anywhere
            inside = [(a, b) for a, b in tags if begin <= a < end]
            moved += "".join(text[a:b] for a, b in inside)
            for a, b in reversed(inside):
                rest = rest[: a - begin] + rest[b - begin :]
        value = _value(name, flag, match["quoted"] or "", rest.strip())
        if name == "lora" and isinstance(value, str):
            value = (*_several(given.get("lora")), value)
        elif name == "controlnet" and isinstance(value, str) and name in given:
            value = (*_several(given[name]), value)
        elif name == "negative_prompt" and name in given:
            value = f"{given[name]}, {value}"
        elif name in given and given[name] != value:
            raise Refused("flag_twice", flag=flag)
        given[name] = value
    prompt = text[: found[0].start()].strip()
    if not prompt:
        raise Refused("flag_before_prompt")
    return _with_pasted(prompt + moved, given)


def merge(parsed: Parsed, given: Mapping[str, Any], pictures: Iterable[str] = ()) -> dict[str, Any]:
    """The options that a person chose and those that their prompt's flags give, together.

    Both win over pasted generation data. `pictures` are options whose pictures are given and read
    later. Raises Refused where the two disagree.
    """
    chosen = dict(given)
    flags = dict(parsed.given)
    if "lora" in flags and "lora" in chosen:
        # the weight that was chosen is that of the LoRA that was chosen
        loras = _several(chosen.pop("lora"))
        if "lora_weight" in chosen and len(loras) == 1:
            loras = (LoraUse(str(loras[0]), float(chosen.pop("lora_weight"))),)
        weights = flags.pop("lora_weight", None)
        own = _several(flags["lora"])
        if isinstance(weights, int | float) and len(own) == 1:
            own = (LoraUse(str(own[0]), float(weights)),)
        flags["lora"] = loras + own
    if "controlnet" in flags and "controlnet" in chosen:
        # one that is chosen and named is one
        several = (*_several(chosen.pop("controlnet")), *_several(flags["controlnet"]))
        once = tuple(dict.fromkeys(several))
        flags["controlnet"] = once if len(once) > 1 else str(once[0])
    for name, value in flags.items():
        if name in chosen and chosen[name] != value:
            raise Refused("flag_twice", flag=name)
    merged = {**chosen, **flags}
    pasted, there = dict(parsed.pasted), merged.keys() | set(pictures)
    if "aspect" in merged:
        pasted = {name: pasted[name] for name in pasted if name not in ("width", "height")}
    if "init_picture" not in there:
        pasted.pop("denoising", None)
        pasted.pop("image_guidance", None)
    if "init_picture" not in there or there & {"mask", "mask_words"}:
        pasted.pop(EXTENSION, None)
    # what goes may be what others need
    while gone := [n for n in pasted if n in options() and options()[n].lacks({*there, *pasted})]:
        pasted = {name: value for name, value in pasted.items() if name not in gone}
    if "control_picture" not in there or "controlnet" in merged:
        # what was read is not in the data
        pasted.pop("controlnet", None)
    if "image_prompt" not in there or "ip_adapter" in merged:
        pasted.pop("ip_adapter", None)
    if "refiner" not in pasted or "refiner" in merged:
        # where another one takes over is said with its name
        pasted.pop("refiner_switch", None)
    if "init_picture" in merged or hires_off(merged):
        # A1111 has a hires pass of text alone
        pasted = {name: value for name, value in pasted.items() if name not in HIRES}
    if not pasted.get("variation_strength") and "variation_strength" not in merged:
        pasted.pop("variation_seed", None)
    return {**pasted, **merged, "prompt": parsed.prompt}


def hires_off(given: Mapping[str, Any]) -> bool:
    """Whether somebody says that there is no hires pass."""
    return "hires" in given and str(given["hires"]).strip().casefold() in hires_sizes.OFF


def ignored(parsed: Parsed, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of pasted generation data that mean nothing here, or nothing for what `merge` gave:
    ControlNets and IP-Adapters whose pictures are not there.
    """
    reading = {"controlnet": "ControlNet", "ip_adapter": "IP-Adapter"}
    left = (key for name, key in reading.items() if name in parsed.pasted and name not in given)
    return (*parsed.ignored, *left)


def _with_pasted(prompt: str, given: dict[str, Value]) -> Parsed:
    """What a prompt is once generation data in it are taken apart."""
    data = metadata.read_infotext(prompt.replace("\r\n", "\n"))
    if data is None:
        return Parsed(prompt, given)
    text = data.prompt.strip()
    if not text:
        raise Refused("pasted_without_prompt")
    pasted: dict[str, Value] = dict(data.given)
    if "width" in pasted:
        # where they say nothing of a hires pass there was none
        pasted.setdefault("hires", "off")
    if data.extension:
        pasted[EXTENSION] = data.extension
    if "sampler" in pasted:
        # whatever a preset says
        pasted.setdefault("conventions", "a1111")
    return Parsed(text, given, pasted, data.ignored)


def _several(value: object) -> tuple[str | LoraUse, ...]:
    """The LoRAs or ControlNets of an option that was given once, several times or not at all."""
    if isinstance(value, tuple):
        return value
    return () if value is None else (str(value),)


@functools.cache
def _known() -> tuple[str, ...]:
    """The options that a text can give; pictures are uploaded."""
    named = (option.name for option in options().values() if not option.picture)
    return (*(name for name in named if name != "prompt"), *OTHERS)


def _option(flag: str) -> str:
    """The option that a flag means. Raises Refused with the nearest."""
    name = flag.casefold().replace("-", "_")
    name = SHORT.get(name, name)
    if name in _known():
        return name
    if name in NO_COUNTERPART:
        raise Refused(NO_COUNTERPART[name], flag=flag)
    [alike] = nearest(name, (*_known(), *SHORT))
    raise Refused("flag_unknown", flag=flag[:50], nearest=alike)


def _value(name: str, flag: str, quoted: str, rest: str) -> Value:
    """What stands behind a flag: one quoted text and nothing else, or any text."""
    text = f"{quoted} {rest}".strip() if rest else quoted[1:-1].strip()
    if name == "private":
        if text.casefold() in ("", "true", "yes", "on"):
            return True
        if text.casefold() in ("false", "no", "off"):
            return False
        raise Refused("flag_yes_or_no", flag=flag)
    if name == "mode" and flag.casefold() in MODES:
        if text.casefold() in ("", "true", "yes", "on"):
            return flag.casefold()
        if text.casefold() in ("false", "no", "off"):
            return "full"
        raise Refused("flag_yes_or_no", flag=flag)
    if not text and name in options():
        text = options()[name].alone
    if not text and name in options() and options()[name].switch:
        return "on"
    if not text:
        raise Refused("flag_empty", flag=flag)
    if name in OTHERS:
        return text
    return options()[name].take(text)
