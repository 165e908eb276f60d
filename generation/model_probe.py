"""Which family a model file belongs to, told by the names and shapes of its tensors."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from generation.models import ModelKind
from generation.regular_files import is_regular, read_regular

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
TRANSFORMERS: Final = {
    "joint_blocks": "sd3",
    "double_blocks": "flux",
    "single_transformer_blocks": "flux",
}
"""Families by what the names of their layers have."""
LORA_CONTEXT: Final = tuple(
    re.compile(begin + r"(?:\.lora_down|\.lora_A|_lora\.down)")
    for begin in (
        r"attn2[._](?:processor\.)?to_k",
        r"lora_te\w*[._].*k_proj",
        r"text_encoder\w*[._].*k_proj",
    )
)
"""Of the denoiser the width that it reads, of the text encoder the width that it has. Each begins
with a text, which makes it quick to search for."""
CONTEXT: Final = re.compile(
    r"attn2[._](?:processor\.)?to_k(?:\.lora_down|\.lora_A|_lora\.down)?\.weight$", re.MULTILINE
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
    r"^(lora_unet_|unet\.)((down|up)_blocks|mid_block|(in|out)put_blocks|middle_block)"
    r"|^lora_te_|^text_encoder\.",
    re.MULTILINE,
)
"""Layers of Stable Diffusion, whose width tells no family."""
TRIGGER_MAX: Final = 40
"""Characters; what is longer is a caption and no word."""
TRIGGERS_MAX: Final = 20
"""Of a phrase that lists them."""
TAGS_MAX: Final = 4 * 2**20
"""Characters of kohya's counts; more would hold everything else up."""
JSON_MAX: Final = 2**20
"""Bytes of a JSON file in a model folder."""
NATIVE_MAX: Final = 8192
"""Pixels of a side; more is a slip."""


class Layout(msgspec.Struct, frozen=True):
    """What the tensors of a single file tell, whatever its name and its metadata say."""

    kind: ModelKind | None
    """None where they are of no kind that is known."""
    family: str = ""
    """"" where nothing tells it."""
    context_width: int = 0
    lacking: str = ""
    """Why a checkpoint of Stable Diffusion 1 or 2 can't draw; "" when nothing is amiss."""
    v_prediction: bool = False
    zero_terminal_snr: bool = False


def layout_of(shapes: Shapes) -> Layout:
    """What tensors of these names and shapes are for.

    The empty tensors `v_pred` and `ztsnr` are the convention of NoobAI and its descendants.
    """
    names = "\n".join(shapes)
    kind = _kind_of(names)
    if kind is None:
        return Layout(None)
    return Layout(
        kind,
        _family_by_tensors(kind, names, shapes),
        context_width(names, shapes),
        lacking(names, shapes) if kind is ModelKind.CHECKPOINT else "",
        "v_pred" in shapes,
        "ztsnr" in shapes,
    )


def family_of(layout: Layout, metadata: Mapping[str, str], file: str) -> str:
    """The family of a single file, a key of FAMILIES or RECOGNISED; "" when nothing tells it.

    `file` is its name without the ending.
    """
    if layout.kind is ModelKind.VAE:
        # SDXL's has the same layers as that of Stable Diffusion 1; its published name tells
        return "sdxl" if layout.family == "sd1" and "xl" in file.lower() else layout.family
    if layout.kind is ModelKind.LORA and layout.family not in TRANSFORMERS.values():
        base = metadata.get("ss_base_model_version", "")
        said = (family for mark, family in LORA_BASES.items() if base.startswith(mark))
        return next(said, layout.family)
    return layout.family


def prediction(layout: Layout, metadata: Mapping[str, str]) -> bool | None:
    """Whether a single file predicts v; None where neither its tensors nor its metadata say.

    `modelspec.prediction_type` is that of Stability AI's ModelSpec.
    """
    if layout.v_prediction:
        return True
    said = metadata.get("modelspec.prediction_type", "")
    return said in ("v", "v_prediction") if said else None


