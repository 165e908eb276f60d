"""Masks by words: what CLIPSeg finds is what transformers' own finds, and that alone is drawn."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPSegProcessor, ViTImageProcessorPil
from transformers.models.clipseg import CLIPSegConfig, CLIPSegForImageSegmentation

from generation.messages import ControlSeen, Failed, Finished, Generate, Progress
from generation.models import ModelFile, ModelKind
from generation.runtime import segmenter
from generation.runtime.faults import JobError
from generation.runtime.tokenizers import VOCABULARY, load_tokenizer
from tests.fixtures import segmenters
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND, HEIGHT, WIDTH, Pixels
from tests.unit.generation.runtime.test_inpainting import Inpainting, check_kept

WORDS = {"mask_words": "the hat", "mask": None}


def a_file(path: Path) -> ModelFile:
    return ModelFile(kind=ModelKind.SEGMENTER, name=path.stem, path=path, family="clipseg", size=1)


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    folder = tmp_path_factory.mktemp("clipseg")
    return a_file(segmenters.file(folder / f"{segmenters.NAME}.safetensors"))


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Inpainting:
    return Inpainting(tmp_path_factory.mktemp("segmenter"))


def by_transformers(network: Any, picture: Image.Image, phrase: str) -> Pixels:
    """What its own model and processor are sure of, of 255, in its own size."""
    images = ViTImageProcessorPil(
        size={"height": 352, "width": 352},
        resample=Image.Resampling.BILINEAR,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    processor = CLIPSegProcessor(images, load_tokenizer(VOCABULARY))
    # others beside it, so that it is padded, as people's scripts have it
    texts = [phrase, "a much longer name of something else"]
    given = processor(text=texts, images=[picture] * 2, padding=True, return_tensors="pt")
    with torch.no_grad():
        return np.asarray(torch.sigmoid(network(**given).logits[0])) * 255


def ours(network: Any, picture: Image.Image, phrase: str) -> Pixels:
    seen = segmenter._seen(network, picture)
    return segmenter._sure(network, seen, phrase, (352, 352)) * 255


@pytest.mark.parametrize("refined", [True, False])
def test_it_finds_what_transformers_finds(
    refined: bool, inpainting: Inpainting, tmp_path: Path
) -> None:
    network = segmenters.network(refined=refined)
    file = a_file(segmenters.file(tmp_path / "clipseg.safetensors", refined=refined))
    found = ours(segmenter.load(file, torch.float16), inpainting.picture, "the hat")
    reference = by_transformers(network, inpainting.picture, "the hat")
    assert reference.std() > 20
    assert np.abs(found - reference).max() <= BOUND
    other = ours(segmenter.load(file, torch.float16), inpainting.picture, "a red ball")
    assert np.abs(found - other).mean() > 1


def test_a_folder_of_the_hub_and_half_precision_are_the_same(
    clipseg: ModelFile, inpainting: Inpainting, tmp_path: Path
) -> None:
    folder = a_file(segmenters.folder(tmp_path / "clipseg-rd64-refined"))
    [one, other] = [
        ours(segmenter.load(file, torch.float32), inpainting.picture, "the hat")
        for file in (clipseg, folder)
    ]
    assert np.array_equal(one, other)
    halves = {
        name: t.half() if t.is_floating_point() else t
        for name, t in load_file(clipseg.path).items()
    }
    save_file(halves, tmp_path / "half.safetensors")
    half = segmenter.load(a_file(tmp_path / "half.safetensors"), torch.float32)
    assert next(half.parameters()).dtype == torch.float32
    assert np.abs(ours(half, inpainting.picture, "the hat") - one).mean() < 2


def test_its_published_shapes_are_read_off_the_file() -> None:
    """Of rd64-refined: ViT-B/16 and its text encoder, 64 wide."""
    config = CLIPSegConfig(
        vision_config={"patch_size": 16},
        use_complex_transposed_convolution=True,
    )
    with torch.device("meta"):
        weights = CLIPSegForImageSegmentation(config).state_dict()
    found = segmenter._config(weights)
    assert found.to_dict() == config.to_dict()


def test_a_file_that_lacks_something_or_is_broken_says_so(
    clipseg: ModelFile, tmp_path: Path
) -> None:
    weights = load_file(clipseg.path)
    gone = {name: t for name, t in weights.items() if name != "decoder.film_add.bias"}
    save_file(gone, tmp_path / "gone.safetensors")
    with pytest.raises(JobError) as error:
        segmenter.load(a_file(tmp_path / "gone.safetensors"), torch.float32)
    assert error.value.code == "model_broken"
    assert error.value.params["why"] == "it lacks decoder.film_add.bias"
    weights["decoder.film_mul.bias"][0] = torch.nan
    save_file(weights, tmp_path / "nan.safetensors")
    with pytest.raises(JobError) as error:
        segmenter.load(a_file(tmp_path / "nan.safetensors"), torch.float32)
    assert error.value.code == "nan_weights"


class Finding:
    """What is found in a picture, for a request of these fields."""

    def __init__(self, inpainting: Inpainting, clipseg: ModelFile) -> None:
        self._inpainting = inpainting
        self._clipseg = clipseg
        self.looked = 0

    def __call__(self, words: str, **changes: Any) -> Pixels:
        request = a_request(init_picture="0" * 64, mask_words=words, **changes)
        model = self._inpainting.sd()
        work = Generate("1", request, model, segmenter=self._clipseg)
        parts = self._inpainting.server._parts

        def after() -> None:
            self.looked += 1

        found = segmenter.found_by_words(work, self._inpainting.picture, parts, after)
        assert found.size == self._inpainting.picture.size
        return np.asarray(found)


@pytest.fixture
def find(inpainting: Inpainting, clipseg: ModelFile) -> Finding:
    return Finding(inpainting, clipseg)


def test_several_phrases_are_found_together(find: Finding) -> None:
    one, other = (find(words, mask_growth=0) for words in ("the hat", "a red ball"))
    find.looked = 0
    both = find("the hat, a red ball ,, the  hat", mask_growth=0)
    assert find.looked == 2
    assert set(np.unique(both)) == {0, 255}
    assert np.array_equal(both, np.maximum(one, other))
    assert not np.array_equal(both, one)
    assert not np.array_equal(both, other)


def test_the_threshold_says_how_sure_it_must_be(find: Finding) -> None:
    network = find._inpainting.server._parts.annotator(find._clipseg, segmenter.load)
    seen = segmenter._seen(network, find._inpainting.picture)
    sure = segmenter._sure(network, seen, "the hat", (WIDTH, HEIGHT))
    for threshold in (0.2, 0.4, 0.6):
        found = find("the hat", mask_threshold=threshold, mask_growth=0)
        clear = np.abs(sure - threshold) > 1 / 255
        assert np.array_equal((found == 255)[clear], (sure > threshold)[clear])
    with pytest.raises(JobError) as error:
        find("the hat", mask_threshold=1.0)
    assert (error.value.code, error.value.params) == ("mask_words_unfound", {"words": "the hat"})


def test_what_is_found_grows_to_all_sides() -> None:
    greys = np.zeros((21, 21), np.uint8)
    greys[10, 10] = 200
    found = segmenter.grown(greys, 5)
    down, across = np.mgrid[:21, :21]
    away = np.hypot(down - 10, across - 10)
    assert (found[away <= 4.5] == 200).all()
    assert (found[away > 5.5] == 0).all()
    assert np.array_equal(segmenter.grown(greys, 0), greys)


def test_for_differential_diffusion_it_is_as_grey_as_it_is_sure(find: Finding) -> None:
    plain = find("the hat", mask_growth=0)
    greys = find("the hat", mask_growth=0, differential="on")
    assert np.array_equal(greys > 0, plain == 255)
    assert greys[greys > 0].min() >= round(0.4 * 255)
    assert len(np.unique(greys)) > 20


def test_words_that_are_longer_than_what_is_read_are_refused(find: Finding) -> None:
    with pytest.raises(JobError) as error:
        find("ö" * 200)
    assert error.value.code == "mask_words_long"


def test_what_is_found_is_drawn_as_a_mask_of_it_is(
    inpainting: Inpainting, clipseg: ModelFile, find: Finding
) -> None:
    """Whatever else is said of the mask."""
    mask = Image.fromarray(find("the hat"))
    for told in (
        {"mask_blur": 0},
        {"mask_blur": 2, "mask_mode": "not masked", "masked_content": "fill"},
        {"inpaint_area": "only masked", "mask_padding": 4},
    ):
        given = inpainting.given(mask) | told
        by_mask = inpainting.draw(inpainting.sd(), **given)
        by_words = inpainting.draw(inpainting.sd(), **given | WORDS, segmenter=clipseg)
        assert np.array_equal(by_words, by_mask)
    given = inpainting.given(mask) | {"masked_content": "latent noise"}
    by_words = inpainting.draw(inpainting.sd(), **given | WORDS, segmenter=clipseg)
    check_kept(by_words, inpainting.picture, mask)


def test_within_a_mask_only_what_it_has_is_looked_through(
    inpainting: Inpainting, clipseg: ModelFile, find: Finding
) -> None:
    left = Image.new("L", (WIDTH, HEIGHT))
    left.paste(255, (0, 0, WIDTH // 2, HEIGHT))
    both = Image.fromarray(np.minimum(find("the hat"), np.asarray(left)))
    assert both.getbbox() is not None
    given = inpainting.given(left)
    by_words = inpainting.draw(
        inpainting.sd(), **given | {"mask_words": "the hat"}, segmenter=clipseg
    )
    assert np.array_equal(by_words, inpainting.draw(inpainting.sd(), **inpainting.given(both)))
    # outside of it nothing is found
    place = np.argwhere(find("the hat") == 0)[0]
    far = Image.new("L", (WIDTH, HEIGHT))
    far.putpixel((int(place[1]), int(place[0])), 255)
    answer = inpainting.answer(
        inpainting.sd(), **inpainting.given(far) | {"mask_words": "the hat"}, segmenter=clipseg
    )
    assert isinstance(answer, Failed)
    assert (answer.code, answer.params) == ("mask_words_unfound", {"words": "the hat"})


def test_nothing_is_drawn_of_what_is_not_found_and_its_file_is_named(
    inpainting: Inpainting, clipseg: ModelFile, find: Finding
) -> None:
    given = inpainting.given() | WORDS
    answer = inpainting.answer(
        inpainting.sd(), **given | {"mask_threshold": 1.0}, segmenter=clipseg
    )
    assert isinstance(answer, Failed)
    assert answer.code == "mask_words_unfound"
    inpainting.draw(inpainting.sd(), **given, segmenter=clipseg)
    [done] = inpainting.ends.of(Finished)
    assert f"segmenter:{clipseg.name}" in done.hashes
    # the mask is kept with what it made
    [seen] = inpainting.ends.of(ControlSeen)
    with Image.open(io.BytesIO(seen.file)) as mask:
        assert mask.mode == "RGB"
        assert np.array_equal(np.asarray(mask.convert("L")), find("the hat"))
    assert (seen.index, seen.width, seen.height) == (0, WIDTH, HEIGHT)
    stages = [event.stage for event in inpainting.ends.of(Progress)]
    assert stages.index("masking") < stages.index("denoising")
