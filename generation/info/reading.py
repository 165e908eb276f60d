"""Which program has written a file's texts, and what they say."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from generation.info import a1111, flagged, novelai, own, tables
from generation.info.comfyui import reading as comfyui
from generation.info.found import Info, PictureSize
from generation.metadata import INFOTEXT_MAX
from generation.refusal import Refused

Reader = Callable[[Mapping[str, str], PictureSize], Info | None]
"""None for texts that are not that program's. Raises Refused for what can't be read of them."""

PLAIN: Final = ("parameters", "UserComment", "Comment", "Description")
"""Where infotexts stand, the likeliest first."""


def read(texts: Mapping[str, str], name: str, size: PictureSize = None) -> Info:
    """What the texts of the file `name` say, by their keywords. Takes bounded time and memory.

    Raises Refused: what a reader raises, data_none.
    """
    refused: Refused | None = None
    for reader in READERS:
        try:
            found = reader(texts, size)
        except Refused as error:
            refused = refused or error
            continue
        if found is not None:
            return found
    if refused is not None:
        raise Refused(refused.code, **{"file": name, **refused.params})
    raise Refused("data_none", file=name)


def _own(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    return own.read(texts["darkroom"]) if "darkroom" in texts else None


def _infotext(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    for keyword in PLAIN:
        found = a1111.read(texts[keyword]) if keyword in texts else None
        if found is not None:
            if {"prompt", "workflow"} & texts.keys():
                # a node of ComfyUI's has written what others read
                return msgspec.structs.replace(found, program="ComfyUI", conventions="comfyui")
            return found
    return None


def _plain(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """A prompt alone, where infotexts stand."""
    text = texts.get("parameters", "")
    if not text or text.startswith("{"):
        return None
    if len(text) > INFOTEXT_MAX:
        raise Refused("data_too_long")
    prompt, loras, notes = a1111.tagged(text)
    return Info(program=a1111.PROGRAM, prompt=prompt, loras=loras, notes=notes, text=text)


READERS: Final[tuple[Reader, ...]] = (
    *(_own, _infotext),
    *(tables.swarmui, tables.fooocus, tables.invokeai, tables.old_invokeai, flagged.dream),
    *(novelai.read, tables.draw_things, flagged.midjourney),
    *(comfyui.read, _plain),
)
"""One after the other: those whose texts are told with certainty first."""
