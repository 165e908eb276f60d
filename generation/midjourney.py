"""Midjourney's flags that have no counterpart here, and what is said instead of a guess."""

from collections.abc import Mapping
from typing import Final

NO_COUNTERPART: Final[Mapping[str, str]] = {
    **dict.fromkeys(("v", "version", "niji", "test", "testp"), "midjourney_version"),
    "q": "midjourney_quality",
    **dict.fromkeys(("s", "stylize", "raw", "style", "creative"), "midjourney_style"),
    **dict.fromkeys(("p", "profile", "personalize"), "midjourney_style"),
    **dict.fromkeys(("c", "chaos", "w", "weird", "exp"), "midjourney_variety"),
    "tile": "midjourney_tile",
    "iw": "midjourney_image_weight",
    **dict.fromkeys(("sref", "sw", "sv", "cref", "cw", "oref", "ow"), "midjourney_reference"),
    "stop": "midjourney_stop",
    **dict.fromkeys(("r", "repeat"), "midjourney_repeat"),
    **dict.fromkeys(("fast", "relax", "turbo"), "midjourney_speed"),
    **dict.fromkeys(("stealth", "public"), "midjourney_private"),
    "sameseed": "midjourney_seed",
    **dict.fromkeys(("uplight", "upbeta", "upanime"), "midjourney_upscale"),
    **dict.fromkeys(("video", "motion", "loop", "end", "bs"), "midjourney_video"),
}
"""The sentence by the flag."""
