"""The picture check: what it finds travels with each picture, and without it none is sent."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from PIL import Image

from generation.messages import Configure, Failed, Finished, Generate, Picture
from generation.models import ModelFile
from generation.runtime.faults import JobError
from generation.runtime.picture_check import PictureCheck
from generation.runtime.server import Server
from tests.fixtures import models
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def a_check(folder: Path, *labels: str) -> PictureCheck:
    settings = msgspec.structs.replace(SETTINGS, picture_check_model=str(folder))
    if labels:
        settings = msgspec.structs.replace(settings, picture_check_labels=labels)
    return PictureCheck(settings)


def drawn(folder: Path, tiny: ModelFile, cache: Path) -> Ends:
    ends = Ends()
    settings = msgspec.structs.replace(SETTINGS, picture_check_model=str(folder))
    server = Server(Configure(settings, str(cache)), ends, ends)  # type: ignore[arg-type]
    server.run(Generate("1", a_request(width=64, height=64, count=2), tiny))
    return ends


@pytest.mark.parametrize(("bias", "low", "high"), [((-9.0, 9.0), 0.99, 1), ((9.0, -9.0), 0, 0.01)])
def test_each_picture_carries_what_was_found(
    tiny: ModelFile, tmp_path: Path, bias: tuple[float, ...], low: float, high: float
) -> None:
    ends = drawn(models.tiny_classifier(tmp_path / "check", bias=bias), tiny, tmp_path)
    found = [picture.unsafe for picture in ends.of(Picture)]
    assert len(found) == 2
    assert all(low <= unsafe <= high for unsafe in found)
    assert len(ends.of(Finished)) == 1


def test_without_a_check_nothing_is_said(tiny: ModelFile, tmp_path: Path) -> None:
    ends = Ends()
    server = Server(Configure(SETTINGS, str(tmp_path)), ends, ends)  # type: ignore[arg-type]
    server.run(Generate("1", a_request(width=64, height=64), tiny))
    assert [picture.unsafe for picture in ends.of(Picture)] == [None]


def test_the_unsafe_labels_add_up(tmp_path: Path) -> None:
    folder = models.tiny_classifier(tmp_path, ("cat", "Porn", "hentai"), (0.0, 0.0, 0.0))
    picture = Image.new("RGB", (50, 30), "red")
    assert a_check(folder).unsafe(picture) == pytest.approx(2 / 3)
    assert a_check(folder, "PORN").unsafe(picture) == pytest.approx(1 / 3)


def test_what_is_found_depends_on_the_picture(tmp_path: Path) -> None:
    check = a_check(models.tiny_classifier(tmp_path))
    red, green = [check.unsafe(Image.new("RGB", (64, 64), colour)) for colour in ("red", "green")]
    assert red != green
    assert red == check.unsafe(Image.new("RGB", (64, 64), "red"))


def without_weights(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.unlink()


def pickled(folder: Path) -> None:
    without_weights(folder)
    torch.save({}, folder / "pytorch_model.bin")


def cut_off(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])


def without_settings(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def gone(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize("harm", [without_weights, pickled, cut_off, without_settings, gone])
def test_one_that_cannot_be_loaded_lets_nothing_through(
    tiny: ModelFile, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder = models.tiny_classifier(tmp_path / "check")
    harm(folder)
    ends = drawn(folder, tiny, tmp_path)
    assert ends.of(Picture) == []
    (failed,) = ends.of(Failed)
    assert failed.code == "picture_check_broken"
    assert failed.params["why"]
    assert str(tmp_path) not in failed.params["why"]


def test_one_that_breaks_on_a_picture_lets_nothing_through(tiny: ModelFile, tmp_path: Path) -> None:
    nan = float("nan")
    ends = drawn(models.tiny_classifier(tmp_path / "check", bias=(nan, nan)), tiny, tmp_path)
    assert ends.of(Picture) == []
    assert [failed.code for failed in ends.of(Failed)] == ["picture_check_broken"]


def test_one_without_an_unsafe_label_is_no_check(tmp_path: Path) -> None:
    folder = models.tiny_classifier(tmp_path, ("cat", "dog"))
    with pytest.raises(JobError) as raised:
        a_check(folder).load()
    assert raised.value.code == "picture_check_broken"
    assert "cat, dog" in raised.value.params["why"]
