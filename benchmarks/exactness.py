"""How exactly the engine draws the pictures of A1111 and ComfyUI: `python -m benchmarks.exactness`.

    python -m benchmarks.exactness a1111 --k-diffusion FOLDER --unipc FILE --size sd1
    python -m benchmarks.exactness comfyui --comfyui FOLDER --size sd1
    python -m benchmarks.exactness comfyui --comfyui FOLDER --size flux

The other side is fetched by whoever measures: a checkout of k-diffusion, and of ComfyUI, whose
`comfy/extra_samplers/uni_pc.py` is also the published UniPC. Weights are random and of that spread
that keeps signals alive, so a picture shows all that went into it; both sides read the same files
and draw in float32 on one thread. Printed are differences of bytes: on average, and the largest.
"""

import argparse
import functools
import gc
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import exactness_parts
from benchmarks.exactness_a1111 import Spoken, Told, Webui
from benchmarks.exactness_comfyui import ComfyUI
from benchmarks.exactness_engine import SEED, Engine
from benchmarks.exactness_models import make_models
from benchmarks.exactness_parts import ComfyUIParts, make_parts, parts_engine
from benchmarks.exactness_samplers import SAMPLERS as WEBUI_SAMPLERS
from benchmarks.exactness_samplers import SECOND
from generation.families import FAMILIES
from generation.request import GenerationRequest
from generation.samplers import SAMPLERS, SCHEDULES, schedule_of

SIZES: Final = ("tiny", "tiny-xl", "sd1", "sdxl", "sdxl-shallow")
TARGET: Final = {"a1111": 0.1, "comfyui": 0.5}
WORDS: Final = (
    "a red fox in the snow at dawn, oil painting, thick brush strokes, soft light, pine trees, "
    "far mountains, mist over the valley, a frozen river, birds above, warm colours, high detail, "
    "in the manner of an old master, museum quality, on canvas, golden frame, quiet, dreamy mood, "
    "long shadows, a small hut with smoke, tracks in the snow, blue sky with thin clouds, sunrise"
)
"""Over 75 tokens, with a comma near the border."""


USUAL: Final[list[tuple[float, list[tuple[int, Spoken]]]]] = [
    (1.0, [(99, [("a red fox in the snow", 1.0)])])
]
UNWANTED: Final[list[tuple[int, Spoken]]] = [(99, [("blurry", 1.0)])]


class Case(NamedTuple):
    """What is drawn: what is asked of the engine, and how the prompt is to be read."""

    name: str
    changes: dict[str, Any]
    parts: list[tuple[float, list[tuple[int, Spoken]]]] = USUAL
    negative: list[tuple[int, Spoken]] = UNWANTED


