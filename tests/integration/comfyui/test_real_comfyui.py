"""Beside a ComfyUI that runs, where one is named: DARKROOM_COMFYUI is its address (it draws on the
processor, in float32: `--cpu --force-fp32`) and DARKROOM_COMFYUI_MODELS its folder of models, with
one checkpoint of Stable Diffusion 1's make, and a LoRA if there is one.
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
from PIL import Image

from generation.catalog import Catalog
from generation.engines.comfyui import ComfyUIEngine
from generation.engines.process import ProcessEngine
from generation.messages import (
    EngineEvent,
    Failed,
    Finished,
    Generate,
    Picture,
    Preview,
    Progress,
    RuntimeSettings,
)
from generation.models import ModelKind
from generation.request import GenerationRequest
from generation.request_parts import ControlUse, LoraUse

ADDRESS = os.environ.get("DARKROOM_COMFYUI", "")
MODELS = os.environ.get("DARKROOM_COMFYUI_MODELS", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not (ADDRESS and MODELS), reason="no ComfyUI is named"),
]


def start_picture() -> bytes:
    """Colours that run into each other, as a PNG."""
    y, x = np.mgrid[0:64, 0:96] * 2
    shown = np.stack([x, y, 128 + 90 * np.sin(x * y / 900)], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    return file.getvalue()


START = start_picture()
START_HASH = hashlib.sha256(START).hexdigest()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[ComfyUIEngine]:
    found = ComfyUIEngine(ADDRESS, cache=tmp_path, preview_every=0.01)
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
        "width": 96,
        "height": 64,
        "steps": 4,
        "guidance_scale": 5.0,
        "sampler": "DPM++ 2M",
        "schedule": "Karras",
        "conventions": "comfyui",
        "seed": 7,
    }
    request = msgspec.convert(msgspec.to_builtins(usual | changes), GenerationRequest)
    loras = tuple(
        catalog.get(ModelKind.LORA, use.name).made_for(checkpoint) for use in request.loras
    )
    nets = tuple(
        catalog.get(ModelKind.CONTROLNET, use.name).made_for(checkpoint) for use in request.controls
    )
    pictures = {START_HASH: START} if request.uploads else {}
    return Generate("1", request, checkpoint, loras, nets, pictures)


async def events_of(engine: Any, work: Generate) -> list[EngineEvent]:
    return [event async for event in engine.generate(work)]


def pixels(events: list[EngineEvent]) -> list[np.ndarray[Any, Any]]:
    assert isinstance(events[-1], Finished), events[-1]
    drawn = [event for event in events if isinstance(event, Picture)]
    return [np.asarray(Image.open(io.BytesIO(one.file)).convert("RGB"), int) for one in drawn]


CASES: dict[str, dict[str, Any]] = {
    "text, two pictures": {"count": 2},
    "image to image": {"init_picture": START_HASH, "denoising_strength": 0.6},
    "Uniform, clip skip": {"sampler": "Euler", "schedule": "Uniform", "clip_skip": 2},
    "LoRA": {"loras": (LoraUse("lora", 0.8),)},
    "ControlNet": {"controls": (ControlUse("net", START_HASH, 0.7),)},
}


@pytest.mark.parametrize("case", CASES)
async def test_it_draws_what_the_own_engine_draws_in_its_way(
    engine: ComfyUIEngine, own: ProcessEngine, case: str
) -> None:
    work = await work_of(**CASES[case])
    theirs, ours = await events_of(engine, work), await events_of(own, work)
    for one, other in zip(pixels(theirs), pixels(ours), strict=True):
        difference = np.abs(one - other)
        sys.stdout.write(f"{case}: mean {difference.mean():.4f}, largest {difference.max()}\n")
        assert one.std() > 5, "a picture that shows something"
        assert difference.max() <= 1
    steps = [e.step for e in theirs if isinstance(e, Progress) and e.stage == "denoising"]
    assert steps[-1] == work.request.steps * work.request.count
    assert any(isinstance(event, Preview) for event in theirs)
    again = await events_of(engine, work)
    assert [e.pixels_sha256 for e in again if isinstance(e, Picture)] == [
        e.pixels_sha256 for e in theirs if isinstance(e, Picture)
    ]


async def test_it_is_cancelled_and_draws_on(engine: ComfyUIEngine) -> None:
    found: list[EngineEvent] = []
    async for event in engine.generate(await work_of(steps=60, seed=8)):
        found.append(event)
        if isinstance(event, Progress) and event.stage == "denoising" and event.step > 1:
            await engine.cancel("1")
    assert isinstance(found[-1], Failed)
    assert found[-1].code == "cancelled"
    assert isinstance((await events_of(engine, await work_of(seed=9)))[-1], Finished)