def context_width(names: str, shapes: Shapes) -> int:
    """Of the text embedding that a checkpoint, LoRA or ControlNet attends to; 0 for none."""
    found = CONTEXT.search(names)
    return _side(shapes, _line(names, found), 1) if found else 0


def lacking(names: str, shapes: Shapes) -> str:
    """Why a checkpoint of Stable Diffusion 1 or 2 can't draw; "" when nothing is amiss."""
    first = "model.diffusion_model.input_blocks.0.0.weight"
    channels = _side(shapes, first, 1) if first in shapes else LATENT_CHANNELS
    if channels != LATENT_CHANNELS:
        return f"its input has {channels} channels, as models for inpainting or editing have"
    for part, prefix in PARTS.items():
        if f"\n{prefix}" not in f"\n{names}":
            return f"it has no {part}"
    return ""


def _kind_of(names: str) -> ModelKind | None:
    if any(mark in names for mark in LORA_MARKS):
        return ModelKind.LORA
    lines = f"\n{names}"
    if "\ncontrol_model." in lines or "\ncontrolnet_cond_embedding." in lines:
        return ModelKind.CONTROLNET
    if ".attn2.to_k." in names or "joint_blocks." in names or "double_blocks." in names:
        return ModelKind.CHECKPOINT
    if "\ndecoder." in lines or "\nfirst_stage_model.decoder." in lines:
        return ModelKind.VAE
    return None


def _family_by_tensors(kind: ModelKind, names: str, shapes: Shapes) -> str:
    if kind is ModelKind.VAE:
        return _vae_family(shapes)
    for mark, family in TRANSFORMERS.items():
        if mark in names:
            return family
    if kind is ModelKind.LORA:
        return _lora_family(names, shapes)
    return CONTEXT_FAMILIES.get(context_width(names, shapes), "")


def _line(text: str, found: re.Match[str]) -> str:
    """The whole line that something was found in."""
    begin, end = text.rfind("\n", 0, found.start()) + 1, text.find("\n", found.end())
    return text[begin : end if end >= 0 else None]


def _side(shapes: Shapes, name: str, axis: int) -> int:
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) else 0


class _Settings(msgspec.Struct):
    """What is read of any JSON in diffusers' layout."""

    class_name: Any = msgspec.field(default="", name="_class_name")
    """A list where the pipeline is the author's own."""
    cross_attention_dim: int | list[int] | None = None
    sample_size: int | list[int] | None = None
    block_out_channels: Annotated[list[int], Meta(max_length=12)] | None = None
    latent_channels: int | None = None
    scaling_factor: float | None = None
    prediction_type: str | None = None


class _Class(msgspec.Struct):
    class_name: Any = msgspec.field(default="", name="_class_name")


class _WeightIndex(msgspec.Struct):
    weight_map: dict[str, str]


_Read = TypeVar("_Read", bound=msgspec.Struct)


def part_kind(config: Path) -> ModelKind | None:
    """Which part a folder with this config.json is; None where it is no model of diffusers'.

    A config.json alone says nothing: A1111 keeps its own settings in one.
    """
    try:
        name = _json(config, _Class).class_name
    except (OSError, ValueError):
        return None
    return PART_KINDS.get(name) if isinstance(name, str) else None


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
    if is_regular(index):
        return _pipeline_folder(folder, _json(index, _Settings))
    settings = _json(folder / "config.json", _Settings)
    kind = PART_KINDS[str(settings.class_name)]
    family = _by_width(settings) if kind is ModelKind.CONTROLNET else _vae_folder_family(settings)
    return FolderModel(kind, family, context_width=_context_of(settings))


