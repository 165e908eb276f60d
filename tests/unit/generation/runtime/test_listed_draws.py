"""What the catalogue lists draws: every layout, by the worker in this process."""

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from generation.catalog import Catalog
from generation.families.control import follows
from generation.messages import Configure, Failed, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.server import Server
from tests.fixtures import flux, layouts, models, sdxl
from tests.fixtures.layouts import LAYOUTS, ModelLayout
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:__array:DeprecationWarning", "ignore:`FluxPosEmbed` is deprecated:FutureWarning"
    ),
]
SAME = (
    (
        *("sd1 folder", "sd1 file", "sd1 file of 2022", "sd1 folder, both precisions"),
        *("sd1 folder in shards", "sd1 folder without what it lists"),
        *("sd1 folder of inpainting", "sd1 folder of a class of its own"),
        *("sd1 folder in the hub's cache", "sd1 folder with a dot"),
    ),
    ("sd1 inpainting folder", "sd1 inpainting file"),
    ("sd1 editing folder", "sd1 editing file"),
    ("sd1 lcm folder", "sd1 lcm file"),
    ("sdxl lcm folder", "sdxl lcm file"),
    ("sdxl folder", "sdxl file"),
    ("sdxl refiner folder", "sdxl refiner file"),
    ("flux folder", "flux file"),
    ("sd3.5 folder", "sd3.5 file"),
    ("chroma folder", "chroma file"),
    ("klein folder", "klein file"),
    ("z-image folder", "z-image file"),
    ("qwen-image folder", "qwen-image file"),
    ("sdxl vae folder", "vae file", "vae file with a prefix", "vae file in diffusers' names"),
    (
        *("controlnet folder", "controlnet file", "controlnet file without prefix"),
        "controlnet file in diffusers' names",
    ),
    (
        *("sdxl controlnet folder", "sdxl controlnet file"),
        "sdxl controlnet file in diffusers' names",
    ),
    (
        *("sdxl union folder", "sdxl union file", "sdxl union file, respelt"),
        "sdxl union file in diffusers' names",
    ),
    ("sdxl promax folder", "sdxl promax file"),
    ("flux union folder", "flux union file"),
    (
        *("sd1 lora of kohya", "sd1 lora of peft", "sd1 lora of peft's model"),
        *("sd1 lora without prefix", "sd1 lora of attention processors", "sd1 lora with words"),
    ),
)
"""Layouts of the same weights."""
BASES = {"sdxl": "large", "vae": "large", "flux": "dev"}
"""What parts are drawn with, by the first word of their layout's name."""
BY_NAME = {layout.name: layout for layout in LAYOUTS}
ALONE = [layout for layout in LAYOUTS if not any(layout.name in same for same in SAME)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models that parts are drawn with, and the configs of their sizes."""
    root = tmp_path_factory.mktemp("bases")
    models.tiny_stable_diffusion(root / "models" / "small")
    sdxl.tiny_sdxl(root / "models" / "large")
    flux.tiny_flux(root / "models" / "dev")
    layouts.tiny_configs(root / "configs")
    return root


async def found(folder: Path) -> list[ModelFile]:
    catalog = Catalog([folder])
    await catalog.scan()
    return catalog.all


@pytest.fixture(autouse=True)
def tiny_sizes(bases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single files carry no sizes: those of the tiny models hold."""
    monkeypatch.setattr(checkpoints, "CONFIGS", bases / "configs")


@pytest.mark.parametrize("layout", ALONE, ids=lambda layout: layout.name)
async def test_what_is_listed_draws(layout: ModelLayout, bases: Path, tmp_path: Path) -> None:
    assert await drawn(layout, bases, tmp_path)


@pytest.mark.parametrize("same", SAME, ids=lambda same: same[0])
async def test_the_same_weights_in_every_layout_draw_the_same(
    same: tuple[str, ...], bases: Path, tmp_path: Path
) -> None:
    pictures = {}
    for number, name in enumerate(same):
        (tmp_path / str(number)).mkdir()
        pictures[name] = await drawn(BY_NAME[name], bases, tmp_path / str(number))
    assert set(pictures.values()) == {pictures[same[0]]}, pictures


async def drawn(layout: ModelLayout, bases: Path, folder: Path) -> str:
    """The pixels' hash of a picture by that layout."""
    (folder / "models").mkdir()
    layout.make(folder / "models")
    (model,) = await found(folder / "models")
    checkpoint = model
    if model.kind is not ModelKind.CHECKPOINT:
        known = {base.name: base for base in await found(bases / "models")}
        checkpoint = known[BASES.get(layout.name.split()[0], "small")]
        model = model.made_for(checkpoint)
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    changes: dict[str, Any] = {}
    parts: dict[str, Any] = {"pictures": {sha256: file.getvalue()}}
    match model.kind:
        case ModelKind.LORA:
            changes["loras"], parts["loras"] = [{"name": model.name}], (model,)
        case ModelKind.CONTROLNET:
            changes["controls"] = [{"name": model.name, "picture": sha256}]
            parts["controlnets"] = (model,)
        case ModelKind.VAE:
            changes["vae"], parts["vae"] = model.name, model
    if follows(model):
        changes["controls"] = [{"name": model.name, "picture": sha256}]
    if model.variant or model.family == "sdxl-refiner":
        changes |= {"init_picture": sha256, "denoising_strength": 0.9}
    ends = Ends()
    server = Server(Configure(SETTINGS, folder / "cache"), ends, ends)  # type: ignore[arg-type]
    request = a_request(model=checkpoint.name, width=64, height=64, steps=2, **changes)
    server.run(Generate("1", request, checkpoint, **parts))
    assert ends.of(Failed) == []
    (picture,) = ends.of(Picture)
    with Image.open(io.BytesIO(picture.file)) as image:
        assert len(set(image.convert("L").tobytes())) > 20
    shutil.rmtree(folder / "models")
    return str(picture.pixels_sha256)
