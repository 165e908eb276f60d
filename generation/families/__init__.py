"""FAMILIES: one entry per model family: how it is recognised, loaded and what it can do."""

from typing import Final

from generation.families import encoders, recognised
from generation.families.annotators import ANNOTATORS
from generation.families.autoencoders import VAES
from generation.families.chroma import CHROMA
from generation.families.control import CONTROLNETS
from generation.families.face_restorers import FACE_RESTORERS
from generation.families.family import RECOGNISED, Ability, Family, References, TextEncoder
from generation.families.flux import FLUX
from generation.families.flux2 import KLEIN_4B, KLEIN_9B
from generation.families.layout import Layout
from generation.families.qwen_image import QWEN_IMAGE
from generation.families.sd import SD1, SD2
from generation.families.sd3 import SD3, SD35
from generation.families.sdxl import REFINER, SDXL
from generation.families.segmenters import SEGMENTERS
from generation.families.upscalers import UPSCALERS
from generation.families.z_image import Z_IMAGE
from generation.models import ModelFile

__all__ = [
    "DESCRIBED",
    "FAMILIES",
    "LAYOUTS",
    "RECOGNISED",
    "Ability",
    "Family",
    "References",
    "TextEncoder",
    "family_of",
]

FAMILIES: Final[dict[str, Family]] = {
    "sd1": SD1,
    "sd2": SD2,
    "sdxl": SDXL,
    "sdxl-refiner": REFINER,
    "sd3": SD3,
    "sd3.5": SD35,
    "flux": FLUX,
    "chroma": CHROMA,
    "flux2-klein-4b": KLEIN_4B,
    "flux2-klein-9b": KLEIN_9B,
    "z-image": Z_IMAGE,
    "qwen-image": QWEN_IMAGE,
}
"""Those that can be drawn with."""
DESCRIBED: Final[dict[str, Family]] = {
    "sdxl": SDXL,
    "sdxl-refiner": REFINER,
    "sd2": SD2,
    "sd1": SD1,
    "sd3.5": SD35,
    "sd3": SD3,
    "flux": FLUX,
    "chroma": CHROMA,
    # first the one that has a width of its own: small models are like the other
    "flux2-klein-9b": KLEIN_9B,
    "flux2-klein-4b": KLEIN_4B,
    "z-image": Z_IMAGE,
    "qwen-image": QWEN_IMAGE,
}
"""Those whose files are told in every detail."""


def family_of(model: ModelFile) -> Family:
    """What a checkpoint of a family that can be drawn with has in common with others: with those of
    its variant, where they differ from the rest.
    """
    return FAMILIES[model.family].version(model.variant)


_UNETS: Final = [family for family in DESCRIBED.values() if family.denoiser == "unet"]
_TRANSFORMERS: Final = [family for family in DESCRIBED.values() if family not in _UNETS]
LAYOUTS: Final[tuple[Layout, ...]] = (
    *CONTROLNETS,
    *recognised.STABLE_DIFFUSION,
    *recognised.FAMILIES_TO_COME,
    *(layout for family in _UNETS for layout in family.layouts if not layout.sides),
    # where no text encoder is there to tell, the width of what is read does
    *(layout for family in _UNETS for layout in family.layouts if layout.sides),
    *(layout for family in _TRANSFORMERS for layout in family.layouts),
    # RestoreFormer has the names of a VAE, too
    *FACE_RESTORERS,
    *VAES,
    # CLIPSeg has a CLIP in it
    *SEGMENTERS,
    *encoders.LAYOUTS,
    *UPSCALERS,
    *ANNOTATORS,
    *recognised.OTHERS,
)
"""The first that fits is it. LoRAs and embeddings are told before, by their own marks."""
