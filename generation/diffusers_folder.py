"""What a folder in diffusers' layout is, told by its JSON alone."""

import json
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from generation.families import DESCRIBED
from generation.families.autoencoders import SCALING
from generation.families.control import union_of
from generation.families.few_steps import LCM
from generation.families.recognised import MASKED, MASKED_SD3
from generation.model_probe import CONTEXT_FAMILIES, VARIANTS
from generation.models import UNKNOWN, ModelKind
from generation.regular_files import is_regular, read_regular

JSON_MAX: Final = 2**20
"""Bytes of a JSON file in a model folder."""
NATIVE_MAX: Final = 8192
"""Pixels of a side; more is a slip."""
WORDS: Final = ("vocab.json", "tokenizer.json", "spiece.model", "tokenizer.model")
"""Where the words of a tokenizer lie."""

PART_KINDS: Final = {
    "ControlNetModel": ModelKind.CONTROLNET,
    "ControlNetUnionModel": ModelKind.CONTROLNET,
    "ControlNetModel_Union": ModelKind.CONTROLNET,
    "FluxControlNetModel": ModelKind.CONTROLNET,
    "SD3ControlNetModel": ModelKind.CONTROLNET,
    "ZImageControlNetModel": ModelKind.CONTROLNET,
    "T2IAdapter": ModelKind.CONTROLNET,
    "AutoencoderKL": ModelKind.VAE,
    "AutoencoderKLFlux2": ModelKind.VAE,
    "AutoencoderKLQwenImage": ModelKind.VAE,
}
VAE_CLASSES: Final = {"AutoencoderKLFlux2": "flux2", "AutoencoderKLQwenImage": "qwen-image"}
"""Families by the class of their VAE, which is no other's."""
UNION_CLASSES: Final = ("ControlNetUnionModel", "ControlNetModel_Union")
"""ControlNets of several kinds, by diffusers' class and by that of its author."""
LARGE_HEADS: Final = 38
"""Of the transformer of Stable Diffusion 3.5 large."""
OTHER_PARTS: Final = {
    "AutoencoderTiny": "an approximate VAE for previews (TAESD)",
    "AsymmetricAutoencoderKL": "a VAE with two inputs",
    "ConsistencyDecoderVAE": "a consistency decoder",
    "AutoencoderKLWan": "a VAE of Wan",
    "AutoencoderKLQwenImage21": "a VAE of Qwen-Image 2.1",
    "AutoencoderKLHunyuanImage": "a VAE of HunyuanImage",
    "AutoencoderKLHunyuanVideo": "a VAE of a video model (Hunyuan Video)",
    "AutoencoderKLLTXVideo": "a VAE of a video model (LTX)",
    "AutoencoderDC": "a VAE of Sana (DC-AE)",
    "AutoencoderOobleck": "a VAE for audio",
    "SanaControlNetModel": "a ControlNet of Sana",
    "HunyuanDiT2DControlNetModel": "a ControlNet of Hunyuan-DiT",
    "QwenImageControlNetModel": "a ControlNet of Qwen-Image",
    "MotionAdapter": "a motion module of AnimateDiff, for videos",
    "MultiAdapter": "several T2I-Adapters in one",
    "UNet2DConditionModel": "a denoiser alone",
}
"""Parts that can't be drawn with, by the class of diffusers."""
TRANSFORMERS: Final = {
    "SD3Transformer2DModel": "sd3",
    "FluxTransformer2DModel": "flux",
    "Flux2Transformer2DModel": "flux2",
    "ChromaTransformer2DModel": "chroma",
    "ZImageTransformer2DModel": "z-image",
    "QwenImageTransformer2DModel": "qwen-image",
    "Lumina2Transformer2DModel": "lumina2",
    "HiDreamImageTransformer2DModel": "hidream",
    "SanaTransformer2DModel": "sana",
    "AuraFlowTransformer2DModel": "auraflow",
    "PixArtTransformer2DModel": "pixart",
    "HunyuanDiT2DModel": "hunyuan-dit",
    "Krea2Transformer2DModel": "krea2",
    "Flux3Transformer2DModel": "flux3",
    "QwenImage21Transformer2DModel": "qwen-image-2.1",
    "Ideogram4Transformer2DModel": "ideogram4",
    "ErnieImageTransformer2DModel": "ernie-image",
    "HunyuanImageTransformer2DModel": "hunyuan-image",
}
"""Families by the class of a folder's denoiser."""
EDITING: Final = {
    "QwenImageEditPipeline": "edit",
    "QwenImageEditPlusPipeline": "edit-plus",
    "FluxKontextPipeline": "kontext",
}
"""Variants by the class of the pipeline, where the denoiser is as the usual one's."""
FLUX_2_BLOCKS: Final = 5
"""How many double blocks the smallest has that was published."""
FLUX_2: Final = {7680: "flux2-klein-4b", 12288: "flux2-klein-9b", 15360: "flux2-dev"}
"""Of Flux.2 by the width of the text that the denoiser reads."""


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
    rescale_betas_zero_snr: bool | None = None
    in_channels: int | None = None
    addition_embed_type: str | None = None
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    time_cond_proj_dim: int | None = None
    use_linear_projection: bool | None = None
    adapter_type: str | None = None
    num_control_type: int | None = None
    num_mode: int | None = None
    conditioning_embedding_channels: int | None = None
    extra_condition_channels: int | None = None
    extra_conditioning_channels: int | None = None
    num_attention_heads: int | None = None
    joint_attention_dim: int | None = None
    shift: float | None = None
    guidance_embeds: bool | None = None
    num_layers: int | None = None
    is_distilled: bool | None = None
    """Of a pipeline."""
    qk_norm: str | bool | None = None
    zero_cond_t: bool | None = None
    use_additional_t_cond: bool | None = None
    text_encoder: Any = None
    """Of a pipeline: library and class, both null where it has none."""


