"""Writes the trained parts in the layouts that pipelines load, in half precision."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from training.captions import FILLERS
from training.styles import STYLES
from training.text import classic_files
from training.things import COLOUR_SYNONYMS, COLOURS, PLACE_WORDS, SIZE_WORDS, THINGS
from training.unet import load_text, load_vae, new_scheduler


def assemble(
    vae: AutoencoderKL, text: tuple[CLIPTokenizer, CLIPTextModel], unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    """The parts as a Stable Diffusion pipeline."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text[1],
        tokenizer=text[0],
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_run(folder: Path, device: torch.device) -> StableDiffusionPipeline:
    """The pipeline of a training run, in float32."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet" / "model").to(device)
    return assemble(load_vae(folder, device), load_text(folder, device), unet)


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The pipeline of a folder that `export` wrote, in float32."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def export(pipeline: StableDiffusionPipeline, target: Path) -> None:
    """Write `pipeline` and vocabulary.json to `target`; its README and licence stay."""
    beside = target.with_name(target.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(beside, safe_serialization=True)
    pipeline.to(torch.float32)
    _load_as_float32(beside / "text_encoder" / "config.json")
    (beside / "vocabulary.json").write_text(
        json.dumps(vocabulary(), indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
        newline="\n",
    )
    for name, text in _classic_tokenizer(beside / "tokenizer").items():
        (beside / "tokenizer" / name).write_text(text, encoding="utf-8", newline="\n")
    target.mkdir(parents=True, exist_ok=True)
    for part in beside.iterdir():
        old = target / part.name
        if old.is_dir():
            shutil.rmtree(old)
        part.replace(old)
    beside.rmdir()
    for path in target.rglob("*.safetensors"):
        path.chmod(0o644)
    print(f"exported {weigh(target) / 1e6:.1f} MB to {target}", flush=True)


def _load_as_float32(config: Path) -> None:
    """Say float32: transformers loads in the type it finds there, diffusers always in float32."""
    values = json.loads(config.read_text(encoding="utf-8"))
    values["dtype"] = "float32"
    config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8", newline="\n")


def _classic_tokenizer(folder: Path) -> dict[str, str]:
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    return classic_files(model["vocab"], [tuple(pair) for pair in model["merges"]])


def vocabulary() -> dict[str, Any]:
    """The words that the model knows, for completion and for the model card."""
    return {
        "things": {thing.name: list(thing.names[1:]) for thing in THINGS},
        "colours": {name: list(COLOUR_SYNONYMS.get(name, ())) for name in COLOURS},
        "sizes": {name: list(words[1:]) for name, words in SIZE_WORDS.items()},
        "positions": {place: words[0].strip() for place, words in PLACE_WORDS.items()},
        "pairs": ["{a} and {b}", "{a} next to {b}", "{a} above {b}", "two {a}"],
        "fillers": list(FILLERS),
        "styles": {style.trigger: f"demo-{style.name}" for style in STYLES},
        "examples": [
            "small rocket on a black background",
            "apple and banana on green",
            "a big panda on pink",
            "castle on the left, light blue background",
        ],
    }


def weigh(folder: Path) -> int:
    """Bytes of all weights under `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def count(module: nn.Module) -> str:
    """The number of parameters, as '15.7 M'."""
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} M"