def shards(index: Path) -> set[str]:
    """The files that a `*.safetensors.index.json` names. Raises OSError or ValueError."""
    return set(_json(index, _WeightIndex).weight_map.values())


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words that call for a LoRA, as its trainer noted them: modelspec, else kohya's tags."""
    phrase = metadata.get("modelspec.trigger_phrase", "")[:TAGS_MAX]
    if phrase:
        words = (word.strip() for word in phrase.split(","))
        return tuple(word for word in words if word)[:TRIGGERS_MAX]
    counts: dict[str, int] = {}
    for tags in _tag_frequency(metadata).values():
        for tag, count in tags.items():
            if isinstance(count, int):
                counts[tag.strip()] = counts.get(tag.strip(), 0) + count
    ranked = sorted(counts, key=lambda tag: (-counts[tag], tag))
    # a trigger stands in every caption; what stands in fewer is what the pictures happened to show,
    # and what stands in one is a sentence that describes it
    most = counts[ranked[0]] if ranked else 0
    found = (tag for tag in ranked if counts[tag] == most > 1 and 0 < len(tag) <= TRIGGER_MAX)
    return tuple(found)[:5]


def _tag_frequency(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    text = metadata.get("ss_tag_frequency", "")
    if not text or len(text) > TAGS_MAX:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def _context_of(settings: _Settings) -> int:
    width = settings.cross_attention_dim
    return width if isinstance(width, int) else 0


def _pipeline_folder(folder: Path, index: _Settings) -> FolderModel:
    family = PIPELINE_FAMILIES.get(str(index.class_name), "")
    native, v_prediction, width = 0, False, 0
    unet = folder / "unet" / "config.json"
    if is_regular(unet):
        settings = _json(unet, _Settings)
        width = _context_of(settings)
        if family == "sd1" and CONTEXT_FAMILIES.get(width) == "sd2":
            family = "sd2"
        latents = settings.sample_size if isinstance(settings.sample_size, int) else 0
        native = latents * _vae_factor(folder)
        if not 0 <= native <= NATIVE_MAX:
            raise ValueError(f"unet/config.json says that its pictures have {native} pixels a side")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if is_regular(scheduler):
        v_prediction = _json(scheduler, _Settings).prediction_type == "v_prediction"
    return FolderModel(ModelKind.CHECKPOINT, family, native, v_prediction, width)


def _vae_factor(folder: Path) -> int:
    """Pixels to a latent, each way."""
    config = folder / "vae" / "config.json"
    channels = _json(config, _Settings).block_out_channels if is_regular(config) else None
    return 2 ** (len(channels) - 1) if channels else 8


def _by_width(settings: _Settings) -> str:
    width = _context_of(settings)
    # a small model of Stable Diffusion's make, such as the demo's, has a width of its own
    return CONTEXT_FAMILIES.get(width, "sd1") if width else ""


def _vae_family(shapes: Shapes) -> str:
    for name in ("first_stage_model.decoder.conv_in.weight", "decoder.conv_in.weight"):
        if name in shapes:
            return VAE_FAMILIES.get(_side(shapes, name, 1), "")
    return ""


def _vae_folder_family(settings: _Settings) -> str:
    if settings.scaling_factor == XL_SCALING_FACTOR:
        return "sdxl"
    channels = settings.latent_channels
    return VAE_FAMILIES.get(LATENT_CHANNELS if channels is None else channels, "")


def _lora_family(names: str, shapes: Shapes) -> str:
    if "lora_te2_" in names or "text_encoder_2." in names:
        return "sdxl"
    for pattern in LORA_CONTEXT:
        found = pattern.search(names)
        if found:
            # a small model of Stable Diffusion's make, such as the demo's, has a width of its own
            return CONTEXT_FAMILIES.get(_side(shapes, _line(names, found), 1), "sd1")
    return "sd1" if LORA_LAYERS.search(names) else ""


def _json(path: Path, type_: type[_Read]) -> _Read:
    """A JSON object. Raises OSError, or ValueError with what is wrong in words."""
    try:
        # Python's own reader: diffusers writes numbers such as -Infinity
        found = json.loads(read_regular(path, JSON_MAX).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name} is no JSON") from None
    try:
        return msgspec.convert(found, type_)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(f"{path.name} is not as diffusers writes it: {error}") from None