class _Class(msgspec.Struct):
    class_name: Any = msgspec.field(default="", name="_class_name")
    architectures: list[str] | None = None
    """Of a model of transformers."""


class _WeightIndex(msgspec.Struct):
    weight_map: dict[str, str]


_Read = TypeVar("_Read", bound=msgspec.Struct)


class FolderModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a model in diffusers' layout says of itself."""

    kind: ModelKind
    family: str = ""
    variant: str = ""
    what: str = ""
    """What it is where it can't be used, as the end of "it is …"."""
    native_size: int = 0
    v_prediction: bool = False
    zero_terminal_snr: bool = False
    context_width: int = 0
    input_channels: int = 0


def is_part(config: Path) -> bool:
    """Whether a folder with this config.json is a model of diffusers' that lies alone.

    A config.json alone says nothing: A1111 keeps its own settings in one.
    """
    try:
        name = _json(config, _Class).class_name
    except (OSError, ValueError):
        return False
    return isinstance(name, str) and (name in PART_KINDS or name in OTHER_PARTS)


def is_of_transformers(config: Path) -> bool:
    """Whether a config.json is that of a model of transformers, such as a text encoder alone."""
    try:
        found = _json(config, _Class)
    except (OSError, ValueError):
        return False
    return bool(found.architectures) and not found.class_name


def folder_model(folder: Path) -> FolderModel:
    """What the JSON of a model in diffusers' layout tells.

    Raises OSError or ValueError for a folder whose JSON can't be read.
    """
    index = folder / "model_index.json"
    if is_regular(index):
        return _pipeline(folder, _json(index, _Settings))
    settings = _json(folder / "config.json", _Settings)
    name = str(settings.class_name)
    if name in OTHER_PARTS:
        return FolderModel(kind=ModelKind.CHECKPOINT, what=OTHER_PARTS[name])
    if PART_KINDS[name] is ModelKind.VAE:
        family = VAE_CLASSES.get(name) or _vae_family(settings)
        return FolderModel(kind=ModelKind.VAE, family=family)
    return _control(name, settings)


def shards(index: Path) -> set[str]:
    """The files that a `*.safetensors.index.json` names. Raises OSError or ValueError."""
    return set(_json(index, _WeightIndex).weight_map.values())


