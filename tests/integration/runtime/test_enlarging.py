"""Pictures enlarged by the real worker process: alone, and with a second pass of the model."""

import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from PIL import Image, ImageChops
from safetensors.torch import save_file

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.enlarging import of_upload
from generation.messages import Progress, RuntimeSettings
from generation.models import ModelKind
from generation.request_parts import Enlargement
from tests.fixtures import models
from tests.integration.runtime.bench import SHIPPED, Bench, Made, difference, upload
from tests.unit.generation.runtime.test_upscaling import tiny

SETTINGS = RuntimeSettings(preview_every=0.0, cpu_threads=1, models_kept=3)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def written(path: Path, network: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: part.contiguous() for name, part in network.state_dict().items()}, path)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    root = tmp_path_factory.mktemp("models")
    models.tiny_stable_diffusion(root / "diffusers" / "tiny")
    written(root / "upscale_models" / "noise-x4.safetensors", tiny("Compact"))
    broken = tiny("Compact")
    broken.body[2].weight.data[:] = float("nan")
    written(root / "ESRGAN" / "broken.safetensors", broken)
    catalog = Catalog([root, SHIPPED])
    await catalog.scan()
    assert catalog.problems == ()
    engine = ProcessEngine(SETTINGS, cache=root / "cache")
    yield Bench(engine, catalog, root)
    await engine.stop()


def an_enlargement(picture: str, upscaler: str, size: int = 256, **more: Any) -> dict[str, Any]:
    made = Enlargement(picture, upscaler, size, size, 64, 64, **more)
    return {name: getattr(made, name) for name in made.__struct_fields__}


async def enlarged(bench: Bench, upscaler: str, colour: str = "teal", **more: Any) -> Made:
    picture, pictures = upload(colour)
    asked = an_enlargement(picture, upscaler, **more)
    return await bench.make(enlargement=asked, pictures=pictures)


@pytest.mark.slow
async def test_an_upscaler_needs_no_model(bench: Bench) -> None:
    picture, pictures = upload("teal")
    request = of_upload(Enlargement(picture, "demo-x4", 256, 256, 64, 64))
    work = bench.work("upload", request, pictures)
    events = [event async for event in bench.engine.generate(work)]
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert stages[0] == "loading"
    assert set(stages) == {"loading", "enlarging"}
    made = await enlarged(bench, "demo-x4")
    assert made.failed is None
    [sent] = made.pictures
    assert (sent.width, sent.height) == (256, 256)
    # a plain colour stays what it is, edges included
    assert difference(made.image(), Image.new("RGB", (256, 256), "teal")) <= 3
    assert made.finished is not None
    assert set(made.finished.hashes) == {"upscaler:demo-x4"}
    assert made.finished.numerics is not None
    assert made.finished.numerics.precision == "float32"


@pytest.mark.slow
async def test_the_same_again_is_the_same_to_the_bit(bench: Bench) -> None:
    first, second = await enlarged(bench, "noise-x4"), await enlarged(bench, "noise-x4")
    other = await enlarged(bench, "noise-x4", "red")
    assert first.pixels == second.pixels != other.pixels
    lanczos = await enlarged(bench, "Lanczos")
    assert lanczos.pixels != first.pixels
    assert lanczos.finished is not None
    assert lanczos.finished.hashes == {}


@pytest.mark.slow
async def test_weights_that_are_no_numbers_are_named(bench: Bench) -> None:
    made = await enlarged(bench, "broken")
    assert made.failed is not None
    assert made.failed.code == "nan_weights"
    assert made.failed.params == {"file": "broken.safetensors", "part": "upscaler"}


async def test_a_file_cut_off_since_is_named(bench: Bench) -> None:
    path = bench.folder / "upscale_models" / "cut.safetensors"
    written(path, tiny("Compact x2"))
    await bench.catalog.scan()
    assert bench.catalog.find(ModelKind.UPSCALER, "cut") is not None
    path.write_bytes(path.read_bytes()[:-100])
    made = await enlarged(bench, "cut")
    assert made.failed is not None
    assert made.failed.code.startswith("model_")
    assert "cut.safetensors" in str(made.failed.params)
    assert str(bench.folder) not in str(made.failed.params)
    path.unlink()
    await bench.catalog.scan()


@pytest.mark.slow
async def test_it_is_cancelled_between_tiles(bench: Bench) -> None:
    picture, pictures = upload("teal", (600, 600))
    asked = an_enlargement(picture, "noise-x4", 2400)
    made = await bench.make(enlargement=asked, pictures=pictures, cancel_at=1)
    assert made.failed is not None
    assert made.failed.code == "cancelled"
    assert made.progress[-1].step < made.progress[-1].steps


@pytest.mark.slow
async def test_a_second_pass_draws_over_the_larger_picture(bench: Bench) -> None:
    """The same as a start picture of that size, drawn anew in tiles."""
    plain = await enlarged(bench, "noise-x4")
    larger = plain.image()
    second = await enlarged(bench, "noise-x4", denoising_strength=0.5, tile=64)
    assert second.failed is None
    assert {event.stage for event in second.progress} >= {"enlarging", "denoising"}
    file = io.BytesIO()
    larger.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    by_hand = await bench.make(
        init_picture=sha256,
        denoising_strength=0.5,
        width=256,
        height=256,
        tile=64,
        pictures={sha256: file.getvalue()},
    )
    assert second.pixels == by_hand.pixels
    assert second.finished is not None
    assert {name.split(":")[0] for name in second.finished.hashes} == {"checkpoint", "upscaler"}
    weak = await enlarged(bench, "noise-x4", denoising_strength=0.2, tile=64)
    far, near = (_mean(made.image(), larger) for made in (second, weak))
    assert near < far


@pytest.mark.slow
async def test_in_a_second_pass_numbers_in_the_prompt_count_on(bench: Bench) -> None:
    """Of three steps, two are drawn anew: the fourth and fifth."""

    async def second(prompt: str) -> list[str]:
        picture, pictures = upload("teal")
        asked = an_enlargement(picture, "Lanczos", 64, denoising_strength=0.7)
        made = await bench.make(enlargement=asked, pictures=pictures, prompt=prompt)
        assert made.failed is None
        return made.pixels

    after, before = await second("a cat"), await second("a dog")
    assert await second("[a dog:a cat:2]") == after
    assert await second("[a dog:a cat:9]") == before
    assert await second("[a dog:a cat:4]") not in (after, before)


def _mean(one: Image.Image, other: Image.Image) -> float:
    values = torch.frombuffer(
        bytearray(ImageChops.difference(one, other).tobytes()), dtype=torch.uint8
    )
    return float(values.float().mean())
