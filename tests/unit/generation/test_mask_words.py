"""Masks by words as people ask for them: what is looked for, by what, and where that is missing."""

from pathlib import Path
from typing import Any

import pytest

from bot.locales import Texts
from generation import mask_words, prompt_flags
from generation.catalog import Catalog
from generation.checks import check
from generation.completion import changed, complete
from generation.metadata import About, infotext, read_infotext
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import MASK_WORDS_MAX
from generation.rules import Rules
from tests.fixtures import faces, segmenters
from tests.unit.generation.catalogs import a_catalog, a_model

PICTURE = "5" * 64
MASK = "7" * 64
RULES = Rules(default_model="demo")
DEMO = a_model("demo", native_size=128)
CLIPSEG = a_model("clipseg-rd64-refined", kind=ModelKind.SEGMENTER, family="clipseg")
OTHER = a_model("another", kind=ModelKind.SEGMENTER, family="clipseg")
PUBLISHED = (
    "clip.text_model.embeddings.token_embedding.weight",
    "clip.vision_model.embeddings.patch_embedding.weight",
    *("clip.text_projection.weight", "clip.visual_projection.weight", "decoder.film_mul.weight"),
    *("decoder.reduces.0.weight", "decoder.transposed_convolution.0.weight"),
)


def asked(catalog: Catalog | None = None, **given: Any) -> GenerationRequest:
    there = catalog or a_catalog(DEMO, CLIPSEG)
    parsed = prompt_flags.parse(str(given.pop("prompt", "a cat with a red hat")))
    return complete(prompt_flags.merge(parsed, given), there, RULES)


def refusal(catalog: Catalog | None = None, **given: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        asked(catalog, **{"init_picture": PICTURE, **given})
    return refused.value


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("the hat", ("the hat",)),
        (" the  hat , scarf;the hat,, ", ("the hat", "scarf")),
        ("帽子，围巾、手套", ("帽子", "围巾", "手套")),
        (" , ", ()),
    ],
)
def test_several_are_parted_by_commas(words: str, found: tuple[str, ...]) -> None:
    assert mask_words.phrases(words) == found


def test_words_are_a_mask_with_what_is_usual() -> None:
    request = asked(prompt="a cat with a hat --mask-words the hat", init_picture=PICTURE)
    assert (request.mask_words, request.mask, request.has("mask")) == ("the hat", None, True)
    assert (request.mask_threshold, request.mask_growth) == (0.4, 4)
    assert request.mask_model == "clipseg-rd64-refined"
    assert request.denoising_strength == 1.0
    assert request.uploads == (PICTURE,)


def test_whatever_is_said_of_a_mask_can_be_said_of_them() -> None:
    told = "--mask-blur 9 --mask-mode not-masked --masked-content fill --differential"
    told += " --inpaint-area only-masked --mask-padding 8 --mask-threshold 0.7 --mask-growth 0"
    request = asked(prompt=f"a hat --mask-words hat {told}", init_picture=PICTURE, denoising=0.5)
    assert (request.mask_blur, request.mask_mode, request.masked_content) == (
        *(9, "not masked"),
        "fill",
    )
    assert (request.differential, request.inpaint_area, request.mask_padding) == (
        *("on", "only masked"),
        8,
    )
    assert (request.mask_threshold, request.mask_growth) == (0.7, 0)
    assert request.denoising_strength == 0.5
    both = asked(mask_words="hat", init_picture=PICTURE, mask=MASK)
    assert (both.mask, both.mask_words) == (MASK, "hat")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mask_words": "hat", "init_picture": None}, "together with init_picture"),
        ({"mask_words": " , "}, "Say in words what of the picture is drawn anew"),
        ({"mask_words": "!"}, "Say in words what of the picture is drawn anew"),
        ({"mask_words": ",".join("abcdefghijk")}, "11 things are looked for; at most 10"),
        ({"mask_words": "x" * (MASK_WORDS_MAX + 1)}, "301 characters"),
        ({"mask_words": "a\0b"}, "mask_words"),
        ({"mask_words": "hat", "mask_model": "x"}, "There is no model “x” that finds things"),
        ({"mask_words": "hat", "mask_threshold": 1.5}, "from 0 to 1"),
        ({"mask_words": "hat", "mask_growth": 999}, "from 0 to 256"),
        ({"mask_growth": 4}, "mask_growth only makes sense together with mask_words"),
        ({"mask_threshold": 0.4}, "mask_threshold only makes sense together with mask_words"),
        ({"mask_model": "x"}, "mask_model only makes sense together with mask_words"),
    ],
)
def test_what_can_not_be_looked_for_is_refused_in_a_sentence(
    given: dict[str, Any], said: str
) -> None:
    whole = {"init_picture": PICTURE, **given}
    with pytest.raises(Refused) as refused:
        asked(**{name: value for name, value in whole.items() if value is not None})
    assert said in Texts("en-US")(refused.value.code, **refused.value.params)


