"""Which models edit by words here, the best first, and how many pictures each is shown."""

import pytest

from generation.edit_models import check_any, chosen, models_here, most_pictures
from generation.refusal import Refused
from generation.rules import Rules
from tests.unit.generation.catalogs import a_catalog, a_model

READS = ("vae", "qwen2.5-vl-7b")
KONTEXT = a_model("kontext", family="flux", variant="kontext", carries=("vae", "clip_l", "t5xxl"))
KLEIN4 = a_model("klein-4b", family="flux2-klein-4b", carries=("vae", "qwen3-4b"))
KLEIN9 = a_model("klein-9b", family="flux2-klein-9b", carries=("vae", "qwen3-8b"))
FIRST = a_model("qwen-edit", family="qwen-image", variant="edit", carries=READS)
PLUS = a_model("qwen-2511", family="qwen-image", variant="edit-plus", carries=READS)
SMALL = a_model("pix2pix", variant="instruct-pix2pix")
LARGE = a_model("pix2pix-xl", family="sdxl", variant="instruct-pix2pix")
OTHERS = (
    a_model("demo"),
    a_model("dev", family="flux", carries=("vae", "clip_l", "t5xxl")),
    a_model("inpainting", variant="inpainting"),
)
HALVED = a_model("halved", family="flux2-klein-9b", carries=("vae",))
ALL = a_catalog(*OTHERS, SMALL, LARGE, KONTEXT, FIRST, PLUS, KLEIN4, KLEIN9)


def test_the_best_is_first() -> None:
    """By how many pictures it is shown, then by how large it is."""
    best = [KLEIN9, KLEIN4, PLUS, FIRST, KONTEXT, LARGE, SMALL]
    assert models_here(ALL, Rules()) == best
    assert [most_pictures(model) for model in best] == [4, 4, 3, 1, 1, 1, 1]
    assert models_here(ALL, Rules(default_model="KONTEXT"))[:2] == [KONTEXT, KLEIN9]
    assert models_here(ALL, Rules(default_model="demo"))[0] == KLEIN9


def test_where_nobody_names_one_it_is_the_best_that_is_shown_so_many() -> None:
    assert chosen(None, 1, ALL, Rules()) == KLEIN9
    few = a_catalog(*OTHERS, HALVED, SMALL, KONTEXT, PLUS)
    rules = Rules(default_model="kontext")
    assert chosen(None, 1, few, rules) == KONTEXT
    assert chosen(None, 3, few, rules) == PLUS
    assert chosen("Pix2Pix", 1, few, rules) == SMALL


@pytest.mark.parametrize(
    ("name", "count", "code", "params"),
    [
        ("kontext", 2, "edit_pictures_others", {"most": 1, "others": "qwen-2511"}),
        ("qwen-2511", 4, "edit_pictures", {"most": 3, "count": 4}),
        (None, 4, "edit_pictures", {"model": "qwen-2511"}),
        ("demo", 1, "model_edits_nothing", {"others": "qwen-2511, kontext, pix2pix"}),
        ("halved", 1, "model_edits_nothing", {"model": "halved"}),
        ("qwn", 1, "checkpoint_unknown", {"name": "qwn"}),
    ],
)
def test_one_that_does_not_is_named_with_others(
    name: str | None, count: int, code: str, params: dict[str, object]
) -> None:
    few = a_catalog(*OTHERS, HALVED, SMALL, KONTEXT, PLUS)
    with pytest.raises(Refused) as refused:
        chosen(name, count, few, Rules())
    assert refused.value.code == code
    assert params.items() <= refused.value.params.items()


def test_where_none_edits_it_is_said_of_the_one_that_draws() -> None:
    with pytest.raises(Refused) as refused:
        check_any(a_catalog(a_model("demo")), Rules())
    assert (refused.value.code, refused.value.params) == ("no_edit_models", {"model": "demo"})
    with pytest.raises(Refused) as refused:
        check_any(a_catalog(), Rules())
    assert refused.value.code == "no_models"