def cases(ours: Engine, steps: int, samplers: tuple[str, ...], comfyui: bool) -> list[Case]:
    """All that is compared."""
    image = {"init_picture": ours.picture, "denoising_strength": 0.6}
    found = [Case(f"{name}, text", {"sampler": name, "schedule": "Automatic"}) for name in samplers]
    found += [
        Case(f"{name}, image", {"sampler": name, "schedule": "Automatic", **image})
        for name in samplers
    ]
    if not comfyui:
        many = {"sampler": "Restart", "schedule": "Automatic", "steps": 20}
        found.append(Case("Restart of 20 steps", many))
        found.append(Case("Restart of 20 steps, image", {**many, **image, "denoising_strength": 1}))
    for schedule in ("Karras", "Exponential"):
        found.append(Case(f"Euler {schedule}", {"schedule": schedule}))

    def text(name: str, prompt: str, spoken: Spoken, **more: Any) -> Case:
        return Case(name, {"prompt": prompt, **more}, [(1.0, [(99, spoken)])])

    found += [
        text("long prompt", WORDS, [(WORDS, 1.0)]),
        text(
            "weights",
            "a (red:1.4) fox (in the (snow))",
            [("a ", 1), ("red", 1.4), (" fox ", 1), ("in the ", 1.1), ("snow", 1.1 * 1.1)],
        ),
        text("long prompt with weights", f"(old:1.3) {WORDS}", [("old", 1.3), (f" {WORDS}", 1.0)]),
        text("clip skip 2", "a red fox in the snow", [("a red fox in the snow", 1)], clip_skip=2),
        Case("no negative prompt", {"negative_prompt": ""}, negative=[(99, [])]),
        Case("guidance 1", {"guidance_scale": 1.0}),
        Case("LoRA", {"loras": [{"name": "lora", "weight": 0.8}]}),
        Case("ControlNet", {"controls": [{"name": "net", "picture": ours.picture, "scale": 0.7}]}),
    ]
    if comfyui:
        return found
    return [
        *found,
        text("BREAK", "a fox BREAK snow", [("a fox", 1), ("BREAK", -1), ("snow", 1)]),
        text("BREAK at the end", "a fox BREAK", [("a fox", 1), ("BREAK", -1)]),
        text("de-emphasis", "a [red] fox", [("a ", 1), ("red", 1 / 1.1), (" fox", 1)]),
        Case(
            "AND",
            {"prompt": "a red fox AND deep snow :0.6"},
            [(1.0, [(99, [("a red fox", 1)])]), (0.6, [(99, [("deep snow", 1)])])],
        ),
        Case(
            "AND of unequal length",
            {"prompt": f"a red fox AND {WORDS} :0.6"},
            [(1.0, [(99, [("a red fox", 1)])]), (0.6, [(99, [(WORDS, 1)])])],
        ),
        Case(
            "prompt schedule",
            {"prompt": "a [fox:(cat:1.3):2] in snow"},
            [
                (
                    1.0,
                    [
                        (2, [("a fox in snow", 1)]),
                        (99, [("a ", 1), ("cat", 1.3), (" in snow", 1)]),
                    ],
                )
            ],
        ),
        Case(
            "prompt schedule of unequal length",
            {"prompt": f"[{WORDS}:a fox:2]"},
            [(1.0, [(2, [(WORDS, 1)]), (99, [("a fox", 1)])])],
        ),
        Case(
            "prompt schedule, Heun",
            {"prompt": "a [fox:cat:0.5] in snow", "sampler": "Heun"},
            [
                (
                    1.0,
                    [(steps, [("a fox in snow", 1)]), (99, [("a cat in snow", 1)])],
                )
            ],
        ),
        Case(
            "negative prompt that ends",
            {"negative_prompt": "[blurry::2]"},
            negative=[(2, [("blurry", 1)]), (99, [])],
        ),
    ]


