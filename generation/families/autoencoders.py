"""VAEs in files of their own."""

from collections.abc import Mapping
from typing import Final

from generation.families.layout import Layout, Part, ShapeSide
from generation.families.tensors import autoencoder
from generation.models import SD3_OR_FLUX, UNKNOWN, ModelKind

_FIRST: Final = "decoder.conv_in.weight$"
PREFIXES: Final = ("", "first_stage_model.", "vae.")
"""How the names of a VAE's tensors begin: alone, and where it was taken out of a checkpoint."""
_OTHERS: Final = ("^quantize.embedding.weight$", ".temporal_", ".time_stack.", ".gamma$")
"""Of faces, of videos, of what Wan and its kin have."""


def _vae(family: str, channels: int, prefix: str, parts: tuple[Part, ...] = ()) -> Layout:
    """Told by the channels of its latents."""
    return Layout(
        kind=ModelKind.VAE,
        family=family,
        needs=(f"^{prefix}{_FIRST}",),
        lacks=_OTHERS,
        sides=(ShapeSide(f"^{prefix}{_FIRST}", 1, frozenset((channels,))),),
        alone=True,
        parts=parts,
    )


def _causal(prefix: str, channels: str, *needs: str) -> Layout:
    """Qwen-Image's, which is Wan's with another decoder: kernels of three dimensions."""
    return Layout(
        kind=ModelKind.VAE,
        family="qwen-image",
        needs=tuple(f"^{prefix}{name}" for name in needs),
        sides=(ShapeSide(f"^{prefix}{channels}", 1, frozenset((16,))),),
        alone=True,
    )


VAES: Final = tuple(
    layout
    for prefix in PREFIXES
    for layout in (
        # those of SD1 and SDXL have the same layers, and no tensor tells one from the other
        _vae(UNKNOWN, 4, prefix, (autoencoder(prefix),)),
        _vae(SD3_OR_FLUX, 16, prefix, (autoencoder(prefix, quantised=False),)),
        Layout(
            kind=ModelKind.VAE,
            family="flux2",
            needs=(f"^{prefix}{_FIRST}", f"^{prefix}bn.running_mean$"),
            alone=True,
        ),
        _causal(prefix, "conv2.weight$", "conv2.weight$", "decoder.middle.0.residual.0.gamma$"),
        _causal(
            prefix,
            "post_quant_conv.weight$",
            "post_quant_conv.weight$",
            "decoder.mid_block.resnets.0.norm1.gamma$",
            "decoder.conv_in.weight$",
        ),
    )
)
FILES: Final[Mapping[str, str]] = {
    "sd1": "vae-ft-mse-840000-ema-pruned.safetensors",
    "sdxl": "sdxl_vae.safetensors",
    "sd3": "sd3_vae.safetensors",
    "flux": "ae.safetensors",
    "flux2": "flux2-vae.safetensors",
    "qwen-image": "qwen_image_vae.safetensors",
}
"""What people know a VAE by, by its family."""
MADE_WITH: Final[Mapping[str, str]] = {
    "sd2": "sd1",
    "sdxl-refiner": "sdxl",
    "sd3.5": "sd3",
    **dict.fromkeys(("z-image", "chroma", "lumina2", "hidream"), "flux"),
}
"""The VAE of families that have no own, by its family."""
SCALING: Final = {0.18215: "sd1", 0.13025: "sdxl", 1.5305: "sd3", 0.3611: "flux"}
"""Families by the factor that a VAE's config.json says its latents are multiplied by."""
