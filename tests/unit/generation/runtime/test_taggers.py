"""Pictures given to taggers as their makers give them, and what is made of their numbers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from generation.catalog import Catalog
from generation.families.taggers import TAGGERS
from generation.models import ModelFile
from generation.runtime.describing import PictureReaders, opened
from generation.runtime.faults import JobError
from generation.runtime.taggers import TagReader, prepared
from tests.fixtures.onnx_files import WD_TAGS, classifier, network, wd_tags, write_wd_tagger
from tests.fixtures.pictures import encoded

CPU = torch.device("cpu")
RED = Image.new("RGB", (64, 64), (255, 0, 0))


async def only(folder: Path) -> ModelFile:
    catalog = Catalog([folder])
    await catalog.scan()
    (found,) = catalog.taggers
    return found


async def reader(folder: Path) -> TagReader:
    return TagReader(await only(folder), CPU, 1)


def colours_of(*names: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases by which these tags hold where a picture is red, green or blue: as the
    network is given it, blue first.
    """
    weights = np.zeros((3, len(WD_TAGS)), np.float32)
    for place, name in enumerate(("blue", "green", "red")):
        if name in names:
            weights[place, names.index(name)] = 1 / 32
    return weights, np.full(len(WD_TAGS), -4.0, np.float32)


def test_a_wd_tagger_sees_blue_first_in_a_white_square() -> None:
    picture = Image.new("RGB", (4, 2), (10, 20, 30))
    pixels = prepared(picture, TAGGERS["wd"], 4)
    assert pixels.shape == (1, 4, 4, 3)
    assert pixels.dtype == np.float32
    assert (pixels[0, 0] == 255).all()
    assert (pixels[0, 3] == 255).all()
    assert pixels[0, 1].tolist() == [[30, 20, 10]] * 4


def test_what_is_transparent_is_white() -> None:
    picture = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert (prepared(picture, TAGGERS["wd"], 2) == 255).all()


def test_the_others_see_what_their_makers_give_them() -> None:
    pixels = prepared(RED, TAGGERS["pixai"], 8)
    assert pixels.shape == (1, 3, 8, 8)
    assert pixels[0, :, 0, 0].tolist() == [1, -1, -1]
    pixels = prepared(RED, TAGGERS["cl"], 8)
    assert pixels[0, :, 0, 0].tolist() == [-1, -1, 1]
    pixels = prepared(RED, TAGGERS["joytag"], 8)
    expected = [(1 - 0.48145466) / 0.26862954, -0.4578275 / 0.26130258, -0.40821073 / 0.27577711]
    assert np.allclose(pixels[0, :, 0, 0], expected, atol=1e-5)
    pixels = prepared(RED, TAGGERS["deepdanbooru"], 8)
    assert pixels[0, 0, 0].tolist() == [1, 0, 0]


async def test_tags_from_their_thresholds_on(tmp_path: Path) -> None:
    bias = np.full(len(WD_TAGS), -9.0, np.float32)
    for name, probability in (
        *(("general", 0.7), ("explicit", 0.2), ("1girl", 0.9), ("red_hair", 0.4), ("solo", 0.34)),
        *(("hatsune_miku", 0.8), ("saber_(fate)", 0.9)),
    ):
        place = [tag for tag, _ in WD_TAGS].index(name)
        bias[place] = np.log(probability / (1 - probability))
    write_wd_tagger(tmp_path, bias=bias, side=8)
    tags, ratings = (await reader(tmp_path)).tags(RED, 0.35, 0.85)
    assert [(tag.name, round(tag.probability, 2), tag.character) for tag in tags] == [
        ("saber_(fate)", 0.9, True),
        ("1girl", 0.9, False),
        ("red_hair", 0.4, False),
    ]
    assert list(ratings) == ["general", "sensitive", "questionable", "explicit"]
    assert ratings["general"] == pytest.approx(0.7, abs=1e-3)
    assert ratings["explicit"] == pytest.approx(0.2, abs=1e-3)
    tags, _ = (await reader(tmp_path)).tags(RED, 0.3, 0.5)
    assert [tag.name for tag in tags][:2] == ["saber_(fate)", "hatsune_miku"]
    assert "solo" in [tag.name for tag in tags]


