"""What the catalogue says of every layout of tiny models, which the engine then has to draw."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file, save_file

from generation.catalog import Catalog
from generation.models import ModelKind
from tests.fixtures import layouts, models, sdxl
from tests.fixtures.layouts import LAYOUTS, ModelLayout

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),
]

NOTES: dict[str, list[str]] = {}
"""What is said of a layout though it can be used."""


async def scanned(root: Path) -> Catalog:
    catalog = Catalog([root])
    await catalog.scan()
    return catalog


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
async def test_each_layout_is_told(layout: ModelLayout, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    layout.make(tmp_path / "models")
    catalog = await scanned(tmp_path / "models")
    assert [problem.code for problem in catalog.problems] == NOTES.get(layout.name, [])
    (found,) = catalog.all
    assert (str(found.kind), found.family) == (layout.kind, layout.family)
    assert (found.variant, found.name) == (layout.variant, layout.listed_as)


async def test_parts_of_the_tiny_models_fit_them(tmp_path: Path) -> None:
    """A part of unknown version fits by its width; one of another make does not."""
    root = tmp_path / "models"
    small = models.tiny_stable_diffusion(root / "small")
    large = sdxl.tiny_sdxl(root / "large")
    models.tiny_controlnet(root / "edges", small)
    sdxl.tiny_xl_controlnet(root / "edges-xl", large)
    catalog = await scanned(root)
    one, other = (catalog.get(ModelKind.CHECKPOINT, name) for name in ("small", "large"))
    net, net_xl = (catalog.get(ModelKind.CONTROLNET, name) for name in ("edges", "edges-xl"))
    assert (net.fits(one), net.fits(other)) == (True, False)
    assert (net_xl.fits(one), net_xl.fits(other)) == (False, True)


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ("first_stage_model.encoder.", "its VAE lacks encoder.…"),
        ("first_stage_model.quant_conv.", "its VAE lacks quant_conv.…"),
        ("model.diffusion_model.output_blocks.", "its denoiser lacks output_blocks.…"),
        ("cond_stage_model.transformer.text_model.encoder.layers.0", "its text encoder lacks"),
    ],
)
async def test_a_section_that_is_missing_is_named_at_every_size(
    section: str, why: str, tmp_path: Path
) -> None:
    folder = models.tiny_stable_diffusion(tmp_path / "folder")
    (tmp_path / "models").mkdir()
    file = sdxl.single_file(folder, tmp_path / "models" / "model.safetensors")
    left = {name: t for name, t in load_file(file).items() if not name.startswith(section)}
    save_file(left, file, {"modelspec.architecture": "stable-diffusion-v1"})
    catalog = Catalog([tmp_path / "models"])
    await catalog.scan()
    (problem,) = catalog.problems
    assert problem.params["why"].startswith(why)


async def test_a_checkpoint_of_no_known_make_is_no_vae(tmp_path: Path) -> None:
    """Its width is none that is known, and no text encoder tells what it is."""
    folder = models.tiny_stable_diffusion(tmp_path / "folder")
    (tmp_path / "models").mkdir()
    file = sdxl.single_file(folder, tmp_path / "models" / "model.safetensors")
    begin = "cond_stage_model."
    save_file({n: t for n, t in load_file(file).items() if not n.startswith(begin)}, file)
    catalog = Catalog([tmp_path / "models"])
    await catalog.scan()
    assert catalog.all == []
    assert [problem.code for problem in catalog.problems] == ["model_unknown_layout"]


def test_configs_of_the_tiny_models(tmp_path: Path) -> None:
    found = layouts.tiny_configs(tmp_path)
    configs: list[dict[str, Any]] = [
        msgspec.json.decode((found / family / "unet" / "config.json").read_bytes())
        for family in ("sd1", "sdxl", "sdxl-refiner")
    ]
    widths = [config["cross_attention_dim"] for config in configs]
    assert widths == [models.WIDTH, sdxl.CONTEXT, sdxl.WIDTH_2]
