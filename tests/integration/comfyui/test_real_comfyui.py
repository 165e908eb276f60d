"""Beside a ComfyUI that runs, where one is named: DARKROOM_COMFYUI is its address (it draws on the
processor, in float32: `--cpu --force-fp32`) and DARKROOM_COMFYUI_MODELS its folder of models: a
checkpoint `single` of Stable Diffusion 1's make, one for inpainting called `inpaint`, a ControlNet
`net`, a LoRA `lora`, an upscaler `up` and an embedding `inky`, as far as a case needs them. Of a
checkpoint or a ControlNet that is less deep than the published ones, which ComfyUI loads, the own
engine takes the folder of that name in `diffusers` beside them.
"""

import hashlib
import io
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image, ImageDraw

from generation import preparing
from generation.catalog import Catalog
from generation.engines.comfyui import ComfyUIEngine
from generation.engines.helper import Helper
from generation.engines.process import ProcessEngine
from generation.job import Job, JobState, Origin
from generation.messages import (
    ControlSeen,
    EngineEvent,
    EngineWork,
    Enlarge,
    Failed,
    Finished,
    Generate,
    Picture,
    Preview,
    Progress,
    RuntimeSettings,
)
from generation.models import ModelFile
from generation.request import GenerationRequest
from generation.request_parts import ControlUse, Enlargement, Extension, LoraUse

ADDRESS = os.environ.get("DARKROOM_COMFYUI", "")
MODELS = os.environ.get("DARKROOM_COMFYUI_MODELS", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not (ADDRESS and MODELS), reason="no ComfyUI is named"),
]


def kept(picture: Image.Image) -> str:
    """Its hash, by which it is found in PICTURES."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    PICTURES[sha256] = file.getvalue()
    return sha256


def colours() -> Image.Image:
    """That run into each other."""
    y, x = np.mgrid[0:64, 0:96] * 2
    shown = np.stack([x, y, 128 + 90 * np.sin(x * y / 900)], axis=-1).astype(np.uint8)
    return Image.fromarray(shown)


def disc() -> Image.Image:
    """A mask whose edge lies across latents."""
    mask = Image.new("L", (96, 64))
    ImageDraw.Draw(mask).ellipse((21, 11, 70, 50), fill=255)
    return mask


PICTURES: dict[str, bytes] = {}
START, MASK = kept(colours()), kept(disc())
GREYS = kept(Image.linear_gradient("L").resize((96, 64)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProcessEngine]:
    settings = RuntimeSettings(device="cpu", precision="float32", batch_size=1, cpu_threads=1)
    found = ProcessEngine(settings, cache=tmp_path_factory.mktemp("own"))
    yield found
    await found.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    own: ProcessEngine, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ComfyUIEngine]:
    found = ComfyUIEngine(
        ADDRESS,
        cache=tmp_path_factory.mktemp("theirs"),
        preview_every=0.01,
        helper=Helper(own, RuntimeSettings()),
    )
    yield found
    await found.stop()


async def work_of(**changes: Any) -> EngineWork:
    catalog = Catalog([Path(MODELS)])
    await catalog.scan()
    usual: dict[str, Any] = {
        "prompt": "a (red:1.3) fox in the snow",
        "negative_prompt": "blurry",
        "model": "single",
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
    job = Job(
        id=1,
        state=JobState.QUEUED,
        request=request,
        origin=Origin(user_id=0, user_name=""),
        created_at=datetime.now(UTC),
    )
    work = preparing.found_for(job, catalog)
    pictures = {sha256: PICTURES[sha256] for sha256 in work.pictures}
    if isinstance(work, Generate):
        # random weights don't tell by what they answer
        checkpoint = msgspec.structs.replace(work.checkpoint, v_prediction=False)
        variant = "inpainting" if checkpoint.name == "inpaint" else ""
        checkpoint = msgspec.structs.replace(checkpoint, variant=variant)
        work = msgspec.structs.replace(work, checkpoint=checkpoint)
    whole: EngineWork = msgspec.structs.replace(work, pictures=pictures)
    return whole


def in_folders(work: EngineWork) -> EngineWork:
    """The same, drawn with diffusers' folders where there are such."""

    def of(file: ModelFile) -> ModelFile:
        folder = Path(MODELS).parent / "diffusers" / file.name
        return msgspec.structs.replace(file, path=folder) if folder.is_dir() else file

    if not isinstance(work, Generate):
        return work
    nets = tuple(map(of, work.controlnets))
    return msgspec.structs.replace(work, checkpoint=of(work.checkpoint), controlnets=nets)


async def events_of(engine: Any, work: EngineWork) -> list[EngineEvent]:
    return [event async for event in engine.generate(work)]


def pixels(events: list[EngineEvent]) -> list[np.ndarray[Any, Any]]:
    assert isinstance(events[-1], Finished), events[-1]
    drawn = [event for event in events if isinstance(event, Picture)]
    return [np.asarray(Image.open(io.BytesIO(one.file)).convert("RGB"), int) for one in drawn]


