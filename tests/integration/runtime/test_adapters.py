"""T2I-Adapters, ControlNet Unions and refiners by the real worker process."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.messages import RuntimeSettings
from generation.runtime import checkpoints
from tests.fixtures import models, sdxl
from tests.integration.runtime.bench import Bench, upload

SETTINGS = RuntimeSettings(preview_every=0, cpu_threads=1)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    root = tmp_path_factory.mktemp("models")
    models.tiny_stable_diffusion(root / "diffusers" / "tiny")
    large = sdxl.tiny_sdxl(root / "diffusers" / "large")
    sdxl.tiny_refiner(root / "diffusers" / "refiner")
    sdxl.tiny_controlnet_union(root / "controlnet" / "union", large)
    sdxl.tiny_t2i_adapter(root / "controlnet" / "lines", xl=False)
    sdxl.tiny_t2i_adapter(root / "controlnet" / "lines-xl")
    catalog = Catalog([root])
    await catalog.scan()
    assert catalog.problems == ()
    engine = ProcessEngine(SETTINGS, cache=root / "cache")
    yield Bench(engine, catalog, root)
    await engine.stop()


@pytest.mark.parametrize(("model", "name"), [("tiny", "lines"), ("large", "lines-xl")])
async def test_an_adapter_follows_its_picture_by_its_scale(
    bench: Bench, model: str, name: str
) -> None:
    # 72 pixels are no multiple of what XL's folds
    size = {"width": 72, "height": 64}
    red, pictures = upload("red")
    blue, more = upload("blue")
    plain = (await bench.make(model, **size)).pixels[0]
    made: dict[tuple[str, float], str] = {}
    for picture, scale in ((red, 1.0), (red, 0.5), (blue, 1.0), (red, 0.0)):
        controls = [{"name": name, "picture": picture, "scale": scale}]
        drawn = await bench.make(model, controls=controls, pictures=pictures | more, **size)
        assert drawn.failed is None, drawn.failed
        made[picture, scale] = drawn.pixels[0]
    assert made.pop((red, 0.0)) == plain
    assert len({plain, *made.values()}) == 4


async def test_a_union_and_a_refiner_draw_together(bench: Bench) -> None:
    red, pictures = upload("red")
    made = {}
    for kind in ("depth", "canny"):
        controls = [{"name": "union", "picture": red, "kind": kind}]
        for refiner in (None, "refiner"):
            drawn = await bench.make(
                "large", controls=controls, pictures=pictures, refiner=refiner, refiner_switch=0.5
            )
            assert drawn.failed is None, drawn.failed
            assert drawn.finished is not None
            assert ("checkpoint:refiner" in drawn.finished.hashes) is (refiner is not None)
            made[kind, refiner] = drawn.pixels[0]
    assert len(set(made.values())) == 4


async def test_of_several_the_effects_add_up(bench: Bench) -> None:
    red, pictures = upload("red")
    one = {"name": "lines-xl", "picture": red, "scale": 1.0}
    half = one | {"scale": 0.5}
    both = await bench.make("large", controls=[half, half], pictures=pictures)
    whole = await bench.make("large", controls=[one], pictures=pictures)
    assert both.pixels == whole.pixels


async def test_the_original_names_are_the_same_adapter(tmp_path: Path) -> None:
    """TencentARC's count the blocks of all levels in one row."""
    tensors = sdxl.weights(sdxl.tiny_t2i_adapter(tmp_path / "adapter"))
    original = {
        re.sub(
            r"body\.(\d+)\.(?:resnets\.0\.)?", r"body.\1.", name.removeprefix("adapter.")
        ): tensor
        for name, tensor in tensors.items()
    }
    assert len(original) == len(tensors)
    again = checkpoints._adapter_names(original, 1)
    assert again.keys() == tensors.keys()
    assert checkpoints._adapter_names(tensors, 1).keys() == tensors.keys()
    two = [
        "body.0.block1.weight",
        "body.2.block1.weight",
        "body.2.in_conv.bias",
        "body.3.block2.bias",
    ]
    assert list(checkpoints._adapter_names(dict.fromkeys(two, torch.zeros(1)), 2)) == [
        "adapter.body.0.resnets.0.block1.weight",
        "adapter.body.1.resnets.0.block1.weight",
        "adapter.body.1.in_conv.bias",
        "adapter.body.1.resnets.1.block2.bias",
    ]
