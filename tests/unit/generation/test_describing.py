"""How a picture is described: which tagger and captioner, and what is told where none is there."""

from pathlib import Path

import onnx
import pytest

from bot.locales import Texts
from generation import describing
from generation.catalog import Catalog
from generation.checks import check
from generation.describing import DescribingSettings, of_picture, rater_of, request_of
from generation.description import Description, SeenTag, in_order
from generation.estimate import Estimates, Measurement
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_fields import PROMPT_MAX
from generation.request_parts import Describing
from generation.rules import Rules
from tests.fixtures.onnx_files import network, write_wd_tagger
from tests.unit.generation.catalogs import a_catalog, a_model

HASH = "a" * 64
DEMO = a_model("demo-tagger", kind=ModelKind.TAGGER, family="wd", size=9_000_000_000)
SMALL = a_model("wd-vit", kind=ModelKind.TAGGER, family="wd", variant="rating", size=300)
LARGE = a_model("wd-eva02", kind=ModelKind.TAGGER, family="wd", variant="rating", size=900)
FLORENCE = a_model("florence", kind=ModelKind.CAPTIONER, family="florence2", size=400)
BOTH = a_catalog(DEMO, SMALL, LARGE, FLORENCE)


def described(catalog: Catalog, style: object = None, **settings: object) -> Describing:
    told = DescribingSettings(**settings)  # type: ignore[arg-type]
    return of_picture(HASH, (640, 480), style, catalog, told)  # type: ignore[arg-type]


def why(catalog: Catalog, style: object = None, **settings: object) -> str:
    with pytest.raises(Refused) as refused:
        described(catalog, style, **settings)
    return refused.value.code


def test_the_largest_that_rates_and_whatever_is_there() -> None:
    made = described(BOTH)
    assert (made.tagger, made.captioner) == ("wd-eva02", "florence")
    assert (made.width, made.height, made.threshold, made.character_threshold) == (
        *(640, 480),
        *(0.35, 0.85),
    )
    assert described(a_catalog(DEMO)).tagger == "demo-tagger"
    assert described(a_catalog(DEMO)).captioner == ""
    assert described(a_catalog(FLORENCE)).tagger == ""


def test_a_style_says_what_is_wanted() -> None:
    assert described(BOTH, "tags").captioner == ""
    assert described(BOTH, "caption").tagger == ""
    both = described(BOTH, "both")
    assert (both.tagger, both.captioner) == ("wd-eva02", "florence")


def test_the_settings_name_them() -> None:
    made = described(BOTH, tagger="WD-vit", captioner="Florence", threshold=0.2, detail="short")
    assert (made.tagger, made.captioner, made.threshold) == ("wd-vit", "florence", 0.2)
    assert made.detail == "short"
    assert why(BOTH, tagger="nowhere") == "tagger_unknown"
    assert why(BOTH, "caption", captioner="nowhere") == "captioner_unknown"


def test_what_is_not_there_is_told_of() -> None:
    assert why(a_catalog()) == "no_tagger"
    assert why(a_catalog(), "caption") == "no_captioner"
    assert why(a_catalog(FLORENCE), "tags") == "no_tagger"
    assert why(a_catalog(FLORENCE), "both") == "no_tagger"
    assert why(a_catalog(SMALL), "both") == "no_captioner"
    said = Texts("en-US")("no_tagger")
    assert "models/wd14_tagger" in said
    assert "selected_tags.csv" in said


async def test_a_tagger_without_its_list_is_told_of_before_anything_waits(tmp_path: Path) -> None:
    tags = [(f"tag_{place}", 0) for place in range(2500)]
    file = write_wd_tagger(tmp_path / "wd", tags, side=16)
    file.with_name("selected_tags.csv").unlink()
    catalog = Catalog([tmp_path])
    await catalog.scan()
    assert why(catalog) == "model_labels_missing"
    file.with_name("selected_tags.csv").write_text("tag_id,name,category,count\n1,a,0,1\n")
    await catalog.scan()
    assert why(catalog) == "model_labels_wrong"


async def test_a_tagger_of_another_layout_is_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "wd14_tagger" / "own"
    folder.mkdir(parents=True)
    onnx.save(network({"tokens": (1, 77)}, {"numbers": (1, 7)}), folder / "model.onnx")
    catalog = Catalog([tmp_path])
    await catalog.scan()
    assert why(catalog) == "tagger_other"
    assert why(catalog, tagger="own") == "model_unknown_layout"
    # elsewhere it is whatever it is
    (tmp_path / "wd14_tagger").rename(tmp_path / "others")
    await catalog.scan()
    assert why(catalog) == "no_tagger"


def test_who_rates_pictures() -> None:
    assert rater_of(BOTH) == LARGE
    assert rater_of(BOTH, "wd-vit") == SMALL
    # one that rates nothing is no check, whoever named it for tags
    assert rater_of(BOTH, "demo-tagger") == LARGE
    assert rater_of(a_catalog(DEMO)) is None
    assert rater_of(a_catalog()) is None


def test_a_request_to_describe_names_its_files_and_needs_no_checkpoint() -> None:
    request = request_of(described(BOTH))
    assert (request.checkpoint, request.made_with) == ("", "wd-eva02")
    assert request.uploads == (HASH,)
    check(request, BOTH, Rules())
    with pytest.raises(Refused) as refused:
        check(request, a_catalog(FLORENCE), Rules())
    assert refused.value.code == "tagger_unknown"
    with pytest.raises(Refused) as refused:
        check(request, a_catalog(LARGE), Rules())
    assert refused.value.code == "captioner_unknown"
    assert describing.files_of(described(BOTH, "tags"), BOTH) == (LARGE, None)


def test_how_long_it_takes_is_measured_by_what_looks() -> None:
    slow, quick = request_of(described(BOTH)), request_of(described(BOTH, "tags"))
    times = Estimates([Measurement(slow, 9.0, 1.0), Measurement(quick, 1.0, 0.5)])
    assert times.making(slow) == pytest.approx(8.0)
    assert times.making(quick) == pytest.approx(0.5)
    assert times.loading(slow.checkpoint) == 0


def test_tags_as_people_write_them() -> None:
    seen = [
        SeenTag("red_hair", 0.9),
        SeenTag("1girl", 0.99),
        SeenTag("sword_(weapon)", 0.91),
        SeenTag("^_^", 0.5),
        SeenTag("saber_(fate)", 0.86, character=True),
    ]
    found = Description(tags=in_order(seen))
    # who it is comes first; of tags that are as probable the order of the list holds
    assert found.prompt == r"saber \(fate\), 1girl, red hair, sword \(weapon\), ^_^"
    whole = Description(tags=in_order(seen[:1]), caption=" A girl [smiling]. ")
    assert whole.prompt == r"A girl \[smiling\]., red hair"
    assert Description().prompt == ""
    many = [SeenTag("x" * 200, 0.9) for _ in range(100)]
    assert len(Description(tags=in_order(many)).prompt) <= PROMPT_MAX


def test_the_likeliest_rating() -> None:
    assert Description(ratings={"general": 0.2, "explicit": 0.7}).rating == "explicit"
    assert Description().rating == ""
