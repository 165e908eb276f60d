"""Writes the model card from what was measured, so that its figures are never typed by hand."""

import json
from pathlib import Path
from typing import Any

from training.styles import STYLES
from training.things import COLOURS, PLACE_WORDS, SIZE_WORDS, THINGS

_SHEETS = "../../../docs/demo-model"

_CARD = """\
---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---
# Darkroom's demo model

A small, real latent diffusion model: a first picture without a download, and a model for tests. \
It has the layout of Stable Diffusion 1 in diffusers (CLIPTokenizer, CLIPTextModel, \
AutoencoderKL, UNet2DConditionModel, DPM++ 2M scheduler), so the same pipelines, samplers, LoRAs \
and ControlNets run on it. It draws **emoji art at 128 x 128**, and nothing else.

{state}

![eighteen pictures](../../../docs/demo-model/contact-sheet.png)

## What to ask for
A thing, or two; a size; a place; a background:

    small rocket on a black background
    apple and banana on green
    a big panda on pink
    castle on the left, light blue background
    star above moon on black
    two butterflies on pink

It knows {n_things} things: {things}.

Backgrounds: {colours}. Sizes: {sizes} (nothing said: medium). Places: {places} (nothing said: \
the middle). Synonyms stand in [vocabulary.json](vocabulary.json), which `/imagine` completes from.

Eight steps and a guidance scale of 3 are enough. Other sizes than 128 x 128 work badly.

## What it cannot draw
- Words outside that list. 'Zebra' gives some other thing, without a warning.
- Counts other than one and two; three things; relations other than *beside* and *above*.
- Actions, scenery, people, writing, styles (but see the LoRAs).
- Another colour for a thing than its own: 'a blue apple' may colour the background.

## Beside it
{beside}

## Measured
{figures}
{enlarged}
## Training
`python -m training all` makes everything here from nothing: see `training/`. {n_things} pictures \
of Fluent Emoji 3D were composed on the fly with captions; the autoencoder (4.3 M parameters, \
f = 8, 4 latent channels) learned to compress them, the text encoder (1.6 M) to name the parts of \
a caption, the UNet (13.9 M, v-prediction) to draw. Thirty prompts, drawn with \
seed 0: [prompts.png](../../../docs/demo-model/prompts.png).

## Licence
The art is Microsoft's Fluent Emoji, under the MIT licence: see [NOTICE](NOTICE). The weights come \
under the same licence as Darkroom, MIT.
"""


_MEASURED = """\
By a small classifier trained on the same art (`training/classifier.py`), over {seeds} seeds a \
prompt, {steps} steps, guidance {guidance:g}; all {n_things} things once, and {n_pairs} pairs:

| | recognised | aim |
|---|---|---|
| the thing | {thing:.1%} | 90 % |
| the background | {background:.1%} | 95 % |
| both things of a pair | {pair:.1%} | 70 % |
{more}

Prompts of which fewer than three of four pictures show what was asked: {failing}.

Every prompt's figures: [measured.json](../../../docs/demo-model/measured.json). Again: \
`python -m training evaluate`, then `python -m training card`.
"""

_ENLARGED = """
The upscaler `demo-x4`, on pictures of emoji that it never saw in training, scaled down to \
a quarter and enlarged again; and the share of the things that the classifier recognises in \
pictures of 32 x 32 that were enlarged to 128 x 128:

| | PSNR | SSIM | recognised |
|---|---|---|---|
{rows}

Again: `python -m training enlarged`. Four of the demo's pictures, as they are, by Lanczos and \
by the upscaler: [enlarged.png](../../../docs/demo-model/enlarged.png).
"""

_MORE = {
    "decibels": "| the autoencoder on held-out pictures | {:.1f} dB | 30 dB |",
    "edges": "| given edges that the ControlNet draws, within two pixels | {:.1%} | |",
    "edges_by_chance": "| the same without the ControlNet | {:.1%} | |",
}

_FIGURES = ("seeds", "steps", "guidance", "thing", "background", "pair")


