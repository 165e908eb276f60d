"""Prompts that carry their settings as flags: Midjourney's `Description`, InvokeAI's `Dream`."""

import re
from collections.abc import Mapping
from typing import Final

from generation import sizes
from generation.info import json_text
from generation.info.compel import as_a1111
from generation.info.found import Info, Note, PictureSize, Said
from generation.refusal import Refused

JOB: Final = "Job ID: "
_FLAG: Final = re.compile(r"(?:^|(?<=\s))--(?=[a-zA-Z])")
_DREAM_FLAG: Final = re.compile(r"-(?P<name>[A-Za-z])\s?(?P<value>[^\s-]\S*)")
_UNWANTED: Final = re.compile(r"\[([^\[\]]*)\]")
"""What was not wanted stood in square brackets."""
DREAM: Final[Mapping[str, str]] = {
    "s": "steps",
    "S": "seed",
    "W": "width",
    "H": "height",
    "C": "guidance",
    "A": "sampler",
}


def midjourney(texts: Mapping[str, str], size: PictureSize) -> Info | None:
    """A prompt with flags, behind which its job's number stands."""
    text = texts.get("Description", "")[:20_000]
    text, mark, _ = text.rpartition(JOB)
    if not mark:
        return None
    prompt, *flags = _FLAG.split(text.strip())
    given: dict[str, Said] = {}
    negative, ignored = "", []
    for flag in flags:
        name, _, value = flag.strip().partition(" ")
        seed = json_text.whole(value.strip())
        if name == "no":
            negative = value.strip()
        elif name == "seed" and seed is not None:
            given["seed"] = seed
        elif name in ("ar", "aspect") and _is_aspect(value.strip()):
            given["aspect"] = value.strip()
        else:
            ignored.append(f"--{name[:20]}")
    if size is not None and "aspect" not in given and _is_aspect(f"{size[0]}:{size[1]}"):
        given["aspect"] = f"{size[0]}:{size[1]}"
    notes = (Note("info_other_noise", {"program": "Midjourney"}),)
    return Info(
        program="Midjourney",
        prompt=prompt.strip(),
        negative_prompt=negative,
        given=given,
        ignored=tuple(dict.fromkeys(ignored))[:40],
        notes=notes,
        text=texts["Description"],
    )


def dream(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """`"a prompt" -s 50 -S 7 -W 512 -H 512 -C 7.5 -A k_lms`."""
    text = texts.get("Dream", "")[:20_000]
    end = text.rfind('" -')
    if not text.startswith('"') or end < 1:
        return None
    said, rest = text[1:end], text[end + 1 :]
    given: dict[str, Said] = {}
    for flag in _DREAM_FLAG.finditer(rest):
        option, value = DREAM.get(flag["name"], ""), flag["value"]
        number = json_text.number(value)
        if option == "sampler":
            given[option] = value.removeprefix("k_")[:100]
        elif option and number is not None:
            given[option] = float(number) if option == "guidance" else int(number)
    if given.get("sampler") == "euler_a":
        given["sampler"] = "Euler a"
    prompt = _UNWANTED.sub("", said)
    return Info(
        program="InvokeAI",
        prompt=as_a1111(prompt).strip(),
        negative_prompt=", ".join(_UNWANTED.findall(said)),
        given=given,
        notes=(Note("info_other_noise", {"program": "InvokeAI"}),),
        text=text,
    )


def _is_aspect(text: str) -> bool:
    try:
        sizes.ratio(text)
    except Refused:
        return False
    return True
