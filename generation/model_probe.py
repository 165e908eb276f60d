"""Which family a model file belongs to, told by the names and shapes of its tensors."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from generation.models import ModelKind
from generation.safetensors_header import Header

Shapes = Mapping[str, tuple[int, ...]]

CONTEXT_FAMILIES: Final = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
"""Families by the width of the text embedding that the denoiser attends to."""
PIPELINE_FAMILIES: Final = {
    "StableDiffusionPipeline": "sd1",
    "StableDiffusionImg2ImgPipeline": "sd1",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl-refiner",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
}
PART_KINDS: Final = {"ControlNetModel": ModelKind.CONTROLNET, "AutoencoderKL": ModelKind.VAE}
LORA_MARKS: Final = (".lora_down.weight", ".lora_A.weight", "_lora.down.weight")
"""Of kohya, of peft and diffusers, of diffusers before peft. LoHa and LoKr have others."""
PARTS: Final = {"VAE": "first_stage_model.", "text encoder": "cond_stage_model."}
"""What a whole checkpoint has beside its denoiser, by the beginning of the names."""
LATENT_CHANNELS: Final = 4
VAE_FAMILIES: Final = {LATENT_CHANNELS: "sd1", 16: "flux"}
"""Families by the channels of the VAE's latents."""
XL_SCALING_FACTOR: Final = 0.13025
LORA_CONTEXT: Final = re.compile(
    r"(attn2[._](processor\.)?to_k|(lora_te|text_encoder)\w*[._].*k_proj)"
    r"(\.lora_down|\.lora_A|_lora\.down)"
)
CONTEXT: Final = re.compile(
    r"[._]attn2[._](processor\.)?to_k(\.lora_down|\.lora_A|_lora\.down)?\.weight$"
)
LORA_BASES: Final = {
    "sdxl": "sdxl",
    "sd_v1": "sd1",
    "sd_v2": "sd2",
    "sd3": "sd3",
    "flux": "flux",
}
"""Families by how kohya's trainer notes what a LoRA was trained on."""
LORA_LAYERS: Final = re.compile(
    r"(lora_unet_|unet\.)((down|up)_blocks|mid_block|(in|out)put_blocks|middle_block)"
    r"|lora_te_|text_encoder\."
)
"""Layers of Stable Diffusion, whose width tells no family."""
TRIGGER_MAX: Final = 40
"""Characters; what is longer is a caption and no word."""


def kind_of(shapes: Shapes) -> ModelKind | None:
    """What a single file is for; None when its tensors are of no kind that we know."""
    if any(mark in name for name in shapes for mark in LORA_MARKS):
        return ModelKind.LORA
    if any(name.startswith(("control_model.", "controlnet_cond_embedding.")) for name in shapes):
        return ModelKind.CONTROLNET
    if any(
        ".attn2.to_k." in name or "joint_blocks." in name or "double_blocks." in name
        for name in shapes
    ):
        return ModelKind.CHECKPOINT
    if any(name.removeprefix("first_stage_model.").startswith("decoder.") for name in shapes):
        return ModelKind.VAE
    return None


def family_of(kind: ModelKind, header: Header, file: str) -> str:
    """The family of a single file, a key of FAMILIES or RECOGNISED; "" when nothing tells it.

    `file` is its name without the ending.
    """
    shapes = header.shapes
    if kind is ModelKind.VAE:
        return _vae_family(shapes, file)
    if any("joint_blocks" in name for name in shapes):
        return "sd3"
    if any("double_blocks" in name or "single_transformer_blocks" in name for name in shapes):
        return "flux"
    if kind is ModelKind.LORA:
        return _lora_family(header)
    return CONTEXT_FAMILIES.get(context_width(shapes), "")


def context_width(shapes: Shapes) -> int:
    """Of the text embedding that a checkpoint, LoRA or ControlNet attends to; 0 for none."""
    for name, shape in shapes.items():
        if CONTEXT.search(name):
            return shape[1]
    return 0


def prediction(header: Header) -> tuple[bool | None, bool]:
    """Whether a single file predicts v, and whether its schedule ends at zero terminal SNR.

    The empty tensors `v_pred` and `ztsnr` are the convention of NoobAI and its descendants;
    `modelspec.prediction_type` is that of Stability AI's ModelSpec. None where neither is there.
    """
    said = header.metadata.get("modelspec.prediction_type", "")
    v_prediction = said in ("v", "v_prediction") if said else None
    if "v_pred" in header.shapes:
        v_prediction = True
    return v_prediction, "ztsnr" in header.shapes


def lacking(shapes: Shapes) -> str:
    """Why a checkpoint of Stable Diffusion 1 or 2 can't draw; "" when nothing is amiss."""
    channels = shapes.get("model.diffusion_model.input_blocks.0.0.weight", (0, LATENT_CHANNELS))[1]
    if channels != LATENT_CHANNELS:
        return f"its input has {channels} channels, as models for inpainting or editing have"
    for part, prefix in PARTS.items():
        if not any(name.startswith(prefix) for name in shapes):
            return f"it has no {part}"
    return ""