MASKED: dict[str, Any] = {"init_picture": START, "mask": MASK, "denoising_strength": 0.7}
FLOW: dict[str, Any] = {"sampler": "Euler", "schedule": "Simple"}
CASES: dict[str, dict[str, Any]] = {
    "text, two pictures": {"count": 2},
    "image to image": {"init_picture": START, "denoising_strength": 0.6},
    "Uniform, clip skip": {"sampler": "Euler", "schedule": "Uniform", "clip_skip": 2},
    "LoRA": {"loras": (LoraUse("lora", 0.8),)},
    "ControlNet": {"controls": (ControlUse("net", START, 0.7),)},
    "ControlNet at times": {"controls": (ControlUse("net", START, 0.7, start=0.25, end=0.75),)},
    "ControlNet at times, from a picture": {
        "controls": (ControlUse("net", START, 0.7, end=0.5),),
        "init_picture": START,
        "denoising_strength": 0.6,
        "sampler": "Euler",
        "schedule": "Uniform",
    },
    "preprocessors": {
        "controls": (
            ControlUse("net", START, 0.5, preprocessor="canny"),
            ControlUse("net", START, 0.5, preprocessor="invert", fit="fill"),
        ),
    },
    "mask": MASKED,
    "mask, Euler a": {**MASKED, "sampler": "Euler a"},
    "mask, DDIM": {**MASKED, "sampler": "DDIM", "schedule": "Uniform"},
    "mask, filled, not masked": {**MASKED, "masked_content": "fill", "mask_mode": "not masked"},
    "mask, nothing in it": {**MASKED, "masked_content": "latent nothing"},
    "mask, only masked": {**MASKED, "inpaint_area": "only masked", "mask_padding": 8},
    "mask, greys": {**MASKED, "mask": GREYS, "differential": "on", "mask_blur": 0},
    "larger canvas": {
        "init_picture": START,
        "extension": Extension(64, 64, left=32, overlap=8),
        "masked_content": "fill",
        "denoising_strength": 1.0,
    },
    "mask, a model for it": {**MASKED, "model": "inpaint"},
    "mask, a model for it, all anew": {**MASKED, "model": "inpaint", "denoising_strength": 1.0},
    "a model for inpainting without a mask": {"model": "inpaint"},
    "hires, latents": {"hires": "1.5", "steps": 2, "hires_denoising": 0.6},
    "hires, latents, cut": {
        "hires": "128x128",
        "steps": 2,
        "hires_upscaler": "Latent (bicubic)",
        "hires_steps": 1,
        "hires_prompt": "a hare",
        "hires_sampler": "Euler",
    },
    "hires, Lanczos": {"hires": "1.5", "steps": 2, "hires_upscaler": "Lanczos"},
    "hires, upscaler, ControlNet": {
        "hires": "1.5",
        "steps": 2,
        "hires_upscaler": "up",
        "hires_denoising": 0.4,
        "controls": (ControlUse("net", START, 0.7),),
    },
    "upscaler": {"enlargement": Enlargement(START, "up", 384, 256, 96, 64)},
    "upscaler, second pass": {
        "enlargement": Enlargement(START, "up", 144, 96, 96, 64, denoising_strength=0.4),
        "steps": 2,
    },
    "Lanczos": {"enlargement": Enlargement(START, "Lanczos", 192, 128, 96, 64)},
    "Flux of parts": {**FLOW, "model": "flux1-tiny", "guidance_scale": 3.0},
    "embedding": {"prompt": "a fox, (inky:1.2), snow", "negative_prompt": "inky"},
}
BEYOND: dict[str, int] = {}
"""Cases that are known to differ by more than 1 of 255, and by how much at most."""


@pytest.mark.parametrize("case", CASES)
async def test_it_draws_what_the_own_engine_draws_in_its_way(
    engine: ComfyUIEngine, own: ProcessEngine, case: str
) -> None:
    work = await work_of(**CASES[case])
    theirs, ours = await events_of(engine, work), await events_of(own, in_folders(work))
    for one, other in zip(pixels(theirs), pixels(ours), strict=True):
        difference = np.abs(one - other)
        sys.stdout.write(f"{case}: mean {difference.mean():.4f}, largest {difference.max()}\n")
        assert one.std() > 5, "a picture that shows something"
        assert difference.max() <= BEYOND.get(case, 1)
    seen = [
        [one.file for one in events if isinstance(one, ControlSeen)] for events in (theirs, ours)
    ]
    for one_png, other_png in zip(*seen, strict=True):
        shown = [Image.open(io.BytesIO(png)).convert("RGB") for png in (one_png, other_png)]
        assert shown[0].tobytes() == shown[1].tobytes()
    if isinstance(work, Enlarge):
        return
    steps = [e for e in theirs if isinstance(e, Progress) and e.stage in ("denoising", "hires")]
    assert steps[-1].step == steps[-1].steps
    assert any(isinstance(event, Preview) for event in theirs)


async def test_it_draws_the_same_again(engine: ComfyUIEngine) -> None:
    work = await work_of()
    first, second = [await events_of(engine, work) for _ in range(2)]
    assert [e.pixels_sha256 for e in first if isinstance(e, Picture)] == [
        e.pixels_sha256 for e in second if isinstance(e, Picture)
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