async def test_which_colour_is_which(tmp_path: Path) -> None:
    names = ("x", "x", "x", "x", "red", "green", "blue")
    weights, bias = colours_of(*names)
    write_wd_tagger(tmp_path, weights=weights, bias=bias, side=8)
    read = await reader(tmp_path)
    for place, colour in ((4, "red"), (5, "lime"), (6, "blue")):
        found, _ = read.tags(Image.new("RGB", (30, 30), colour), 0.5, 1)
        assert [tag.name for tag in found] == [WD_TAGS[place][0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3000, 20)])
async def test_pictures_of_any_shape(size: tuple[int, int], tmp_path: Path) -> None:
    write_wd_tagger(tmp_path, side=8)
    numbers = (await reader(tmp_path)).probabilities(Image.new("RGB", size))
    assert numbers.shape == (len(WD_TAGS),)


async def test_of_several_outputs_the_one_of_probabilities(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Identity", ["mean"], ["logits"]),
        helper.make_node("Sigmoid", ["mean"], ["prediction"]),
    ]
    three: tuple[int | str, ...] = ("n", 3)
    outputs = {"logits": three, "prediction": three}
    onnx.save(network({"input": ("n", 3, 8, 8)}, outputs, nodes=nodes), tmp_path / "model.onnx")
    (tmp_path / "selected_tags.csv").write_text(wd_tags((("a", 0), ("b", 0), ("c", 4))))
    numbers = (await reader(tmp_path)).probabilities(RED)
    assert np.allclose(numbers, 1 / (1 + np.exp([-1.0, 1.0, 1.0])))


async def test_what_is_not_squashed_yet_is(tmp_path: Path) -> None:
    model = classifier("input", ("n", 3, 8, 8), 2, squash=False, bias=np.array([3.0, -900.0]))
    onnx.save(model, tmp_path / "joytag.onnx")
    (tmp_path / "top_tags.txt").write_text("cat\ndog\n")
    numbers = (await reader(tmp_path)).probabilities(RED)
    assert numbers.tolist() == pytest.approx([1 / (1 + np.exp(-3.0)), 0], abs=1e-6)


def code_of(error: pytest.ExceptionInfo[JobError]) -> tuple[str, str]:
    return error.value.code, error.value.params.get("why", "")


async def test_files_that_are_whole_only_at_their_ends(tmp_path: Path) -> None:
    file = write_wd_tagger(tmp_path, side=8)
    found = await only(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"ReduceMean", b"ReduceMuch"))
    with pytest.raises(JobError) as raised:
        TagReader(found, CPU)
    assert code_of(raised) == ("model_broken", "onnxruntime can't load its network")
    file.unlink()
    with pytest.raises(JobError) as raised:
        TagReader(found, CPU)
    assert code_of(raised)[0] == "model_broken"
    file.write_bytes(content)
    (tmp_path / "selected_tags.csv").unlink()
    with pytest.raises(JobError) as raised:
        TagReader(found, CPU)
    assert code_of(raised) == ("model_broken", "the list of its tags is gone")


async def test_numbers_that_are_none_and_too_few(tmp_path: Path) -> None:
    bias = np.full(len(WD_TAGS), np.nan, np.float32)
    write_wd_tagger(tmp_path, bias=bias, side=8)
    with pytest.raises(JobError) as raised:
        (await reader(tmp_path)).probabilities(RED)
    assert raised.value.code == "nan_weights"
    write_wd_tagger(tmp_path, side=8)
    found = await only(tmp_path)
    (tmp_path / "selected_tags.csv").write_text(wd_tags(WD_TAGS[:3]))
    with pytest.raises(JobError) as raised:
        TagReader(found, CPU).probabilities(RED)
    assert code_of(raised) == (
        "model_labels_wrong",
        "it has 3 tags, and the network gives 11 numbers",
    )


async def test_it_stays_loaded_until_its_files_change(tmp_path: Path) -> None:
    write_wd_tagger(tmp_path, side=8)
    found = await only(tmp_path)
    readers = PictureReaders(CPU, 1)
    first = readers.tagger(found)
    assert readers.tagger(found) is first
    (tmp_path / "selected_tags.csv").write_text(wd_tags().replace("solo", "duo"))
    second = readers.tagger(found)
    assert second is not first
    assert [tag.name for tag in second.tags(RED, 0.0, 0.0)[0]].count("duo") == 1


def test_bytes_that_are_no_picture() -> None:
    with pytest.raises(JobError) as raised:
        opened(b"no picture")
    assert raised.value.code == "picture_unreadable"
    assert opened(encoded(Image.new("RGBA", (3, 2)), "PNG")).mode == "RGBA"
    assert opened(encoded(Image.new("L", (3, 2)), "PNG")).mode == "RGB"