def cases_of_parts(ours: Engine, size: str) -> list[Case]:
    """All that is compared of a model made of parts; its texts are given."""
    image = {"init_picture": ours.picture, "denoising_strength": 0.6}
    family = FAMILIES[exactness_parts.SIZES[size].family]
    samplers = [n for n, row in SAMPLERS.items() if row.flow and n not in COMFYUI_LACKS]
    usual = {"schedule": family.schedule}
    found = [Case(f"{name}, text", {"sampler": name, **usual}) for name in samplers]
    found += [Case(f"{name}, image", {"sampler": name, **usual, **image}) for name in samplers]
    found += [
        Case(f"Euler {name}", {"schedule": name})
        for name, theirs in SCHEDULES.items()
        if theirs and name != family.schedule
    ]
    return [
        *found,
        Case("guidance 1", {"guidance_scale": 1.0, **usual}),
        Case("guidance 3", {"guidance_scale": 3.0, **usual}),
        Case("twice as wide", {"width": 2 * ours.image.width, **usual}),
        Case("LoRA", {"loras": [{"name": "lora", "weight": 0.8}], **usual}),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.exactness")
    parser.add_argument("against", choices=("a1111", "comfyui"))
    parser.add_argument("--k-diffusion", type=Path, help="a checkout")
    parser.add_argument("--unipc", type=Path, help="the published uni_pc.py, NoiseScheduleVP in it")
    parser.add_argument("--comfyui", type=Path, help="a checkout")
    parser.add_argument("--size", choices=(*SIZES, *exactness_parts.SIZES), default="tiny")
    parser.add_argument("--side", type=int, default=64, help="of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", default="", help="a regular expression")
    parser.add_argument("--keep", type=Path, help="a folder for the models, to measure again")
    arguments = parser.parse_args()
    if arguments.against == "a1111" and arguments.size in exactness_parts.SIZES:
        parser.error("models made of parts are compared with ComfyUI's pictures")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        if not (folder / "models").is_dir():
            make = make_parts if arguments.size in exactness_parts.SIZES else make_models
            make(arguments.size, folder)
        Console(width=110).print(measured(arguments, folder))


def measured(arguments: argparse.Namespace, folder: Path) -> Table:
    comfyui = arguments.against == "comfyui"
    size, steps, parts = arguments.size, arguments.steps, arguments.size in exactness_parts.SIZES
    if parts:
        engine = parts_engine(size, folder, arguments.side, steps)
        every = cases_of_parts(engine, size)
    else:
        engine = Engine(folder, arguments.side, steps)
        samplers = tuple(SAMPLERS) if comfyui else WEBUI_SAMPLERS
        if comfyui:
            samplers = tuple(name for name in samplers if name not in COMFYUI_LACKS)
        every = cases(engine, steps, samplers, comfyui)
    chosen = [case for case in every if re.search(arguments.only, case.name)]
    convention = {"conventions": arguments.against}
    ours = {}
    for case in chosen:
        ours[case.name] = engine.draw(engine.request(case.changes | convention))[0]
    batch_apart = 0
    if not comfyui and not arguments.only:
        four = engine.draw(engine.request({"count": 4, "sampler": "Euler a"}))
        for i, picture in enumerate(four):
            (single,) = engine.draw(engine.request({"seed": SEED + i, "sampler": "Euler a"}))
            batch_apart = max(batch_apart, int(np.abs(single.astype(int) - picture).max()))
    image, request = engine.image, engine.request
    engine.server._parts.free()
    del engine.server
    gc.collect()
    draw: Callable[[Case], np.ndarray[Any, Any]]
    if comfyui:
        checkout = arguments.comfyui
        other = ComfyUIParts(checkout, folder, size) if parts else ComfyUI(checkout, folder)
        draw = functools.partial(_comfyui, other, request, image)
    else:
        webui = Webui(folder / "models" / "model", arguments.k_diffusion, arguments.unipc)
        draw = functools.partial(as_a1111, webui, request, image, folder)
    table = Table("what is drawn", "mean of 255", "largest", "")
    for case in chosen:
        theirs = draw(case).astype(int)
        apart = np.abs(theirs - ours[case.name])
        alive = len(np.unique(theirs)) > 60
        same = [name for name, picture in ours.items() if np.array_equal(picture, ours[case.name])]
        verdict = "" if apart.mean() <= TARGET[arguments.against] else "ABOVE"
        table.add_row(
            case.name,
            f"{apart.mean():.3f}",
            str(apart.max()),
            verdict + ("" if alive else " (a plain picture)") + _as(same[0], case.name),
        )
        print(f"{case.name}: {apart.mean():.3f} {apart.max()} {verdict}", flush=True)
    if not comfyui and not arguments.only:
        table.add_row("count 4, each as alone", f"{batch_apart}", f"{batch_apart}", "")
    return table


COMFYUI_LACKS: Final = ("Restart", "DDIM CFG++", "PLMS", "TCD")


def _as(first: str, name: str) -> str:
    """What else has the same picture: there what sets the two apart is not seen."""
    return "" if first == name else f" (as {first})"


def as_a1111(
    webui: Webui,
    request: Callable[[dict[str, Any]], GenerationRequest],
    image: Image.Image,
    folder: Path,
    case: Case,
) -> np.ndarray[Any, Any]:
    """The picture of a case in A1111's way."""
    asked = request(case.changes)
    assert asked.sampler in WEBUI_SAMPLERS
    assert (SAMPLERS[asked.sampler].order > 1) == (asked.sampler in SECOND)
    told = Told(
        parts=case.parts,
        negative=case.negative,
        sampler=asked.sampler,
        schedule=schedule_of(asked),
        steps=asked.steps,
        guidance=asked.guidance_scale,
        seed=asked.seed,
        width=asked.width,
        height=asked.height,
        clip_skip=asked.clip_skip,
        picture=image if asked.init_picture else None,
        strength=asked.denoising_strength,
        lora=(folder / "models" / "lora.safetensors", asked.loras[0].weight)
        if asked.loras
        else None,
        control=(folder / "models" / "net", image, asked.controls[0].scale)
        if asked.controls
        else None,
    )
    return webui.draw(told)


def _comfyui(
    other: Any,
    request: Callable[[dict[str, Any]], GenerationRequest],
    image: Image.Image,
    case: Case,
) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = other.draw(request(case.changes), image)
    return found


if __name__ == "__main__":
    main()