def is_model_folder(folder: Path) -> bool:
    """Whether it is one model in diffusers' layout and not a folder of models.

    A config.json alone says nothing: A1111 keeps its own settings in one.
    """
    if (folder / "model_index.json").is_file():
        return True
    try:
        return _json(folder / "config.json").get("_class_name") in PART_KINDS
    except (OSError, ValueError, TypeError, RecursionError):
        return False


class FolderModel(NamedTuple):
    """What a model in diffusers' layout says of itself."""

    kind: ModelKind
    family: str
    native_size: int = 0
    v_prediction: bool = False
    context_width: int = 0


def folder_model(folder: Path) -> FolderModel:
    """What the JSON of a model in diffusers' layout tells.

    Raises OSError or ValueError for a folder whose JSON can't be read.
    """
    index = folder / "model_index.json"
    if index.is_file():
        return _pipeline_folder(folder, _json(index))
    settings = _json(folder / "config.json")
    kind = PART_KINDS[str(settings.get("_class_name"))]
    family = _by_width(settings) if kind is ModelKind.CONTROLNET else _vae_folder_family(settings)
    return FolderModel(kind, family, context_width=_context_of(settings))


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words that call for a LoRA, as its trainer noted them: modelspec, else kohya's tags."""
    phrase = metadata.get("modelspec.trigger_phrase", "")
    if phrase:
        return tuple(word.strip() for word in phrase.split(",") if word.strip())
    try:
        folders: dict[str, dict[str, int]] = json.loads(metadata.get("ss_tag_frequency", "{}"))
        counts: dict[str, int] = {}
        for tags in folders.values():
            for tag, count in tags.items():
                counts[tag.strip()] = counts.get(tag.strip(), 0) + count
    except (ValueError, AttributeError, TypeError):
        return ()
    ranked = sorted(counts, key=lambda tag: (-counts[tag], tag))
    # a trigger stands in every caption; what stands in fewer is what the pictures happened to show,
    # and what stands in one is a sentence that describes it
    most = counts[ranked[0]] if ranked else 0
    words = (tag for tag in ranked if counts[tag] == most > 1 and len(tag) <= TRIGGER_MAX)
    return tuple(words)[:5]


def _context_of(settings: Mapping[str, Any]) -> int:
    width = settings.get("cross_attention_dim")
    return width if isinstance(width, int) else 0


def _pipeline_folder(folder: Path, index: Mapping[str, Any]) -> FolderModel:
    family = PIPELINE_FAMILIES.get(str(index.get("_class_name")), "")
    native, v_prediction, width = 0, False, 0
    unet = folder / "unet" / "config.json"
    if unet.is_file():
        settings = _json(unet)
        width = _context_of(settings)
        if family == "sd1" and CONTEXT_FAMILIES.get(width) == "sd2":
            family = "sd2"
        native = int(settings.get("sample_size") or 0) * _vae_factor(folder)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if scheduler.is_file():
        v_prediction = _json(scheduler).get("prediction_type") == "v_prediction"
    return FolderModel(ModelKind.CHECKPOINT, family, native, v_prediction, width)


def _vae_factor(folder: Path) -> int:
    """Pixels to a latent, each way."""
    config = folder / "vae" / "config.json"
    channels = _json(config).get("block_out_channels", ()) if config.is_file() else ()
    return 2 ** max(0, len(channels) - 1) if channels else 8


def _by_width(settings: Mapping[str, Any]) -> str:
    width = _context_of(settings)
    # a small model of Stable Diffusion's make, such as the demo's, has a width of its own
    return CONTEXT_FAMILIES.get(width, "sd1") if width else ""


def _vae_family(shapes: Shapes, file: str) -> str:
    for name in ("first_stage_model.decoder.conv_in.weight", "decoder.conv_in.weight"):
        if name in shapes:
            family = VAE_FAMILIES.get(shapes[name][1], "")
            # SDXL's has the same layers as that of Stable Diffusion 1; its published name tells
            return "sdxl" if family == "sd1" and "xl" in file.lower() else family
    return ""


def _vae_folder_family(settings: Mapping[str, Any]) -> str:
    if settings.get("scaling_factor") == XL_SCALING_FACTOR:
        return "sdxl"
    return VAE_FAMILIES.get(int(settings.get("latent_channels", LATENT_CHANNELS)), "")


def _lora_family(header: Header) -> str:
    base = header.metadata.get("ss_base_model_version", "")
    for mark, family in LORA_BASES.items():
        if base.startswith(mark):
            return family
    if any("lora_te2_" in name or "text_encoder_2." in name for name in header.shapes):
        return "sdxl"
    for name, shape in header.shapes.items():
        # of the denoiser the width that it reads, of the text encoder the width that it has
        if LORA_CONTEXT.search(name):
            # a small model of Stable Diffusion's make, such as the demo's, has a width of its own
            return CONTEXT_FAMILIES.get(shape[1], "sd1")
    return "sd1" if any(LORA_LAYERS.match(name) for name in header.shapes) else ""


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return found
