"""VAEs in files of their own."""

from typing import Final

from generation.families.layout import Layout, ShapeSide
from generation.families.tensors import autoencoder
from generation.models import UNKNOWN, ModelKind

_FIRST: Final = "decoder.conv_in.weight$"
_PREFIXES: Final = ("", "first_stage_model.", "vae.")


def _vae(family: str, channels: int, prefix: str) -> Layout:
    """Told by the channels of its latents."""
    return Layout(
        kind=ModelKind.VAE,
        family=family,
        needs=(f"^{prefix}{_FIRST}",),
        lacks=("^quantize.embedding.weight$", ".temporal_", ".time_stack."),
        sides=(ShapeSide(f"^{prefix}{_FIRST}", 1, frozenset((channels,))),),
        alone=True,
        parts=(autoencoder(prefix),) if channels == 4 else (),
    )


VAES: Final = tuple(
    _vae(family, channels, prefix)
    # those of SD1 and SDXL have the same layers, and no tensor tells one from the other
    for family, channels in ((UNKNOWN, 4), ("sd3/flux", 16), ("flux2", 32))
    for prefix in _PREFIXES
)
SCALING: Final = {0.18215: "sd1", 0.13025: "sdxl", 1.5305: "sd3", 0.3611: "flux"}
"""Families by the factor that a VAE's config.json says its latents are multiplied by."""