def parts_of(family: str) -> tuple[str, ...]:
    """The folders below a model of this family whose weights nothing can be drawn without."""
    if family not in DESCRIBED:
        return ("",)
    row = DESCRIBED[family]
    own = (f"{one.part}/" for one in row.encoders)
    # of a family made of parts the others may lie elsewhere
    return (f"{row.denoiser}/", *(() if any(one.file for one in row.encoders) else ("vae/", *own)))


def carried_by(family: str, files: tuple[str, ...], weights: str) -> tuple[str, ...]:
    """Which parts of a family made of parts lie in a folder, by files that end so."""
    rows = DESCRIBED[family].encoders if family in DESCRIBED else ()
    folders = {row.file: f"{row.part}/" for row in rows if row.file}
    if folders:
        folders["vae"] = "vae/"
    there = [name for name in files if name.lower().endswith(weights)]
    return tuple(
        part for part, within in folders.items() if any(name.startswith(within) for name in there)
    )


def wordless(family: str, files: tuple[str, ...]) -> str:
    """The tokenizer that a model of this family lacks; "" where it has all."""
    for encoder in DESCRIBED[family].encoders if family in DESCRIBED else ():
        if not encoder.file and not any(f"{encoder.tokenizer}/{name}" in files for name in WORDS):
            return encoder.tokenizer
    return ""


def _pipeline(folder: Path, index: _Settings) -> FolderModel:
    kind = ModelKind.CHECKPOINT
    class_name = index.class_name if isinstance(index.class_name, str) else "its author's own"
    for part in ("transformer", "prior", "decoder"):
        config = folder / part / "config.json"
        if is_regular(config):
            settings = _json(config, _Settings)
            family = TRANSFORMERS.get(str(settings.class_name), "")
            if family:
                if family == "flux2":
                    family = _flux_2(settings)
                elif family == "sd3" and settings.qk_norm:
                    family = "sd3.5"
                told = _variant(family, settings, _scheduler(folder), index)
                variant = EDITING.get(class_name, told)
                return FolderModel(kind=kind, family=family, variant=variant)
            return FolderModel(kind=kind, what=f"a model of diffusers' {class_name[:80]}")
    if not is_regular(folder / "unet" / "config.json"):
        return FolderModel(kind=kind, what=f"a model of diffusers' {class_name[:80]}")
    unet = _json(folder / "unet" / "config.json", _Settings)
    channels = 4 if unet.in_channels is None else unet.in_channels
    if (
        unet.class_name not in ("", "UNet2DConditionModel")
        or not _reads_text(folder, index, unet)
        # depth and the like of Stable Diffusion's make have other inputs of as many channels
        or (channels == 8 and not class_name.startswith("StableDiffusion"))
    ):
        return FolderModel(kind=kind, what=f"a model of diffusers' {class_name[:80]}")
    if unet.class_embed_type or unet.num_class_embeds:
        what = "an unCLIP model or an upscaler of Stable Diffusion's make"
        return FolderModel(kind=kind, what=f"{what} ({class_name[:80]})")
    said = _scheduler(folder)
    variant = VARIANTS.get(channels, f"{channels} channels")
    return FolderModel(
        kind=kind,
        family=_unet_family(folder, index, unet),
        variant=LCM if unet.time_cond_proj_dim else variant,
        native_size=_native_size(folder, unet),
        v_prediction=said.prediction_type == "v_prediction",
        zero_terminal_snr=bool(said.rescale_betas_zero_snr),
        context_width=_context_of(unet),
        input_channels=channels,
    )


def _scheduler(folder: Path) -> _Settings:
    config = folder / "scheduler" / "scheduler_config.json"
    return _json(config, _Settings) if is_regular(config) else _Settings()


def _flux_2(denoiser: _Settings) -> str:
    """A small model, with no more blocks than the smallest published one, is like that."""
    small = denoiser.num_layers and denoiser.num_layers <= FLUX_2_BLOCKS
    family = "flux2-klein-4b" if small and denoiser.guidance_embeds is False else "flux2"
    return FLUX_2.get(denoiser.joint_attention_dim or 0, family)


