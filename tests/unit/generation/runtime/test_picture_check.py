"""The picture check: what it finds travels with each picture, and without it none is sent."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from generation.messages import Configure, Failed, Finished, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime.describing import PictureReaders
from generation.runtime.faults import JobError
from generation.runtime.picture_check import PictureCheck
from generation.runtime.server import Server
from tests.fixtures import models
from tests.fixtures.onnx_files import WD_TAGS, write_wd_tagger
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


READERS = PictureReaders(torch.device("cpu"), 1)


def a_check(folder: Path, *labels: str) -> PictureCheck:
    settings = msgspec.structs.replace(SETTINGS, picture_check_model=str(folder))
    if labels:
        settings = msgspec.structs.replace(settings, picture_check_labels=labels)
    return PictureCheck(settings, READERS)


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


def a_rater(folder: Path, **ratings: float) -> ModelFile:
    """A WD tagger by which each picture has these ratings, and hardly any other."""
    bias = np.full(len(WD_TAGS), -12.0, np.float32)
    for name, share in ratings.items():
        bias[[tag for tag, _ in WD_TAGS].index(name)] = np.log(share / (1 - share))
    file = write_wd_tagger(folder, bias=bias, side=8)
    return ModelFile(
        kind=ModelKind.TAGGER,
        name="wd",
        path=file,
        family="wd",
        variant="rating",
        labels=folder / "selected_tags.csv",
    )


def by_ratings(*ratings: str, model: str = "") -> PictureCheck:
    settings = msgspec.structs.replace(SETTINGS, picture_check_model=model)
    if ratings:
        settings = msgspec.structs.replace(settings, picture_check_ratings=ratings)
    return PictureCheck(settings, PictureReaders(torch.device("cpu"), 1))


def test_a_tagger_checks_where_no_model_is_named(tiny: ModelFile, tmp_path: Path) -> None:
    rater = a_rater(tmp_path / "wd", general=0.2, questionable=0.3, explicit=0.25)
    ends = Ends()
    server = Server(Configure(SETTINGS, str(tmp_path)), ends, ends)  # type: ignore[arg-type]
    server.run(Generate("1", a_request(width=64, height=64, count=2), tiny, rater=rater))
    found = [picture.unsafe for picture in ends.of(Picture)]
    assert found == [pytest.approx(0.55, abs=1e-3)] * 2
    # it makes no picture, and so is no part of what one was made with
    [finished] = ends.of(Finished)
    assert not any("tagger" in name for name in finished.hashes)


def test_which_ratings_are_unsafe_is_a_setting(tmp_path: Path) -> None:
    rater = a_rater(tmp_path, general=0.2, sensitive=0.4, questionable=0.3, explicit=0.25)
    picture = Image.new("RGB", (30, 20))
    assert by_ratings().unsafe(picture, rater) == pytest.approx(0.55, abs=1e-3)
    assert by_ratings("Explicit").unsafe(picture, rater) == pytest.approx(0.25, abs=1e-3)
    every = by_ratings("sensitive", "questionable", "explicit")
    assert every.unsafe(picture, rater) == pytest.approx(0.95, abs=1e-3)
    with pytest.raises(JobError) as raised:
        by_ratings("nsfw").unsafe(picture, rater)
    assert raised.value.code == "picture_check_broken"
    assert "picture_check_ratings" in raised.value.params["why"]


def test_a_tagger_is_not_asked_where_a_model_is_named_or_none_is_wanted(tmp_path: Path) -> None:
    rater = a_rater(tmp_path / "wd", explicit=0.9)
    picture = Image.new("RGB", (30, 20))
    assert by_ratings(model="off").unsafe(picture, rater) is None
    by_ratings(model="off").load(rater)
    folder = models.tiny_classifier(tmp_path / "check", bias=(9.0, -9.0))
    found = by_ratings(model=str(folder)).unsafe(picture, rater)
    assert found is not None
    assert found < 0.1
    assert by_ratings().unsafe(picture, None) is None


def test_with_a_broken_tagger_nothing_is_drawn(tiny: ModelFile, tmp_path: Path) -> None:
    rater = a_rater(tmp_path / "wd", explicit=0.9)
    content = rater.path.read_bytes()
    rater.path.write_bytes(content.replace(b"ReduceMean", b"ReduceMuch"))
    ends = Ends()
    server = Server(Configure(SETTINGS, str(tmp_path)), ends, ends)  # type: ignore[arg-type]
    server.run(Generate("1", a_request(width=64, height=64), tiny, rater=rater))
    assert ends.of(Picture) == []
    [failed] = ends.of(Failed)
    assert failed.code == "picture_check_broken"
    assert failed.params["why"] == "its tagger wd can't be used, and the log says why"
