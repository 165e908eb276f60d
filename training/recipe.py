"""The order of the parts, and how the time is shared among them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from training import enlarging
from training.art import Art
from training.card import write_card
from training.classifier import load_classifier, train_classifier
from training.controlnet import train_controlnet
from training.evaluate import evaluate
from training.export import assemble, export, load_pipeline, load_run
from training.latents import encode_scenes
from training.loop import Budget
from training.lora import train_lora
from training.precision import mixed_precision
from training.sheets import contact_sheet, draw_controlled, lora_sheet, prompt_sheet
from training.styles import STYLES
from training.tagger import train_tagger
from training.text import train_text
from training.unet import load_text, load_vae, train_unet
from training.upscaler import load_upscaler, train_upscaler
from training.vae import held_out_pictures, psnr, train_vae

# minutes on two CPU cores that bring a good model; also the shares of a shorter `all`
MINUTES = {
    "vae": 90.0,
    "text": 4.0,
    "unet": 360.0,
    "cooldown": 40.0,
    "classifier": 12.0,
    "lora": 12.0,
    "controlnet": 60.0,
    "upscaler": 60.0,
    "tagger": 20.0,
}


@dataclass(frozen=True)
class Recipe:
    """Where everything lies and how long to train; see `python -m training --help`."""

    out: Path
    models: Path
    docs: Path
    emoji: Path
    device: torch.device
    minutes: float | None
    steps: int | None
    batch: int
    pictures: int
    prompts: int | None
    start: Path | None = None

    def run(self, part: str) -> None:
        """Run one part, or `all` in order."""
        for name in PARTS if part == "all" else (part,):
            if part == "all" and name == "decoder":
                continue
            print(f"== {name}", flush=True)
            PARTS[name](self, self.budget(name, alone=part != "all"))

    def budget(self, part: str, alone: bool) -> Budget:
        """The budget of one part; of `all`, its share of the minutes."""
        usual = MINUTES.get(part, 30.0)
        if self.steps is not None:
            return Budget(steps=self.steps)
        if self.minutes is None:
            return Budget(minutes=usual)
        total = sum(MINUTES.values()) + MINUTES["lora"] * (len(STYLES) - 1)
        return Budget(minutes=self.minutes if alone else self.minutes * usual / total)

    @cached_property
    def art(self) -> Art:
        return Art(self.emoji)

    def begin(self, part: str) -> Path | None:
        """The folder of the weights that `part` begins with, or None for random ones."""
        return self.start / part if self.start else None

    @property
    def demo(self) -> Path:
        return self.models / "diffusers" / "demo"

    @property
    def upscaler(self) -> Path:
        return self.models / "upscale_models" / "demo-x4.safetensors"

    @property
    def tagger(self) -> Path:
        return self.models / "wd14_tagger" / "demo-tagger"

    @property
    def controlnet(self) -> Path:
        return self.models / "controlnet" / "demo-edges"

    def lora(self, name: str) -> Path:
        return self.models / "loras" / f"demo-{name}.safetensors"


def _vae(recipe: Recipe, budget: Budget) -> None:
    train_vae(recipe.art, recipe.out / "vae", budget, recipe.device, start=recipe.begin("vae"))


def _decoder(recipe: Recipe, budget: Budget) -> None:
    train_vae(recipe.art, recipe.out / "vae", budget, recipe.device, decoder_only=True)


def _text(recipe: Recipe, budget: Budget) -> None:
    train_text(recipe.out / "text", budget, recipe.device, recipe.begin("text_encoder"))


def _latents(recipe: Recipe, budget: Budget) -> None:
    vae = load_vae(recipe.out, recipe.device)
    encode_scenes(recipe.art, vae, recipe.out / "latents", recipe.pictures)


def _train_unet(recipe: Recipe, budget: Budget, cool: bool) -> None:
    vae, text = load_vae(recipe.out, recipe.device), load_text(recipe.out, recipe.device)

    def show(unet: UNet2DConditionModel, path: Path) -> None:
        with mixed_precision(recipe.device):
            prompt_sheet(assemble(vae, text, unet), count=6).save(path)

    train_unet(recipe.out, budget, recipe.device, recipe.batch, show, cool, recipe.begin("unet"))


def _unet(recipe: Recipe, budget: Budget) -> None:
    _train_unet(recipe, budget, cool=False)


def _cooldown(recipe: Recipe, budget: Budget) -> None:
    _train_unet(recipe, budget, cool=True)


def _classifier(recipe: Recipe, budget: Budget) -> None:
    train_classifier(recipe.art, recipe.out, budget, recipe.device)


def _export(recipe: Recipe, budget: Budget) -> None:
    export(load_run(recipe.out, torch.device("cpu")), recipe.demo)


def _card(recipe: Recipe, budget: Budget) -> None:
    write_card(recipe.models, recipe.docs, _state(recipe.out))


def _lora(recipe: Recipe, budget: Budget) -> None:
    for style in STYLES:
        target = recipe.lora(style.name)
        train_lora(recipe.art, recipe.out, style, budget, recipe.device, target, recipe.pictures)


def _controlnet(recipe: Recipe, budget: Budget) -> None:
    target = recipe.controlnet
    train_controlnet(recipe.art, recipe.out, budget, recipe.device, target, recipe.pictures)


def _upscaler(recipe: Recipe, budget: Budget) -> None:
    train_upscaler(recipe.art, recipe.demo, recipe.out, budget, recipe.device, recipe.upscaler)


def _tagger(recipe: Recipe, budget: Budget) -> None:
    train_tagger(recipe.art, recipe.out, budget, recipe.device, recipe.tagger)


def _enlarged(recipe: Recipe, budget: Budget) -> None:
    network = load_upscaler(recipe.upscaler)
    recipe.docs.mkdir(parents=True, exist_ok=True)
    figures = enlarging.measure(network, load_classifier(recipe.out), recipe.art)
    enlarging.save(figures, recipe.docs / "enlarged.json")
    pipeline = load_pipeline(recipe.demo)
    enlarging.sheet(pipeline, network).save(recipe.docs / "enlarged.png", optimize=True)
    print("\n".join(f"{name}: {figure}" for name, figure in figures.items()), flush=True)


def _sheets(recipe: Recipe, budget: Budget) -> None:
    pipeline = load_run(recipe.out, torch.device("cpu"))
    recipe.docs.mkdir(parents=True, exist_ok=True)
    prompt_sheet(pipeline).save(recipe.docs / "prompts.png", optimize=True)
    contact_sheet(pipeline).save(recipe.docs / "contact-sheet.png", optimize=True)
    for style in STYLES:
        if recipe.lora(style.name).is_file():
            made = lora_sheet(pipeline, recipe.lora(style.name), style)
            made.save(recipe.docs / f"lora-{style.name}.png", optimize=True)
    if recipe.controlnet.is_dir():
        drawn = draw_controlled(pipeline, recipe.art, recipe.controlnet)
        drawn.sheet().save(recipe.docs / "controlnet-edges.png", optimize=True)


def _evaluate(recipe: Recipe, budget: Budget) -> None:
    pipeline = load_run(recipe.out, torch.device("cpu"))
    report = evaluate(pipeline, load_classifier(recipe.out), recipe.prompts)
    decibels, _ = psnr(pipeline.vae, held_out_pictures(recipe.art))
    report = replace(report, decibels=decibels)
    if recipe.controlnet.is_dir():
        count = 32 if recipe.prompts is None else recipe.prompts
        drawn = draw_controlled(pipeline, recipe.art, recipe.controlnet, count)
        report = replace(report, edges=drawn.followed(), edges_by_chance=drawn.by_chance())
    recipe.docs.mkdir(parents=True, exist_ok=True)
    report.save(recipe.docs / "measured.json")
    print(
        f"things {report.thing:.1%}, backgrounds {report.background:.1%}, pairs {report.pair:.1%}; "
        f"prompts that fail: {'; '.join(report.failing()) or 'none'}",
        flush=True,
    )


def _state(out: Path) -> str:
    """How far the parts have been trained, for the model card."""
    autoencoder = f"{_steps(out / 'vae'):,} steps of the autoencoder"
    if (out / "vae" / "decoder" / "log.jsonl").is_file():
        autoencoder += f", {_steps(out / 'vae' / 'decoder'):,} more of its decoder alone"
    return (
        f"Trained for {autoencoder}, and {_steps(out / 'unet'):,} of the UNet, "
        "from which it can go on, before the rate was let down to nothing."
    )


def _steps(folder: Path) -> int:
    last = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    return int(json.loads(last)["step"])


PARTS: dict[str, Callable[[Recipe, Budget], None]] = {
    "vae": _vae,
    "decoder": _decoder,
    "text": _text,
    "latents": _latents,
    "unet": _unet,
    "cooldown": _cooldown,
    "classifier": _classifier,
    "export": _export,
    "lora": _lora,
    "controlnet": _controlnet,
    "upscaler": _upscaler,
    "enlarged": _enlarged,
    "tagger": _tagger,
    "sheets": _sheets,
    "evaluate": _evaluate,
    "card": _card,
}
