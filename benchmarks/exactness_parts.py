"""Models made of parts for `exactness`: few blocks of full width, beside ComfyUI's.

Both sides are given the same states of texts, random ones, in the place of text encoders; denoiser,
sampling and VAE are their own. How many blocks a denoiser has is read from its file by both, but
for Stable Diffusion 3, of which ComfyUI takes a 64th of the width for it and is told here, and for
Chroma, whose blocks it numbers as if all 57 were there: so does the engine's denoiser here.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import diffusers
import msgspec
import torch
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import save_file

from benchmarks.exactness_comfyui import ComfyUI
from benchmarks.exactness_engine import Engine, Files
from benchmarks.exactness_models import CONFIGS, empty, random_weights
from generation.families import FAMILIES
from generation.models import ModelFile, ModelKind
from generation.request import GenerationRequest
from generation.runtime.conditioning import Conditioner, Conditioning, Prompts, Scheduled
from generation.runtime.networks.architecture import counted
from tests.fixtures import chroma, flux, ldm, qwen_image, sd3

RANK: Final = 4
ATTENTION: Final = re.compile(r"\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)$")
CHROMA_BLOCKS: Final = 344
"""What the network of Chroma that tells its blocks how to act answers with, for all of them."""
LAST: Final = 2
"""Of those for what follows the blocks."""


class Size(NamedTuple):
    """A denoiser of full width: its family and variant, diffusers' class with its figures, and what
    its tensors are called in ComfyUI's files.
    """

    family: str
    model: Any
    figures: dict[str, Any]
    original: Callable[[ldm.Tensors], ldm.Tensors]
    cross: int = 4096
    """Width of the text's states."""
    pooled: int | None = None
    variant: str = ""
    tokens: int = 24
    """Of a text; few, since one thread draws."""


def _as_it_is(tensors: ldm.Tensors) -> ldm.Tensors:
    return tensors


_FLUX: Final = {"num_layers": 1, "num_single_layers": 1}
_SD3: Final = {
    "num_layers": 2,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 96,
}


def _sd3(heads: int, **more: Any) -> dict[str, Any]:
    return {
        **_SD3,
        "num_attention_heads": heads,
        "caption_projection_dim": 64 * heads,
        **more,
    }


SIZES: Final[dict[str, Size]] = {
    "flux": Size(
        "flux",
        diffusers.FluxTransformer2DModel,
        {**_FLUX, "guidance_embeds": True},
        flux.original,
        pooled=768,
    ),
    "flux-schnell": Size(
        "flux",
        diffusers.FluxTransformer2DModel,
        _FLUX,
        flux.original,
        pooled=768,
        variant="schnell",
    ),
    "sd3": Size("sd3", diffusers.SD3Transformer2DModel, _sd3(24), sd3.original, pooled=2048),
    "sd3.5-medium": Size(
        "sd3.5",
        diffusers.SD3Transformer2DModel,
        _sd3(24, qk_norm="rms_norm", dual_attention_layers=(0,)),
        sd3.original,
        pooled=2048,
    ),
    "sd3.5-large": Size(
        "sd3.5",
        diffusers.SD3Transformer2DModel,
        _sd3(38, qk_norm="rms_norm"),
        sd3.original,
        pooled=2048,
    ),
    "chroma": Size("chroma", diffusers.ChromaTransformer2DModel, _FLUX, chroma.original),
    "qwen-image": Size(
        "qwen-image",
        diffusers.QwenImageTransformer2DModel,
        {"num_layers": 1},
        _as_it_is,
        cross=3584,
    ),
}


def make_parts(size: str, folder: Path) -> None:
    """A denoiser, a VAE and a LoRA on all attention, in single files."""
    made, into = SIZES[size], folder / "models"
    into.mkdir(parents=True)
    with torch.device("meta"):
        module = made.model(**made.figures)
    tensors = random_weights(module)
    if "pos_embed.pos_embed" in tensors:
        generator = torch.Generator("cpu").manual_seed(1)
        shape = tensors["pos_embed.pos_embed"].shape
        # as wide as the sines that it is in fact
        tensors["pos_embed.pos_embed"] = (torch.randn(shape, generator=generator) * 0.7).half()
    _save(made.original(tensors), into / "denoiser.safetensors")
    _lora(module, into / "lora.safetensors")
    family = FAMILIES[made.family]
    config = CONFIGS / family.config / "vae"
    if family.latents.make == "causal":
        vae = qwen_image.original_vae(
            random_weights(empty(diffusers.AutoencoderKLQwenImage, config))
        )
    else:
        named = ldm.vae(random_weights(empty(diffusers.AutoencoderKL, config)))
        vae = {name.removeprefix("first_stage_model."): tensor for name, tensor in named.items()}
    _save(vae, into / "vae.safetensors")


