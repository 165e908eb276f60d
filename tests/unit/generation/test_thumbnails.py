"""The pictures beside models, found as A1111's and ComfyUI's users name them."""

from pathlib import Path

import pytest

from generation.models import ModelFile, ModelKind
from generation.thumbnails import thumbnail_of


def a_model(path: Path) -> ModelFile:
    return ModelFile(kind=ModelKind.LORA, name=path.stem, path=path, family="sd1")


@pytest.mark.parametrize("ending", [".preview.png", ".png", ".jpg", ".webp", ".preview.jpg"])
def test_a_picture_of_the_models_name_is_its_thumbnail(tmp_path: Path, ending: str) -> None:
    picture = tmp_path / f"ink_v1.5{ending}"
    picture.touch()
    (tmp_path / "ink_v1.png").touch()
    assert thumbnail_of(a_model(tmp_path / "ink_v1.5.safetensors")) == picture


def test_a_preview_goes_before_a_picture_of_the_same_name(tmp_path: Path) -> None:
    for name in ("ink.png", "ink.preview.webp"):
        (tmp_path / name).touch()
    found = thumbnail_of(a_model(tmp_path / "ink.safetensors"))
    assert found == tmp_path / "ink.preview.webp"


def test_a_folders_thumbnail_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ink.v2").mkdir()
    (tmp_path / "ink.v2.preview.png").touch()
    assert thumbnail_of(a_model(tmp_path / "ink.v2")) == tmp_path / "ink.v2.preview.png"


def test_without_a_picture_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "ink.preview.png").mkdir()
    assert thumbnail_of(a_model(tmp_path / "ink.safetensors")) is None