def _variant(family: str, denoiser: _Settings, scheduler: _Settings, pipeline: _Settings) -> str:
    """Of a transformer, by what its family knows its variants by."""
    said = {"denoiser": denoiser, "scheduler": scheduler, "pipeline": pipeline}
    marks = DESCRIBED[family].config_marks if family in DESCRIBED else ()
    return next((mark.variant for mark in marks if mark.fits(said[mark.part])), "")


def _reads_text(folder: Path, index: _Settings, unet: _Settings) -> bool:
    """Whether its text encoder is CLIP, as far as the folder says what it is."""
    said = index.text_encoder
    if isinstance(said, list) and len(said) == 2 and isinstance(said[1], str):
        return said[1].startswith("CLIPText")
    large = unet.addition_embed_type == "text_time"
    return large or (folder / "text_encoder").is_dir()


def _unet_family(folder: Path, index: _Settings, unet: _Settings) -> str:
    if unet.addition_embed_type == "text_time":
        there = index.text_encoder if isinstance(index.text_encoder, list) else [None]
        first = there[:1] != [None] or (folder / "text_encoder").is_dir()
        return "sdxl" if first else "sdxl-refiner"
    if unet.addition_embed_type:
        return ""
    family = CONTEXT_FAMILIES.get(_context_of(unet), "")
    if family in ("sd1", "sd2"):
        return family
    # a small model of Stable Diffusion's make, such as the demo, has a width of its own
    return "sd2" if unet.use_linear_projection else "sd1"


def _native_size(folder: Path, unet: _Settings) -> int:
    latents = unet.sample_size if isinstance(unet.sample_size, int) else 0
    native = latents * _vae_factor(folder)
    if not 0 <= native <= NATIVE_MAX:
        raise ValueError(f"unet/config.json says that its pictures have {native} pixels a side")
    return native


def _vae_factor(folder: Path) -> int:
    """Pixels to a latent, each way."""
    config = folder / "vae" / "config.json"
    channels = _json(config, _Settings).block_out_channels if is_regular(config) else None
    return 2 ** (len(channels) - 1) if channels else 8


def _control(name: str, settings: _Settings) -> FolderModel:
    kind = ModelKind.CONTROLNET
    if name == "T2IAdapter":
        family = "sdxl" if settings.adapter_type == "full_adapter_xl" else "sd1"
        channels = 3 if settings.in_channels is None else settings.in_channels
        return FolderModel(kind=kind, family=family, variant="t2i-adapter", input_channels=channels)
    if name == "FluxControlNetModel":
        if settings.extra_condition_channels:
            return FolderModel(kind=kind, what=MASKED)
        return FolderModel(kind=kind, family="flux", variant="union" if settings.num_mode else "")
    if name == "ZImageControlNetModel":
        return FolderModel(kind=kind, family="z-image")
    if name == "SD3ControlNetModel":
        if settings.extra_conditioning_channels:
            return FolderModel(kind=kind, what=MASKED_SD3)
        textless = settings.joint_attention_dim is None
        later = textless or settings.qk_norm or settings.num_attention_heads == LARGE_HEADS
        return FolderModel(kind=kind, family="sd3.5" if later else "sd3")
    width = _context_of(settings)
    large = settings.addition_embed_type == "text_time"
    family = "sdxl" if large else CONTEXT_FAMILIES.get(width, UNKNOWN)
    variant = union_of(settings.num_control_type or 0) if name in UNION_CLASSES else ""
    return FolderModel(kind=kind, family=family, variant=variant, context_width=width)


def _vae_family(settings: _Settings) -> str:
    channels = 4 if settings.latent_channels is None else settings.latent_channels
    # what diffusers takes where a file says nothing
    factor = 0.18215 if settings.scaling_factor is None else settings.scaling_factor
    if channels in (4, 16) and factor in SCALING:
        return SCALING[factor]
    return {4: UNKNOWN, 16: "sd3/flux", 32: "flux2"}.get(channels, "")


def _context_of(settings: _Settings) -> int:
    width = settings.cross_attention_dim
    return width if isinstance(width, int) else 0


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
