"""This bot's own data: the whole request, as `generation.metadata` writes it."""

import msgspec

from generation.info import a1111
from generation.info.found import Info
from generation.metadata import About, infotext
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import check_text


def read(text: str) -> Info | None:
    """What the chunk says; None where it is none that this version reads."""
    try:
        about = msgspec.json.decode(text, type=About)
        for name, texts in about.request.texts.items():
            for each in texts:
                check_text(name, each)
        said = infotext(about)
    except (msgspec.MsgspecError, Refused, ValueError, RecursionError):
        return None
    request: GenerationRequest = about.request
    read_again = None if not request.prompt else a1111.read(said)
    if read_again is None:
        read_again = Info(program=a1111.OWN, text=said)
    return msgspec.structs.replace(
        read_again,
        program=a1111.OWN,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        loras=request.loras,
        refused=None,
        request=request,
        hashes=about.hashes,
        conventions=request.conventions,
        notes=(),
        ignored=(),
    )
