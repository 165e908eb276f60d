"""Beside a webui that runs, where one is named: DARKROOM_WEBUI is its address (it draws on the
processor, in float32: `--api --use-cpu all --no-half --skip-torch-cuda-test`) and
DARKROOM_WEBUI_MODELS its folder of models, with one checkpoint of Stable Diffusion 1's make, and a
LoRA if there is one. Sides are multiples of 64: between others A1111 enlarges what its network has
halved otherwise than diffusers does.
"""

import hashlib
import io
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageDraw

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.engines.webui import WebuiEngine
from generation.messages import (
    EngineEvent,
    Failed,
    Finished,
    Generate,
    Picture,
    Progress,
    RuntimeSettings,
)
from generation.models import ModelKind
from generation.request import GenerationRequest
from generation.request_parts import LoraUse

ADDRESS = os.environ.get("DARKROOM_WEBUI", "")
MODELS = os.environ.get("DARKROOM_WEBUI_MODELS", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(not (ADDRESS and MODELS), reason="no webui is named"),
]


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def start_picture() -> bytes:
    """Colours that run into each other, as a PNG."""
    y, x = np.mgrid[0:64, 0:128] * 2
    shown = np.stack([x, y, 128 + 90 * np.sin(x * y / 900)], axis=-1).astype(np.uint8)
    return png(Image.fromarray(shown))


def mask_picture() -> bytes:
    """An ellipse at one side."""
    mask = Image.new("L", (128, 64))
    ImageDraw.Draw(mask).ellipse((60, 10, 110, 50), fill=255)
    return png(mask)


PICTURES = {hashlib.sha256(each).hexdigest(): each for each in (start_picture(), mask_picture())}
START, MASK = PICTURES


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[WebuiEngine]:
    found = WebuiEngine(ADDRESS, cache=tmp_path, preview_every=0.01)
    yield found
    await found.stop()


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[ProcessEngine]:
    settings = RuntimeSettings(device="cpu", precision="float32", batch_size=1, cpu_threads=1)
    found = ProcessEngine(settings, cache=tmp_path)
    yield found
    await found.stop()


async def work_of(**changes: Any) -> Generate:
    catalog = Catalog([Path(MODELS)])
    await catalog.scan()
    (checkpoint, *_) = catalog.checkpoints
    # random weights don't tell by what they answer
    checkpoint = msgspec.structs.replace(checkpoint, v_prediction=bool(checkpoint.v_prediction))
    usual: dict[str, Any] = {
        "prompt": "a (red:1.3) fox in the snow",
        "negative_prompt": "blurry",
        "model": checkpoint.name,
        "width": 128,
        "height": 64,
        "steps": 4,
        "guidance_scale": 5.0,
        "sampler": "DPM++ 2M",
        "schedule": "Karras",
        "seed": 7,
    }
    request = msgspec.convert(msgspec.to_builtins(usual | changes), GenerationRequest)
    loras = tuple(
        catalog.get(ModelKind.LORA, use.name).made_for(checkpoint) for use in request.loras
    )
    pictures = {sha256: PICTURES[sha256] for sha256 in request.uploads}
    return Generate("1", request, checkpoint, loras, pictures=pictures)


async def events_of(engine: Any, work: Generate) -> list[EngineEvent]:
    return [event async for event in engine.generate(work)]


def pixels(events: list[EngineEvent]) -> list[np.ndarray[Any, Any]]:
    assert isinstance(events[-1], Finished), events[-1]
    drawn = [event for event in events if isinstance(event, Picture)]
    return [np.asarray(Image.open(io.BytesIO(one.file)).convert("RGB"), int) for one in drawn]


MASKED = {"init_picture": START, "mask": MASK, "denoising_strength": 0.8}
CASES: dict[str, dict[str, Any]] = {
    "text, two pictures": {"count": 2},
    "a variation": {"variation_seed": 3, "variation_strength": 0.4},
    "AND, a schedule of words, BREAK": {"prompt": "a [fox:hare:0.5] AND snow:0.6 BREAK night"},
    "image to image": {"init_picture": START, "denoising_strength": 0.6},
    "Euler a, clip skip": {"sampler": "Euler a", "schedule": "Uniform", "clip_skip": 2},
    "DPM++ SDE": {"sampler": "DPM++ SDE"},
    "DDIM": {"sampler": "DDIM", "schedule": "Uniform"},
    "LoRA": {"loras": (LoraUse("lora", 0.8, 0.5),)},
    "hires, latent": {"hires": "2", "hires_upscaler": "Latent", "hires_denoising": 0.7},
    "hires, Lanczos": {"hires": "2", "hires_upscaler": "Lanczos", "hires_denoising": 0.5},
    "mask": MASKED,
    "mask, latent noise, not masked": MASKED
    | {"masked_content": "latent noise", "mask_mode": "not masked"},
    "mask, fill": MASKED | {"masked_content": "fill", "mask_blur": 2},
    "only masked": MASKED | {"inpaint_area": "only masked", "mask_padding": 8},
}

TWICE = ("text, two pictures", "mask")
"""Cases that are drawn again, as a replay draws them."""


@pytest.mark.parametrize("case", CASES)
async def test_it_draws_what_the_own_engine_draws(
    engine: WebuiEngine, own: ProcessEngine, case: str
) -> None:
    work = await work_of(**CASES[case])
    theirs, ours = await events_of(engine, work), await events_of(own, work)
    for one, other in zip(pixels(theirs), pixels(ours), strict=True):
        difference = np.abs(one - other)
        sys.stdout.write(f"{case}: mean {difference.mean():.4f}, largest {difference.max()}\n")
        assert one.std() > 5, "a picture that shows something"
        # A1111 rounds down; what is made smaller behind that may differ by one more
        assert difference.max() <= (2 if case == "only masked" else 1)
    assert any(isinstance(event, Progress) and event.step for event in theirs)
    if case not in TWICE:
        return
    again = await events_of(engine, work)
    assert [e.pixels_sha256 for e in again if isinstance(e, Picture)] == [
        e.pixels_sha256 for e in theirs if isinstance(e, Picture)
    ]


async def test_it_is_cancelled_and_draws_on(engine: WebuiEngine) -> None:
    found: list[EngineEvent] = []
    async for event in engine.generate(await work_of(steps=40, seed=8)):
        found.append(event)
        if isinstance(event, Progress) and event.stage == "denoising" and event.step > 1:
            await engine.cancel("1")
    assert isinstance(found[-1], Failed)
    assert found[-1].code == "cancelled"
    assert isinstance((await events_of(engine, await work_of(seed=9)))[-1], Finished)
