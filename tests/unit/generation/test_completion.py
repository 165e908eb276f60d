"""From what a person gave to a whole request."""

from typing import Any

import msgspec
import pytest

from generation.catalog import Catalog
from generation.completion import (
    Given,
    Limits,
    ModelSettings,
    Rules,
    check,
    complete,
    default_model,
)
from generation.families import FAMILIES
from generation.models import ModelFile, ModelKind
from generation.preset import starters
from generation.refusal import Refused
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model


@pytest.fixture
def catalog() -> Catalog:
    return a_catalog(
        a_model("demo", native_size=128),
        a_model("dream"),
        a_model("big", family="sdxl"),
        a_model("pixel", kind=ModelKind.LORA),
        a_model("other", kind=ModelKind.LORA, family="sd2"),
        a_model("edges", kind=ModelKind.CONTROLNET),
        a_model("fine", kind=ModelKind.VAE),
        a_model("fine-xl", kind=ModelKind.VAE, family="sdxl"),
        a_model("two", family="sd2"),
    )


RULES = Rules(
    default_model="demo",
    models={"demo": ModelSettings(steps=8, guidance_scale=0, negative_prompt="fog")},
    limits=Limits(side=768, pixels=512 * 512, upscaled_side=1024, steps=40, count=2),
)


def refusal(catalog: Catalog, **given: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a cat", **given}, catalog, RULES)
    return refused.value


def test_defaults_come_from_the_settings_then_the_model_then_the_family(catalog: Catalog) -> None:
    request = complete({"prompt": " a cat "}, catalog, RULES)
    assert request.prompt == "a cat"
    assert (request.model, request.width, request.height) == ("demo", 128, 128)
    assert (request.steps, request.guidance_scale, request.negative_prompt) == (8, 0, "fog")
    assert request.sampler == "DPM++ 2M Karras"
    other = complete({"prompt": "a cat", "model": "Dream"}, catalog, RULES)
    assert (other.model, other.width, other.steps) == ("dream", 512, 20)


def test_what_was_given_wins(catalog: Catalog) -> None:
    request = complete(
        {"prompt": "a cat", "negative_prompt": "", "steps": 3, "guidance": 2.5, "seed": 0,
         "sampler": "euler A", "width": 64, "count": 2, "lora": "Pixel", "lora_weight": 0.5},
        catalog,
        RULES,
    )  # fmt: skip
    assert (request.negative_prompt, request.steps, request.guidance_scale) == ("", 3, 2.5)
    assert (request.seed, request.sampler, request.width, request.height) == (0, "Euler a", 64, 128)
    assert [(use.name, use.weight) for use in request.loras] == [("pixel", 0.5)]


def test_seeds_are_drawn_anew(catalog: Catalog) -> None:
    assert len({complete({"prompt": "a"}, catalog, RULES).seed for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        ("square", (128, 128)),
        ("wide 16:9", (168, 96)),
        ("tall 9:16", (96, 168)),
        ("16:9", (168, 96)),
        ("4 : 1", (256, 64)),
        ("3：2", (160, 104)),
    ],
)
def test_an_aspect_keeps_the_area(catalog: Catalog, aspect: str, size: tuple[int, int]) -> None:
    request = complete({"prompt": "a cat", "aspect": aspect}, catalog, RULES)
    assert (request.width, request.height) == size


def test_a_control_picture_takes_the_only_controlnet(catalog: Catalog) -> None:
    request = complete({"prompt": "a cat", "control_picture": "0" * 64}, catalog, RULES)
    assert [use.name for use in request.controls] == ["edges"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"prompt": " \n"}, "prompt_empty"),
        ({"prompt": "x" * 4001}, "too_long"),
        ({"model": "demi"}, "checkpoint_unknown"),
        ({"model": "big"}, "family_unsupported"),
        ({"lora": "other"}, "family_mismatch"),
        ({"lora": "pixle"}, "lora_unknown"),
        ({"sampler": "Eula"}, "sampler_unknown"),
        ({"aspect": "round"}, "aspect_unknown"),
        ({"aspect": "5:1"}, "aspect_wrong"),
        ({"aspect": "0:1"}, "aspect_wrong"),
        ({"aspect": "square", "height": 64}, "aspect_and_size"),
        ({"lora_weight": 1.0}, "option_needs"),
        ({"denoising": 0.5}, "option_needs"),
        ({"controlnet": "edges"}, "option_needs"),
        ({"control_picture": "0" * 64, "model": "dream", "controlnet": "no"}, "controlnet_unknown"),
        ({"width": 100}, "no_multiple"),
        ({"width": 1024}, "out_of_bounds"),
        ({"width": 768, "height": 768}, "too_many_pixels"),
        ({"vae": "fine-xl"}, "family_mismatch"),
        ({"vae": "fin"}, "vae_unknown"),
        ({"variation_seed": 3}, "option_needs"),
        ({"steps": 41}, "out_of_bounds"),
        ({"count": 3}, "out_of_bounds"),
    ],
)
def test_what_is_wrong_is_refused(catalog: Catalog, given: dict[str, Any], code: str) -> None:
    assert refusal(catalog, **given).code == code


