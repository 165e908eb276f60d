"""How exactly the engine draws the pictures of A1111 and ComfyUI: `python -m benchmarks.exactness`.

    python -m benchmarks.exactness a1111 --k-diffusion FOLDER --unipc FILE --size sd1
    python -m benchmarks.exactness comfyui --comfyui FOLDER --size sd1

The other side is fetched by whoever measures: a checkout of k-diffusion, and of ComfyUI, whose
`comfy/extra_samplers/uni_pc.py` is also the published UniPC. Weights are random and of that spread
that keeps signals alive, so a picture shows all that went into it; both sides read the same files
and draw in float32 on one thread. Printed are differences of bytes: on average, and the largest.
"""

import argparse
import asyncio
import functools
import gc
import hashlib
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.exactness_a1111 import Spoken, Told, Webui
from benchmarks.exactness_comfyui import ComfyUI
from benchmarks.exactness_models import make_models
from benchmarks.exactness_samplers import SAMPLERS as WEBUI_SAMPLERS
from benchmarks.exactness_samplers import SECOND
from generation.catalog import Catalog
from generation.messages import Configure, Failed, Generate, Picture, RuntimeSettings
from generation.models import ModelKind
from generation.request import GenerationRequest
from generation.runtime.server import Server
from generation.samplers import SAMPLERS, schedule_of

TARGET: Final = {"a1111": 0.1, "comfyui": 0.5}
SEED: Final = 7
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


def cases(ours: "Engine", steps: int, samplers: tuple[str, ...], comfyui: bool) -> list[Case]:
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


class Engine:
    """The project's own worker, in this process, with a checkpoint, a LoRA and a ControlNet."""

    def __init__(self, folder: Path, side: int, steps: int) -> None:
        self.folder = folder
        self._pictures: list[Picture] = []
        self.failed: Failed | None = None
        inbox: Any = type("Inbox", (), {"is_cancelled": lambda self, job: False})()
        outbox: Any = type("Outbox", (), {"send": lambda _, message: self._take(message)})()
        settings = RuntimeSettings(
            device="cpu", precision="float32", batch_size=1, preview_every=0, low_priority=False
        )
        self.server = Server(Configure(settings, folder / "cache"), outbox, inbox)
        self.catalog = Catalog([folder / "models"])
        asyncio.run(self.catalog.scan())
        assert not self.catalog.problems, self.catalog.problems
        y, x = np.mgrid[0:side, 0:side] * (255 / side)
        shown = np.stack([x, y, 128 + 90 * np.sin(x * y / 900)], axis=-1).astype(np.uint8)
        self.image = Image.fromarray(shown)
        file = io.BytesIO()
        self.image.save(file, "PNG")
        self.picture = hashlib.sha256(file.getvalue()).hexdigest()
        self._files = {self.picture: file.getvalue()}
        self._usual: dict[str, Any] = {
            "prompt": "a red fox in the snow",
            "negative_prompt": "blurry",
            "model": "model",
            "width": side,
            "height": side,
            "steps": steps,
            "guidance_scale": 5.0,
            "sampler": "Euler",
            "schedule": "Uniform",
            "seed": SEED,
        }

    def _take(self, message: Any) -> None:
        if isinstance(message, Picture):
            self._pictures.append(message)
        if isinstance(message, Failed):
            self.failed = message

    def request(self, changes: dict[str, Any]) -> GenerationRequest:
        return msgspec.convert(self._usual | changes, GenerationRequest)

    def draw(self, request: GenerationRequest) -> list[np.ndarray[Any, Any]]:
        self._pictures, self.failed = [], None
        get = self.catalog.get
        checkpoint = get(ModelKind.CHECKPOINT, request.model)
        work = Generate(
            "job",
            request,
            checkpoint,
            tuple(get(ModelKind.LORA, use.name).made_for(checkpoint) for use in request.loras),
            tuple(
                get(ModelKind.CONTROLNET, use.name).made_for(checkpoint) for use in request.controls
            ),
            self._files,
        )
        self.server.run(work)
        assert self.failed is None, self.failed
        return [np.asarray(Image.open(io.BytesIO(p.png)).convert("RGB")) for p in self._pictures]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.exactness")
    parser.add_argument("against", choices=("a1111", "comfyui"))
    parser.add_argument("--k-diffusion", type=Path, help="a checkout")
    parser.add_argument("--unipc", type=Path, help="the published uni_pc.py, NoiseScheduleVP in it")
    parser.add_argument("--comfyui", type=Path, help="a checkout")
    sizes = ("tiny", "tiny-xl", "sd1", "sdxl", "sdxl-shallow")
    parser.add_argument("--size", choices=sizes, default="tiny")
    parser.add_argument("--side", type=int, default=64, help="of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", default="", help="a regular expression")
    parser.add_argument("--keep", type=Path, help="a folder for the models, to measure again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        if not (folder / "models").is_dir():
            make_models(arguments.size, folder)
        Console(width=110).print(measured(arguments, folder))


def measured(arguments: argparse.Namespace, folder: Path) -> Table:
    comfyui = arguments.against == "comfyui"
    engine = Engine(folder, arguments.side, arguments.steps)
    samplers = tuple(SAMPLERS) if comfyui else WEBUI_SAMPLERS
    if comfyui:
        samplers = tuple(name for name in samplers if name not in COMFYUI_LACKS)
    chosen = [
        case
        for case in cases(engine, arguments.steps, samplers, comfyui)
        if re.search(arguments.only, case.name)
    ]
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
        other = ComfyUI(arguments.comfyui, folder)
        draw = functools.partial(_comfyui, other, request, image)
    else:
        webui = Webui(folder / "models" / "model", arguments.k_diffusion, arguments.unipc)
        draw = functools.partial(as_a1111, webui, request, image, folder)
    table = Table("what is drawn", "mean of 255", "largest", "")
    for case in chosen:
        theirs = draw(case).astype(int)
        apart = np.abs(theirs - ours[case.name])
        alive = len(np.unique(theirs)) > 60
        verdict = "" if apart.mean() <= TARGET[arguments.against] else "ABOVE"
        table.add_row(
            case.name,
            f"{apart.mean():.3f}",
            str(apart.max()),
            verdict + ("" if alive else " (a plain picture)"),
        )
        print(f"{case.name}: {apart.mean():.3f} {apart.max()} {verdict}", flush=True)
    if not comfyui and not arguments.only:
        table.add_row("count 4, each as alone", f"{batch_apart}", f"{batch_apart}", "")
    return table


COMFYUI_LACKS: Final = ("Restart", "DDIM CFG++", "PLMS", "TCD")


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
