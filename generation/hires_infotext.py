"""A hires pass in A1111's infotext: its keys, written and read."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from generation.request import GenerationRequest
from generation.request_options import exact, options

STRENGTH: Final = "Denoising strength"
"""A1111 has one for image to image and for its hires pass."""
FACTOR: Final = "Hires upscale"
SIZE: Final = "Hires resize"
CHECKPOINT: Final = "Hires checkpoint"
NO_UPSCALER: Final = "none"
"""A1111's upscaler of this name leaves it to Lanczos."""
KEYS: Final[Mapping[str, str]] = {
    "Hires steps": "hires_steps",
    "Hires upscaler": "hires_upscaler",
    "Hires sampler": "hires_sampler",
    "Hires schedule type": "hires_schedule",
    "Hires CFG Scale": "hires_guidance",
    "Hires prompt": "hires_prompt",
    "Hires negative prompt": "hires_negative_prompt",
    CHECKPOINT: "hires_model",
    "Hires tile": "hires_tile",
}
"""What an infotext calls the options that it gives as they are; of Forge the CFG scale, and the
tiles of this program alone."""
_FOLDED: Final = {key.casefold(): key for key in (*KEYS, FACTOR, SIZE)}
_SAME: Final = re.compile(r"\s*use same .*", re.IGNORECASE)
_HASHED: Final = re.compile(r" \[[0-9a-f]{8,64}\]$")


def written(
    request: GenerationRequest, hashes: Mapping[str, str], quoted: Callable[[str], str]
) -> list[tuple[str, str]]:
    """The keys and values of a request's hires pass, values as `quoted` has them; none without."""
    if request.hires is None:
        return []
    found = [
        (STRENGTH, exact(request.hires_denoising or 0)),
        (SIZE if "x" in request.hires else FACTOR, request.hires),
    ]
    for key, name in KEYS.items():
        value = getattr(request, name)
        if value is None or (name == "hires_tile" and not value):
            continue
        if key == CHECKPOINT:
            sha256 = hashes.get(f"checkpoint:{value}")
            value = f"{value} [{sha256[:10]}]" if sha256 else value
        found.append((key, quoted(value) if isinstance(value, str) else exact(value)))
    return found


def read(parameters: Mapping[str, str]) -> tuple[dict[str, str | int | float], frozenset[str]]:
    """The options of a hires pass that an infotext's parameters give, and the keys that were read:
    none where they say not how large it is.
    """
    there = {_FOLDED[key.casefold()]: key for key in parameters if key.casefold() in _FOLDED}
    same = {key for key, value in parameters.items() if key[:5] == "Hires" and _SAME.match(value)}
    size = there.get(SIZE) or there.get(FACTOR)
    if size is None:
        return {}, frozenset()
    given: dict[str, str | int | float] = {"hires": parameters[size].strip()}
    read_keys = {STRENGTH, *there.values(), *same}
    if STRENGTH in parameters:
        given["hires_denoising"] = options()["hires_denoising"].parse(parameters[STRENGTH])
    for key, name in KEYS.items():
        if key not in there or there[key] in same:
            continue
        value = parameters[there[key]]
        if name == "hires_model":
            value = _HASHED.sub("", value)
        elif name == "hires_upscaler" and value.strip().casefold() == NO_UPSCALER:
            value = "Lanczos"
        given[name] = options()[name].parse(value)
    return given, frozenset(read_keys)
