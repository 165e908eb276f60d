"""Networks that draw after a picture as after a prompt: IP-Adapters, and the encoders of CLIP that
see the picture for them.

Sources: Ye et al., "IP-Adapter", github.com/tencent-ailab/IP-Adapter; of Flux.1 XLabs,
github.com/XLabs-AI/x-flux, and InstantX, huggingface.co/InstantX/FLUX.1-dev-IP-Adapter.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from generation.families.layout import TensorNames
from generation.models import UNKNOWN, ModelFile, ModelKind

BASE: Final = "base"
PLUS: Final = "plus"
FULL: Final = "full"
"""Variants: which is shown the picture as a whole, or its parts; the last passes on all of them."""
INSTANTX: Final = "instantx"
"""The variant of InstantX' for Flux.1: shown the picture as a whole, by SigLIP."""
FACE: Final = "face"
"""How the names of those contain it that were trained on faces."""
WIDTHS: Final[Mapping[int, str]] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
FLUX: Final = 4096
SIGLIP: Final = "siglip"
FACE_ID: Final = "an IP-Adapter FaceID, which needs insightface to see who somebody is"
WIDE: Final = 1280
"""States of this width are of no small model."""
UNKNOWN_MAKE: Final = "an IP-Adapter of another model"
EYES: Final[Mapping[int, str]] = {
    1024: "clip-vision-l",
    1280: "clip-vision-h",
    1664: "clip-vision-g",
}
"""Image encoders by their width: of OpenAI's ViT-L, and of laion's ViT-H-14 and ViT-bigG-14."""
PUBLISHED: Final[Mapping[str, str]] = {
    "clip-vision-l": "clip-vit-large-patch14.safetensors",
    "clip-vision-h": "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
    "clip-vision-g": "CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors",
    SIGLIP: "sigclip_vision_patch14_384.safetensors",
}
"""What their files are called in ComfyUI."""
_KEY: Final = "^ip_adapter.1.to_k_ip.weight$"
_XLABS: Final = "^double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight$"


class ImagePromptContents(NamedTuple):
    """What such a file is."""

    kind: ModelKind | None
    family: str = ""
    variant: str = ""
    reads: int = 0
    """Width of what it reads of a picture; of an encoder that of its picture as a whole."""
    width: int = 0
    """Of the states that the denoiser attends to; of an encoder that of a part of its picture."""
    what: str = ""


def contents(names: TensorNames) -> ImagePromptContents | None:
    """None for what is neither."""
    if names.has("^image_proj.") and names.has("^ip_adapter."):
        return _adapter(names)
    if names.has(_XLABS):
        reads = names.side("^ip_adapter_proj_model.proj.weight$", 1)
        width = names.side(_XLABS, 1)
        return ImagePromptContents(ModelKind.IPADAPTER, "flux", BASE, reads, width)
    width = names.side("^vision_model.head.probe$", 2)
    if width and names.has("^vision_model.embeddings.patch_embedding.weight$"):
        return ImagePromptContents(ModelKind.CLIP_VISION, SIGLIP, reads=width, width=width)
    eyes = "^vision_model.embeddings.class_embedding$"
    # whole CLIPs have the half that reads text beside it, as OpenAI's own file has
    if names.has(eyes) and names.has("^visual_projection.weight$"):
        width = names.side(eyes, 0)
        make = EYES.get(width, f"clip-vision-{width}")
        reads = names.side("^visual_projection.weight$", 0)
        return ImagePromptContents(ModelKind.CLIP_VISION, make, reads=reads, width=width)
    return None


def _adapter(names: TensorNames) -> ImagePromptContents:
    if names.side(_KEY, 1) == FLUX:
        reads = names.side("^image_proj.proj.0.weight$", 1)
        if not reads:
            return ImagePromptContents(None, what=UNKNOWN_MAKE)
        return ImagePromptContents(ModelKind.IPADAPTER, "flux", INSTANTX, reads, FLUX)
    faces = names.has("^image_proj.perceiver_resampler.") or names.has("^image_proj.norm.weight$")
    base = names.side("^image_proj.proj.weight$", 1)
    if names.has("^ip_adapter.0.to_q_lora.") or (faces and not base):
        return ImagePromptContents(None, what=FACE_ID)
    width = names.side(_KEY, 1)
    # small models, as the demo, have widths of their own
    family = WIDTHS.get(width, UNKNOWN if 0 < width < WIDE else "")
    found = ((BASE, base), (PLUS, names.side("^image_proj.proj_in.weight$", 1)))
    full = names.side("^image_proj.proj.0.weight$", 1)
    variant, reads = next((each for each in (*found, (FULL, full)) if each[1]), ("", 0))
    if not family or not variant:
        return ImagePromptContents(None, what=UNKNOWN_MAKE)
    return ImagePromptContents(ModelKind.IPADAPTER, family, variant, reads, width)


def sees_for(eyes: ModelFile, adapter: ModelFile) -> bool:
    """Whether an encoder gives what an adapter reads."""
    whole = adapter.variant in (BASE, INSTANTX)
    given = eyes.input_channels if whole else eyes.context_width
    alike = (eyes.family == SIGLIP) is (adapter.variant == INSTANTX)
    return eyes.kind is ModelKind.CLIP_VISION and alike and given == adapter.input_channels


def wanted_eyes(adapter: ModelFile) -> str:
    """What the file of the encoder is called that an adapter needs."""
    if adapter.variant == INSTANTX:
        return PUBLISHED[SIGLIP]
    if adapter.variant == BASE:
        make = {1024: "clip-vision-h", 1280: "clip-vision-g", 768: "clip-vision-l"}
        return PUBLISHED[make.get(adapter.input_channels, "clip-vision-h")]
    return PUBLISHED[EYES.get(adapter.input_channels, "clip-vision-h")]


def of_faces(adapter: ModelFile) -> bool:
    """Whether it was trained on faces, as its name says."""
    return FACE in adapter.name.casefold()
