"""What the catalogue lists does draw: every layout of a file, each through the engine."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.messages import Configure, Failed, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.server import Server
from tests.fixtures import layouts, models, sdxl
from tests.fixtures.layouts import LAYOUTS, ModelLayout
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.conftest import checkpoint
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.tiny_configs(tmp_path_factory.mktemp("configs"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFile]:
    """A checkpoint of each family, for its parts."""
    root = tmp_path_factory.mktemp("bases")
    small = checkpoint(models.tiny_stable_diffusion(root / "small"))
    large = sdxl.tiny_sdxl(root / "large")
    return {
        "sd1": small,
        "sdxl": ModelFile(kind=ModelKind.CHECKPOINT, name="large", path=large, family="sdxl"),
    }


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
async def test_what_is_listed_draws(
    layout: ModelLayout,
    configs: Path,
    bases: dict[str, ModelFile],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "CONFIGS", configs)
    (tmp_path / "models").mkdir()
    layout.make(tmp_path / "models")
    catalog = Catalog([tmp_path / "models"])
    await catalog.scan()
    if not catalog.all:
        assert catalog.problems, "neither listed nor named"
        return
    (found,) = catalog.all
    pictures = drawn(found, bases, tmp_path)
    # the tiny models of a family share their VAE
    if pictures is not None and found.kind is not ModelKind.VAE:
        assert len(set(pictures)) == len(pictures), "it changes nothing"


def drawn(found: ModelFile, bases: dict[str, ModelFile], cache: Path) -> list[str] | None:
    """Pixels with it and, of a part, without; None of what no request can name yet."""
    base = bases["sdxl" if found.family.startswith("sdxl") else "sd1"]
    picture, uploads = upload()
    changes: dict[str, Any] = {}
    plain = Generate("1", a_request(width=64, height=64), base)
    match found.kind:
        case ModelKind.CHECKPOINT:
            if found.family not in FAMILIES:
                return None
            if found.variant == "instruct-pix2pix":
                changes["init_picture"] = picture
            work = Generate("1", small(**changes), found, pictures=uploads)
            return run(cache, work)
        case ModelKind.LORA:
            changes["loras"] = [{"name": found.name}]
            work = Generate("2", small(**changes), base, loras=(found,))
        case ModelKind.CONTROLNET:
            changes["controls"] = [{"name": found.name, "picture": picture}]
            net = found.made_for(base)
            work = Generate("2", small(**changes), base, controlnets=(net,), pictures=uploads)
        case ModelKind.VAE:
            work = Generate("2", small(vae=found.name), base, vae=found.made_for(base))
        case _:
            return None
    return [*run(cache, plain), *run(cache, work)]


def small(**changes: Any) -> Any:
    return a_request(width=64, height=64, **changes)


def upload() -> tuple[str, dict[str, bytes]]:
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return sha256, {sha256: file.getvalue()}


def run(cache: Path, work: Generate) -> list[str]:
    ends = Ends()
    Server(Configure(SETTINGS, cache), ends, ends).run(work)  # type: ignore[arg-type]
    assert ends.of(Failed) == [], ends.of(Failed)[0]
    return [picture.pixels_sha256 for picture in ends.of(Picture)]