_TAGGER = """\
---
license: mit
library_name: onnx
pipeline_tag: image-classification
---
# The tagger of Darkroom's demo

It says by tags what a picture of the [demo model](../../diffusers/demo/README.md) shows, so that \
`/describe` works on the first day. It has the layout of SmilingWolf's WD taggers, `model.onnx` \
beside `selected_tags.csv` (input N x 128 x 128 x 3, BGR from 0 to 255), and is read by what reads \
those.

## What it knows
{n_things} things, {places} (where they stand), backgrounds in {colours}, and the styles of the \
demo's LoRAs: {styles}. {n_tags} tags, all of WD's category 0.

## What it does not
- Photographs, and anything that is not of the demo's art: it names what is least unlike, or \
nothing.
- How fit a picture is for whom: it has no ratings, and is never a picture check.
- How many of a thing there are; words for what a thing does.

## Measured
On pictures that the demo drew, and on scenes of the art that it never saw: \
[docs/describe.md](../../../docs/describe.md), with pictures.

## Training
`python -m training tagger`, on the art of the demo composed on the fly, blurred and noisy, a \
fifth of it in one of the styles, and beside it on things that the demo does not draw: see \
`training/tagger.py`. Ten convolutions, 1.1 million weights.

## Licence
The art is Microsoft's Fluent Emoji, under the MIT licence: see [NOTICE](NOTICE). The weights come \
under the same licence as Darkroom, MIT.
"""


def write_card(models: Path, docs: Path, state: str) -> None:
    """Write models/diffusers/demo/README.md, and the tagger's beside it where that is there;
    `state` says in words how far training went.

    The figures are those that `evaluate` and `enlarged` left in `docs`, as far as they did.
    """
    measured = docs / "measured.json"
    text = _CARD.format(
        n_things=len(THINGS),
        things=", ".join(thing.name for thing in THINGS),
        colours=", ".join(COLOURS),
        sizes=", ".join(SIZE_WORDS),
        places=", ".join(words[0].strip() for words in PLACE_WORDS.values()),
        beside=_beside(models),
        figures=_figures(measured) if measured.is_file() else "Not yet.",
        enlarged=_enlarged(docs / "enlarged.json"),
        state=state,
    )
    path = models / "diffusers" / "demo" / "README.md"
    path.write_text(text, encoding="utf-8", newline="\n")
    tagger = models / "wd14_tagger" / "demo-tagger"
    if tagger.is_dir():
        own = _TAGGER.format(
            n_things=len(THINGS),
            places=", ".join(PLACE_WORDS),
            colours=", ".join(COLOURS),
            styles=", ".join(style.trigger for style in STYLES),
            n_tags=len(THINGS) + len(PLACE_WORDS) + len(COLOURS) + len(STYLES),
        )
        (tagger / "README.md").write_text(own, encoding="utf-8", newline="\n")


def _figures(measured: Path) -> str:
    report: dict[str, Any] = json.loads(measured.read_text(encoding="utf-8"))
    outcomes = (*report["singles"], *report["pairs"])
    failing = [o["prompt"] for o in sorted(outcomes, key=_share) if o["things"] < 0.75]
    return _MEASURED.format(
        failing="; ".join(failing) or "none",
        n_things=len(report["singles"]),
        n_pairs=len(report["pairs"]),
        more="\n".join(
            row.format(report[key]) for key, row in _MORE.items() if report.get(key) is not None
        ),
        **{key: report[key] for key in _FIGURES},
    ).strip()


def _enlarged(path: Path) -> str:
    if not path.is_file():
        return ""
    figures = json.loads(path.read_text(encoding="utf-8"))
    rows = "\n".join(
        f"| {name} | {figure['psnr']:.2f} dB | {figure['ssim']:.4f} | {figure['recognised']:.1%} |"
        for name, figure in figures.items()
    )
    return _ENLARGED.format(rows=rows)


def _share(outcome: dict[str, Any]) -> float:
    return float(outcome["things"])


def _beside(models: Path) -> str:
    lines = [
        f"- the LoRA `demo-{style.name}` (trigger: *{style.trigger}*): at 0, 0.5 and 1 in"
        f" [lora-{style.name}.png]({_SHEETS}/lora-{style.name}.png)"
        for style in STYLES
        if (models / "loras" / f"demo-{style.name}.safetensors").is_file()
    ]
    if (models / "controlnet" / "demo-edges").is_dir():
        sheet = f"[controlnet-edges.png]({_SHEETS}/controlnet-edges.png)"
        lines.append(f"- the ControlNet `demo-edges`: draws along Canny edges, in {sheet}")
    if (models / "upscale_models" / "demo-x4.safetensors").is_file():
        sheet = f"[enlarged.png]({_SHEETS}/enlarged.png)"
        lines.append(f"- the upscaler `demo-x4`: four times the size, in {sheet}")
    if (models / "wd14_tagger" / "demo-tagger").is_dir():
        lines.append(
            "- the tagger `demo-tagger`: names the things, places, backgrounds and styles of its"
            " pictures, in [describe.png](../../../docs/describe.png);"
            " [its card](../../wd14_tagger/demo-tagger/README.md)"
        )
    return "\n".join(lines) or "Its LoRAs and its ControlNet are not trained yet."
