"""What the catalogue says of every layout of tiny models, which the engine then has to draw."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from generation import model_reader
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.models import ModelKind
from tests.fixtures import layouts, models, sdxl
from tests.fixtures.layouts import LAYOUTS, ModelLayout

NOTES = {"sd1 lora with words": ["lora_brings_words"]}
"""What is said of a layout though it can be used."""


async def scanned(root: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """What is found where every variant can be drawn with."""
    every = frozenset(("", *model_reader.VARIANT_TITLES))
    families = {
        name: msgspec.structs.replace(family, variants=every) for name, family in FAMILIES.items()
    }
    monkeypatch.setattr(model_reader, "FAMILIES", families)
    catalog = Catalog([root])
    await catalog.scan()
    return catalog


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
async def test_each_layout_is_told(
    layout: ModelLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    layout.make(tmp_path / "models")
    catalog = await scanned(tmp_path / "models", monkeypatch)
    assert [problem.code for problem in catalog.problems] == NOTES.get(layout.name, [])
    (found,) = catalog.all
    assert (str(found.kind), found.family) == (layout.kind, layout.family)
    assert (found.variant, found.name) == (layout.variant, layout.listed_as)


async def test_parts_of_the_tiny_models_fit_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of unknown version fits by its width; one of another make does not."""
    root = tmp_path / "models"
    small = models.tiny_stable_diffusion(root / "small")
    large = sdxl.tiny_sdxl(root / "large")
    models.tiny_controlnet(root / "edges", small)
    sdxl.tiny_xl_controlnet(root / "edges-xl", large)
    catalog = await scanned(root, monkeypatch)
    one, other = (catalog.get(ModelKind.CHECKPOINT, name) for name in ("small", "large"))
    net, net_xl = (catalog.get(ModelKind.CONTROLNET, name) for name in ("edges", "edges-xl"))
    assert (net.fits(one), net.fits(other)) == (True, False)
    assert (net_xl.fits(one), net_xl.fits(other)) == (False, True)


def test_configs_of_the_tiny_models(tmp_path: Path) -> None:
    found = layouts.tiny_configs(tmp_path)
    configs: list[dict[str, Any]] = [
        msgspec.json.decode((found / family / "unet" / "config.json").read_bytes())
        for family in ("sd1", "sdxl", "sdxl-refiner")
    ]
    widths = [config["cross_attention_dim"] for config in configs]
    assert widths == [models.WIDTH, sdxl.CONTEXT, sdxl.WIDTH_2]