def test_the_nearest_names_are_offered(catalog: Catalog) -> None:
    assert str(refusal(catalog, model="demi").params["nearest"]).startswith("demo")
    assert "Euler" in str(refusal(catalog, sampler="Eulr").params["nearest"])


def test_without_a_model(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="no_models"):
        complete({"prompt": "a cat"}, a_catalog(a_model("big", family="sdxl")), RULES)
    two = a_catalog(
        a_model("demo"),
        a_model("a", kind=ModelKind.CONTROLNET),
        a_model("b", kind=ModelKind.CONTROLNET),
    )
    assert refusal(two, control_picture="0" * 64).params == {"names": "a, b"}
    assert refusal(a_catalog(a_model("demo")), control_picture="0" * 64).code == "no_controlnets"


def test_a_request_made_elsewhere_is_checked_too(catalog: Catalog) -> None:
    check(a_request(), catalog, RULES)
    for change in ({"model": "gone"}, {"steps": 50}, {"loras": [{"name": "gone"}]}):
        with pytest.raises(Refused):
            check(a_request(**change), catalog, RULES)


def test_a_vae_is_named_as_the_catalogue_does(catalog: Catalog) -> None:
    assert complete({"prompt": "a cat", "vae": "FINE"}, catalog, RULES).vae == "fine"
    # those of Stable Diffusion 1 and 2 are alike
    other: Given = {"prompt": "a cat", "vae": "fine", "model": "two", "width": 64, "height": 64}
    assert complete(other, catalog, RULES).vae == "fine"
    rules = Rules(default_model="demo", models={"demo": ModelSettings(vae="fine")})
    assert complete({"prompt": "a cat"}, catalog, rules).vae == "fine"


def test_a_variation_without_a_second_seed_draws_one(catalog: Catalog) -> None:
    given: Given = {"prompt": "a cat", "variation_strength": 0.2}
    seeds = {complete(given, catalog, RULES).variation_seed for _ in range(5)}
    assert len(seeds) == 5
    assert None not in seeds
    assert complete({**given, "variation_seed": 3}, catalog, RULES).variation_seed == 3
    assert complete({"prompt": "a cat"}, catalog, RULES).variation_seed is None
    still = complete({"prompt": "a cat", "variation_strength": 0.0}, catalog, RULES)
    assert still.variation_seed is None
    with pytest.raises(Refused, match="option_needs"):
        check(a_request(variation_strength=0.2), catalog, RULES)


def test_what_is_enlarged_has_a_limit_of_its_own(catalog: Catalog) -> None:
    large = a_request(width=1024, height=1024, init_picture="0" * 64)
    with pytest.raises(Refused, match="out_of_bounds"):
        check(large, catalog, RULES)
    check(large, catalog, RULES, enlarging=True)
    check(large.with_(tile=512), catalog, RULES)
    for too_much in (large.with_(width=1032), large.with_(height=1032, tile=512)):
        with pytest.raises(Refused) as refused:
            check(too_much, catalog, RULES, enlarging=True)
        assert refused.value.params["high"] == 1024


def test_tiles_that_make_no_sense_are_refused(catalog: Catalog) -> None:
    for change, code in (
        ({"tile": 128}, "option_needs"),
        ({"tile": 56, "init_picture": "0" * 64}, "out_of_bounds"),
    ):
        with pytest.raises(Refused) as refused:
            check(a_request(**change), catalog, RULES)
        assert (refused.value.code, refused.value.params["option"]) == (code, "tile")


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"init_picture": "0" * 64}, "init_picture"),
        ({"lora": "pixel"}, "lora"),
        ({"control_picture": "0" * 64}, "control_picture"),
        ({"clip_skip": 2}, "clip_skip"),
        ({"vae": "fine"}, "vae"),
    ],
)
def test_what_a_family_cannot_do_is_refused_by_the_option_that_was_typed(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], option: str
) -> None:
    only = frozenset(("text_to_image",))
    limited = msgspec.structs.replace(FAMILIES["sd1"], abilities=only)
    assert complete({"prompt": "a cat", **given}, catalog, RULES)
    monkeypatch.setitem(FAMILIES, "sd1", limited)
    refused = refusal(catalog, **given)
    assert (refused.code, refused.params["what"]) == ("ability_missing", option)


def test_an_empty_catalogue_is_no_error() -> None:
    assert a_catalog().checkpoints == []
    assert isinstance(a_model("x"), ModelFile)


def test_the_demo_is_the_default_only_where_there_is_no_other() -> None:
    demo, large = a_model("demo", native_size=128), a_model("large")
    assert default_model(a_catalog(demo), Rules()) == "demo"
    assert default_model(a_catalog(demo, large), Rules()) == "large"
    assert default_model(a_catalog(demo, large), Rules(default_model="demo")) == "demo"
    assert default_model(a_catalog(), Rules()) == ""


def test_a_lora_of_another_width_is_refused_before_queueing() -> None:
    catalog = a_catalog(
        a_model("large", context_width=768),
        a_model("pixel", kind=ModelKind.LORA, context_width=192),
    )
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a cat", "lora": "pixel"}, catalog, Rules())
    assert refused.value.code == "lora_mismatch"
    assert not [preset for preset in starters(catalog) if preset.loras]