def test_without_a_segmenter_it_is_said_which_file_goes_where() -> None:
    refused = refusal(a_catalog(DEMO), mask_words="hat")
    said = Texts("en-US")(refused.code, **refused.params)
    for word in ("CIDAS/clipseg-rd64-refined", "models/clipseg", "ComfyUI", "darkroom convert"):
        assert word in said
    # one that went since it was asked for, too
    request = asked(mask_words="hat", init_picture=PICTURE)
    with pytest.raises(Refused, match="segmenter_missing"):
        check(request, a_catalog(DEMO), RULES)


def test_which_one_finds_them_is_kept() -> None:
    both = a_catalog(DEMO, CLIPSEG, OTHER)
    assert asked(both, mask_words="hat", init_picture=PICTURE).mask_model == "another"
    named = asked(both, mask_words="hat", init_picture=PICTURE, mask_model="CLIPSEG-rd64-refined")
    assert named.mask_model == "clipseg-rd64-refined"
    found = mask_words.of(named, both)
    assert found is not None
    assert found.name == "clipseg-rd64-refined"
    assert mask_words.of(named.with_(mask_words=None), both) is None


def test_they_can_be_said_later_and_taken_back() -> None:
    catalog = a_catalog(DEMO, CLIPSEG)
    plain = asked(init_picture=PICTURE)
    later = changed(plain, {"mask_words": "hat", "mask_blur": 2}, catalog, RULES)
    assert (later.mask_words, later.mask_model, later.mask_blur) == (
        *("hat", "clipseg-rd64-refined"),
        2,
    )
    again = changed(later.with_(mask_words=None), {}, catalog, RULES)
    assert (again.mask_model, again.has("mask")) == (None, False)
    assert not later.unmasked().has("mask")


def test_its_infotext_is_read_back_as_it_is_written() -> None:
    request = asked(
        prompt='a cat --mask-words the "red" hat, a scarf --mask-threshold 0.35 --mask-growth 9',
        schedule="Karras",
        init_picture=PICTURE,
        seed=5,
    )
    text = infotext(About(request=request, index=0, seed=5))
    assert "Mask threshold: 0.35, Mask growth: 9, Mask model: clipseg-rd64-refined" in text
    parsed = prompt_flags.parse(text)
    assert parsed.ignored == ("Version",)
    given = prompt_flags.merge(parsed, {"init_picture": PICTURE})
    again = complete(given, a_catalog(DEMO, CLIPSEG), RULES)
    assert again == request
    assert infotext(About(request=again, index=0, seed=5)) == text
    # without a picture to look through nothing of it is left, and nothing is refused
    alone = complete(prompt_flags.merge(parsed, {}), a_catalog(DEMO), RULES)
    assert (alone.mask_words, alone.mask_blur) == (None, 4)
    found = read_infotext(text)
    assert found is not None
    assert found.given["mask_words"] == 'the "red" hat, a scarf'


async def catalog_of(folder: Path) -> Catalog:
    catalog = Catalog([folder])
    await catalog.scan()
    return catalog


async def test_a_clipseg_is_told_by_its_tensors(tmp_path: Path) -> None:
    """In the folders of ComfyUI's nodes, as a file or as the hub has it, in its cache too."""
    faces.write_names(tmp_path / "clipseg" / "model-a.safetensors", *PUBLISHED)
    plain = [name.replace("convolution.0", "convolution") for name in PUBLISHED]
    faces.write_names(tmp_path / "clipseg_weights" / "rd64.safetensors", *plain)
    cached = tmp_path / "clipseg" / "models--CIDAS--clipseg-rd64-refined" / "snapshots" / "a1"
    segmenters.folder(cached)
    catalog = await catalog_of(tmp_path)
    assert not catalog.problems
    assert [(file.name, file.family) for file in catalog.segmenters] == [
        ("CIDAS/clipseg-rd64-refined", "clipseg"),
        ("model-a", "clipseg"),
        ("rd64", "clipseg"),
    ]
    assert catalog.all == catalog.segmenters


async def test_what_is_no_whole_clipseg_is_called_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "clipseg"
    names = ("film_mul.weight", "film_add.weight", "reduces.0.weight", "blocks.0.linear1.weight")
    faces.write_names(folder / "rd64-uni-refined.safetensors", *names)
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "rd64-uni.pth").write_bytes(b"x")
    catalog = await catalog_of(tmp_path)
    assert catalog.segmenters == []
    told = {problem.path.name: problem for problem in catalog.problems}
    assert told["rd64-uni-refined.safetensors"].code == "model_other"
    assert "CIDAS/clipseg-rd64-refined" in told["rd64-uni-refined.safetensors"].params["what"]
    assert told["pytorch_model.bin"].code == told["rd64-uni.pth"].code == "model_convertible"
    with pytest.raises(Refused) as refused:
        catalog.get(ModelKind.SEGMENTER, "pytorch_model")
    assert refused.value.code == "model_convertible"
