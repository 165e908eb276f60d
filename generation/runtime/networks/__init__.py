"""Denoisers: how each architecture is read and called, one file each."""

from collections.abc import Mapping
from typing import Any, Final

from generation.runtime.networks import chroma, flux, flux2, qwen_image, sd3, unet, z_image
from generation.runtime.networks.architecture import Architecture, Layer

__all__ = ["ARCHITECTURES", "Architecture", "original_layers"]

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "unet": unet.ARCHITECTURE,
    "flux": flux.ARCHITECTURE,
    "flux2": flux2.ARCHITECTURE,
    "chroma": chroma.ARCHITECTURE,
    "sd3": sd3.ARCHITECTURE,
    "z-image": z_image.ARCHITECTURE,
    "qwen-image": qwen_image.ARCHITECTURE,
}
"""By the name that families have for them."""


def original_layers(module: Any) -> Mapping[str, Layer]:
    """The layers of a denoiser by their names in the original code; none of other networks."""
    for one in ARCHITECTURES.values():
        if isinstance(module, one.model):
            return one.layers(module)
    return {}
