"""The demo's tagger: what it is taught, and that what is written is what was trained."""

import random
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from generation.catalog import Catalog
from generation.models import ModelFile
from training.art import Art
from training.tagger import TAGS, Tagger, lesson, write
from training.things import COLOURS, THINGS
from training.upscaler import LargeArt


async def listed(folder: Path) -> ModelFile:
    catalog = Catalog([folder])
    await catalog.scan()
    assert catalog.problems == ()
    (found,) = catalog.taggers
    return found


def test_each_tag_is_there_once() -> None:
    assert len(set(TAGS)) == len(TAGS)
    assert all(f"{colour} background" in TAGS for colour in COLOURS)


def test_a_lesson_has_the_things_of_its_picture(emoji: Path) -> None:
    art = Art(emoji)
    others = LargeArt(art)
    counts = []
    for number in range(60):
        one = lesson(art, others, random.Random(number))
        assert one.picture.shape == (128, 128, 3)
        assert one.tags <= set(TAGS)
        things = one.tags & {thing.name for thing in THINGS}
        backgrounds = [tag for tag in one.tags if tag.endswith(" background")]
        sketched = "pencil sketch" in one.tags
        # of what the demo does not know nothing is said
        assert len(backgrounds) == (1 if things and not sketched else 0)
        counts.append(len(things))
    assert set(counts) == {0, 1, 2}


async def test_what_is_written_is_what_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Tagger()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features) * 0.1
            layer.running_var = torch.rand(layer.num_features) + 0.5
    model.eval()
    write(model, tmp_path / "demo-tagger")
    found = await listed(tmp_path)
    # one that rates nothing is no picture check
    assert (found.name, found.family, found.variant) == ("demo-tagger", "wd", "")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(found.path, providers=["CPUExecutionProvider"])
    (made,) = session.run(["output"], {"input": pixels[..., ::-1].copy()})
    with torch.no_grad():
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        expected = model(inputs).sigmoid().numpy()
    # it is kept in half precision
    assert np.allclose(made, expected, atol=0.02)