def _save(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def _lora(module: Any, file: Path) -> None:
    """In diffusers' names."""
    generator = torch.Generator("cpu").manual_seed(2)
    tensors: ldm.Tensors = {}
    for name, layer in module.named_modules():
        if ATTENTION.search(name):
            out, in_ = layer.weight.shape
            down = torch.randn((RANK, in_), generator=generator) * in_**-0.5
            up = torch.randn((out, RANK), generator=generator) * 0.5
            tensors[f"transformer.{name}.lora_A.weight"] = down.half()
            tensors[f"transformer.{name}.lora_B.weight"] = up.half()
    save_file(tensors, file)


def texts(size: Size) -> tuple[Conditioning, Conditioning]:
    """What is wanted, and what is not; of another length, where that is of no matter."""
    generator = torch.Generator("cpu").manual_seed(4)

    def text(tokens: int) -> Conditioning:
        cross = torch.randn((1, tokens, size.cross), generator=generator)
        if size.pooled is None:
            return Conditioning(cross)
        return Conditioning(cross, torch.randn((1, size.pooled), generator=generator))

    return text(size.tokens), text(size.tokens)


class Given(Conditioner):
    """Has for every prompt what it was given."""

    def __init__(self, size: Size) -> None:
        super().__init__(FAMILIES[size.family], ())
        self._wanted, self._unwanted = texts(size)

    def prompts(self, prompt: str, negative: str | None, steps: int, **told: Any) -> Prompts:
        wanted, unwanted = (Scheduled(((steps, text),)) for text in (self._wanted, self._unwanted))
        return Prompts(((1.0, wanted),), wanted if negative is None else unwanted)


def parts_engine(size: str, folder: Path, side: int, steps: int) -> Engine:
    """The engine with such a model, without text encoders."""
    made = SIZES[size]
    family = FAMILIES[made.family]
    FAMILIES[made.family] = msgspec.structs.replace(family, encoders=())
    engine = Engine(folder, side, steps, _files(made, folder / "models"))
    loaded = engine.server._parts.checkpoint(engine.get(ModelKind.CHECKPOINT, "model"))
    loaded.conditioner = Given(made)
    if made.family == "chroma":
        told = loaded.denoiser.time_text_embed
        places = torch.arange(CHROMA_BLOCKS) * 1000
        every = get_timestep_embedding(
            places, told.mod_proj.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0
        )
        told.mod_proj[-LAST:] = every[-LAST:].to(told.mod_proj)
    return engine


def _files(size: Size, folder: Path) -> Files:
    vae = ModelFile(
        kind=ModelKind.VAE,
        name="vae",
        path=folder / "vae.safetensors",
        family=FAMILIES[size.family].vaes,
    )
    found = {
        ModelKind.CHECKPOINT: ModelFile(
            kind=ModelKind.CHECKPOINT,
            name="model",
            path=folder / "denoiser.safetensors",
            family=size.family,
            variant=size.variant,
            parts={"vae": vae},
        ),
        ModelKind.LORA: ModelFile(
            kind=ModelKind.LORA,
            name="lora",
            path=folder / "lora.safetensors",
            family=size.family,
        ),
    }
    return lambda kind, name: found[kind]


class ComfyUIParts(ComfyUI):
    """The same files in ComfyUI, which is given the same states of texts."""

    def __init__(self, checkout: Path, folder: Path, size: str) -> None:
        self._size = SIZES[size]
        super().__init__(checkout, folder)

    def _loaded(self) -> tuple[Any, Any, Any]:
        file = str(self.folder / "models" / "denoiser.safetensors")
        detection: Any = importlib.import_module("comfy.model_detection")
        detect = detection.detect_unet_config

        def told(tensors: Any, *more: Any, **named: Any) -> Any:
            config = detect(tensors, *more, **named)
            blocks = counted(tensors, "joint_blocks.")
            return config | ({"num_blocks": blocks} if blocks else {})

        detection.detect_unet_config = told
        model = self.sd.load_diffusion_model(file)
        vae = self.utils.load_torch_file(str(self.folder / "models" / "vae.safetensors"))
        return model, None, self.sd.VAE(sd=vae)

    def _texts(self, request: GenerationRequest, clip: Any) -> tuple[Any, Any]:
        distilled = FAMILIES[self._size.family].guidance == "distilled"
        more = {"guidance": request.guidance_scale} if distilled else {}
        wanted, unwanted = (
            [[text.cross, {"pooled_output": text.pooled, **more}]] for text in texts(self._size)
        )
        return wanted, unwanted

    def _guidance(self, request: GenerationRequest) -> float:
        family = FAMILIES[self._size.family].version(self._size.variant)
        return request.guidance_scale if family.guidance == "cfg" else 1.0
