"""Variations, tiles and other VAEs, drawn by the real worker process."""

import hashlib
import io
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.messages import RuntimeSettings
from tests.fixtures import models
from tests.integration.runtime.bench import SHIPPED, TOLERANCE, Bench, Made, difference, upload

SETTINGS = RuntimeSettings(preview_every=0, cpu_threads=1)

SQUARE = {"width": 128, "height": 128, "steps": 6}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    root = tmp_path_factory.mktemp("models")
    tiny = models.tiny_stable_diffusion(root / "diffusers" / "tiny")
    models.tiny_controlnet(root / "controlnet" / "edges", tiny)
    models.tiny_vae(root / "vae" / "other")
    models.tiny_vae(root / "vae" / "deeper", levels=(8, 8, 8, 16))
    catalog = Catalog([root, SHIPPED])
    await catalog.scan()
    assert catalog.problems == ()
    engine = ProcessEngine(SETTINGS, cache=root / "cache")
    yield Bench(engine, catalog, root)
    await engine.stop()


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of the channels of all pixels."""
    a, b = (np.asarray(image, dtype=np.float32) for image in (one, other))
    return float(np.abs(a - b).mean())


def gradient(width: int, height: int) -> tuple[str, dict[str, bytes]]:
    """An upload that goes evenly from dark to light, left to right."""
    row = np.linspace(60, 200, width).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.tile(row[None, :, None], (height, 1, 3))).save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return sha256, {sha256: file.getvalue()}


@pytest.mark.slow
async def test_a_variation_lies_between_its_parent_and_the_second_seed(bench: Bench) -> None:
    parent, second = [(await bench.make("demo", **SQUARE, seed=seed)) for seed in (7, 100)]
    found = [
        await bench.make("demo", **SQUARE, seed=7, variation_seed=100, variation_strength=strength)
        for strength in (0.0, 0.1, 0.5, 1.0)
    ]
    assert found[0].pixels == parent.pixels
    assert found[3].pixels == second.pixels
    distances = [distance(made.image(), parent.image()) for made in found]
    assert distances[0] == 0
    assert all(nearer < farther for nearer, farther in pairwise(distances)), distances


@pytest.mark.slow
async def test_variations_of_one_seed_count_up_the_second(bench: Bench) -> None:
    several = await bench.make(seed=7, variation_seed=20, variation_strength=0.4, count=2)
    assert [(p.seed, p.variation_seed) for p in several.pictures] == [(7, 20), (7, 21)]
    last = await bench.make(seed=7, variation_seed=21, variation_strength=0.4)
    assert difference(several.image(1), last.image()) <= 2
    assert difference(several.image(0), last.image()) > 2
    plain = await bench.make(seed=7)
    assert plain.pictures[0].variation_seed is None


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE"])
async def test_variations_are_the_same_every_time(bench: Bench, sampler: str) -> None:
    asked: dict[str, Any] = {"sampler": sampler, "variation_seed": 3, "variation_strength": 0.3}
    first, again = [await bench.make(**asked) for _ in range(2)]
    assert first.pixels == again.pixels
    assert first.pixels != (await bench.make(sampler=sampler)).pixels


@pytest.mark.slow
async def test_a_start_picture_can_be_varied(bench: Bench) -> None:
    sha256, pictures = upload("green")
    asked: dict[str, Any] = {"init_picture": sha256, "pictures": pictures, "seed": 7}
    plain, second = [await bench.make(**asked | {"seed": seed}) for seed in (7, 9)]
    whole = await bench.make(**asked, variation_seed=9, variation_strength=1.0)
    assert whole.pixels == second.pixels != plain.pixels


@pytest.mark.slow
async def test_another_vae_draws_differently_and_leaves_no_trace(bench: Bench) -> None:
    before = await bench.make()
    swapped = await bench.make(vae="other")
    assert swapped.failed is None, swapped.failed
    assert swapped.pixels != before.pixels
    assert swapped.finished is not None
    assert swapped.finished.hashes.keys() == {"checkpoint:tiny", "vae:other"}
    assert (await bench.make()).pixels == before.pixels
    assert (await bench.make(vae="other")).pixels == swapped.pixels
    # a start picture goes through it both ways
    sha256, pictures = upload("green")
    asked: dict[str, Any] = {"init_picture": sha256, "pictures": pictures}
    kept = await bench.make(**asked, denoising_strength=0)
    both = await bench.make(**asked, denoising_strength=0, vae="other")
    assert both.pixels != kept.pixels


@pytest.mark.slow
async def test_a_vae_of_another_depth_is_named(bench: Bench) -> None:
    before = await bench.make()
    made = await bench.make(vae="deeper")
    assert made.failed is not None
    assert made.failed.code == "vae_mismatch"
    assert made.failed.params == {"name": "deeper", "model": "tiny"}
    assert (await bench.make()).pixels == before.pixels


def steepest(made: Made) -> float:
    """The largest step between two columns, each the mean of its pixels: a seam would be one."""
    columns = np.asarray(made.image(), dtype=np.float32).mean((0, 2))
    return float(np.abs(np.diff(columns)).max())


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.0, 0.2])
async def test_tiles_show_no_seam(bench: Bench, strength: float) -> None:
    """Tiles that were drawn one by one and put side by side differ by 70 of 255 at their border."""
    sha256, pictures = gradient(264, 192)
    asked: dict[str, Any] = {
        "width": 264, "height": 192, "steps": 10, "denoising_strength": strength,
        "prompt": "a red car", "init_picture": sha256, "pictures": pictures,
    }  # fmt: skip
    whole = await bench.make("demo", **asked)
    tiled = await bench.make("demo", **asked, tile=128)
    assert tiled.failed is None, tiled.failed
    assert tiled.image().size == (264, 192)
    assert tiled.pixels != whole.pixels
    assert steepest(tiled) <= max(6, 2 * steepest(whole))


def tiled_request(**changes: Any) -> dict[str, Any]:
    sha256, pictures = gradient(136, 96)
    size = {"width": 136, "height": 96, "tile": 64, "steps": 4}
    return {"init_picture": sha256, "pictures": pictures, **size, **changes}


@pytest.mark.slow
async def test_the_seed_decides_all_of_a_tiled_picture(bench: Bench) -> None:
    first, again = [await bench.make(**tiled_request(count=2)) for _ in range(2)]
    assert first.failed is None, first.failed
    assert first.pixels == again.pixels
    assert first.pixels[0] != first.pixels[1]
    alone = await bench.make(**tiled_request(seed=8))
    assert difference(first.image(1), alone.image()) <= TOLERANCE
    ancestral = [await bench.make(**tiled_request(sampler="Euler a")) for _ in range(2)]
    assert ancestral[0].pixels == ancestral[1].pixels


@pytest.mark.slow
async def test_progress_counts_the_steps_of_all_tiles(bench: Bench) -> None:
    made = await bench.make(**tiled_request(count=2, denoising_strength=1.0))
    tiles = 3 * 2
    assert {progress.steps for progress in made.progress} == {4 * 2 * tiles}
    steps = [progress.step for progress in made.progress]
    assert steps == sorted(steps)
    assert steps[-1] == 4 * 2 * tiles
    # between the steps of the picture too
    assert len(set(steps)) > 4 * 2


@pytest.mark.slow
async def test_cancelling_stops_between_tiles(bench: Bench) -> None:
    made = await bench.make(**tiled_request(steps=100, denoising_strength=1.0), cancel_at=2)
    assert made.failed is not None
    assert made.failed.code == "cancelled"
    assert made.progress[-1].step < 100
    assert (await bench.make(**tiled_request())).failed is None


async def test_a_tile_that_holds_the_whole_picture_changes_nothing(bench: Bench) -> None:
    whole, one = [await bench.make(**tiled_request(tile=tile)) for tile in (0, 136)]
    assert whole.pixels == one.pixels


@pytest.mark.slow
@pytest.mark.parametrize("nets", [1, 2])
async def test_each_tile_follows_its_part_of_the_control_picture(bench: Bench, nets: int) -> None:
    found = []
    for colours in (("black", "black"), ("black", "white")):
        control = Image.new("RGB", (136, 96), colours[0])
        control.paste(colours[1], (72, 0, 136, 96))
        file = io.BytesIO()
        control.save(file, "PNG")
        sha256 = hashlib.sha256(file.getvalue()).hexdigest()
        asked = tiled_request(controls=[{"name": "edges", "picture": sha256}] * nets)
        asked["pictures"] = asked["pictures"] | {sha256: file.getvalue()}
        made = await bench.make(**asked, guidance_scale=1)
        assert made.failed is None, made.failed
        found.append(made.image())
    # the first tile's own part of the picture is the same in both
    left, right = (0, 0, 24, 96), (112, 0, 136, 96)
    near = distance(found[0].crop(left), found[1].crop(left))
    assert near < distance(found[0].crop(right), found[1].crop(right)) / 2
