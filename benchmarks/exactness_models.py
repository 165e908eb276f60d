"""Models for `exactness`: random weights, of a spread that keeps signals alive."""

import gc
import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from generation.runtime.tokenizers import VOCABULARY
from tests.fixtures import ldm, models, sdxl

CONFIGS: Final = Path("generation/runtime/configs")
SHALLOW: Final = "-shallow"
VEGA: Final = [1, 1, 2]
"""Transformer blocks of each level of Segmind Vega, which is as wide as SDXL and less deep: ComfyUI
knows no other depths but a few.
"""
PARTS: Final[dict[str, Any]] = {
    "unet": diffusers.UNet2DConditionModel,
    "vae": diffusers.AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


def make_models(size: str, folder: Path) -> None:
    """A checkpoint (a folder of diffusers, and for ComfyUI a single file), a LoRA on all attention,
    and a ControlNet.
    """
    into = folder / "models"
    into.mkdir(parents=True)
    whole = into / "model"
    if size.startswith("tiny"):
        if size == "tiny":
            models.tiny_stable_diffusion(whole)
            _off_centre(whole / "text_encoder")
            models.tiny_controlnet(into / "net", whole)
        else:
            sdxl.tiny_sdxl(whole)
            sdxl.tiny_xl_controlnet(into / "net", whole)
        parts = {
            name: class_.from_pretrained(whole / name)
            for name, class_ in PARTS.items()
            if (whole / name).is_dir()
        }
        shapes = {name: dict(part.named_modules()) for name, part in parts.items()}
        _lora(shapes, into / "lora.safetensors")
        return
    configs = CONFIGS / size.removesuffix(SHALLOW)
    left = shutil.ignore_patterns("controlnet*", "t2i*")
    shutil.copytree(configs, whole, ignore=left)
    for tokenizer in whole.glob("tokenizer*"):
        for words in ("vocab.json", "merges.txt"):
            shutil.copy(VOCABULARY / words, tokenizer)
    net = into / "net"
    shutil.copytree(configs / "controlnet", net)
    if size.endswith(SHALLOW):
        for part in (whole / "unet", net):
            _change(part / "config.json", transformer_layers_per_block=VEGA)
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    shapes = {}
    for name, class_ in PARTS.items():
        if not (configs / name).is_dir():
            continue
        module = empty(class_, whole / name)
        shapes[name] = dict(module.named_modules())
        tensors[name] = random_weights(module)
        diffusers_ = name in ("unet", "vae")
        file = "diffusion_pytorch_model" if diffusers_ else "model"
        save_file(tensors[name], whole / name / f"{file}.safetensors", {"format": "pt"})
    _lora(shapes, into / "lora.safetensors")
    single = ldm.unet(tensors["unet"]) | ldm.vae(tensors["vae"])
    if not (configs / "text_encoder_2").is_dir():
        single |= ldm.clip(tensors["text_encoder"])
    else:
        single |= ldm.clip(tensors["text_encoder"], "conditioner.embedders.0.transformer.")
        single |= ldm.openclip(tensors["text_encoder_2"], "conditioner.embedders.1.model.")
    save_file({name: t.contiguous() for name, t in single.items()}, folder / "single.safetensors")
    del single, tensors
    gc.collect()
    weights = random_weights(empty(diffusers.ControlNetModel, net))
    save_file(weights, net / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    save_file(ldm.unet(weights, "control_model."), folder / "net.safetensors")


def _off_centre(folder: Path) -> None:
    """Give a text encoder states with a mean of their own: A1111 divides by the mean."""
    encoder: Any = CLIPTextModel.from_pretrained(folder)
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    with torch.no_grad():
        norm.bias += 0.2
    encoder.save_pretrained(folder)


def _change(config: Path, **changes: Any) -> None:
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))


def empty(class_: Any, config: Path) -> Any:
    settings = json.loads((config / "config.json").read_text())
    with torch.device("meta"):
        if class_ in (CLIPTextModel, CLIPTextModelWithProjection):
            return class_(CLIPTextConfig(**settings))
        return class_.from_config(settings)


def random_weights(module: Any) -> dict[str, torch.Tensor]:
    """float16, with the spread that keeps signals about as large as they came."""
    generator = torch.Generator("cpu").manual_seed(0)
    found: dict[str, torch.Tensor] = {}
    for name, like in module.state_dict().items():
        if not like.is_floating_point():
            continue
        if like.ndim == 1:
            one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            found[name] = torch.randn(like.shape, generator=generator).mul(0.02).add(one).half()
        else:
            spread = like[0].numel() ** -0.5
            found[name] = torch.randn(like.shape, generator=generator).mul(spread).half()
    return found


def _lora(shapes: dict[str, dict[str, Any]], file: Path, rank: int = 4) -> None:
    """In the layout of kohya's trainer."""
    generator = torch.Generator("cpu").manual_seed(2)
    large = "text_encoder_2" in shapes
    prefixes = {
        "unet": "lora_unet",
        "text_encoder": "lora_te1" if large else "lora_te",
        "text_encoder_2": "lora_te2",
    }
    tensors: dict[str, torch.Tensor] = {}
    for part, modules in shapes.items():
        for name, layer in modules.items():
            if not re.search(r"(to_q|to_k|to_v|to_out\.0|q_proj|k_proj|v_proj|out_proj)$", name):
                continue
            if part == "vae":
                continue
            begins = "text_model." if part != "unet" and not name.startswith("text_model") else ""
            key = f"{prefixes[part]}_{(begins + name).replace('.', '_')}"
            out, in_ = layer.weight.shape
            down = torch.randn((rank, in_), generator=generator) * in_**-0.5
            up = torch.randn((out, rank), generator=generator) * 0.5
            tensors[f"{key}.lora_down.weight"] = down.half()
            tensors[f"{key}.lora_up.weight"] = up.half()
            tensors[f"{key}.alpha"] = torch.tensor(2.0).half()
    save_file(tensors, file)
