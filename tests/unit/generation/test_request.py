"""Requests and the options that are read off them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.model_settings import ModelSettings
from generation.preset import Preset
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import SEED_MAX
from generation.request_options import Option, bounds_of, exact, options
from generation.request_parts import Variation
from generation.rules import Limits
from storage.settings import GuildSettings
from tests.fixtures.requests import a_request


def test_each_picture_has_a_seed_of_its_own() -> None:
    assert a_request(seed=40, count=3).seeds == (40, 41, 42)


def test_variations_keep_the_seed_and_count_up_the_second() -> None:
    varied = a_request(seed=40, variation_seed=9, variation_strength=0.2, count=3)
    assert varied.seeds == (40, 40, 40)
    assert varied.variation_seeds == (9, 10, 11)
    for plain in (varied.with_(variation_strength=0), varied.with_(variation_seed=None)):
        assert plain.seeds == (40, 41, 42)
        assert plain.variation_seeds == (None, None, None)


def test_variations_of_a_variation_go_on_from_its_noise() -> None:
    step = {"seed": 9, "strength": 0.45}
    varied = a_request(variation_seed=20, variation_strength=0.15, lineage=[step], count=2)
    first = Variation(9, 0.45)
    assert varied.variations == (
        (first, Variation(20, 0.15)),
        (first, Variation(21, 0.15)),
    )
    assert "lineage" not in options()


def test_a_changed_copy_is_checked() -> None:
    assert a_request().with_(seed=1).seed == 1
    with pytest.raises(msgspec.ValidationError, match="multiple of 8"):
        a_request(width=100)


def test_its_uploads_are_every_picture_that_was_handed_in() -> None:
    names = {name: str(n) * 64 for n, name in enumerate(("init_picture", "second_picture", "mask"))}
    control = {"name": "edges", "picture": "7" * 64}
    assert set(a_request(**names, controls=[control]).uploads) == {*names.values(), "7" * 64}


def test_json_carries_it_whole() -> None:
    request = a_request(
        seed=SEED_MAX,
        loras=[{"name": "a", "weight": -1.5}],
        controls=[{"name": "edges", "picture": "0" * 64, "scale": 0.5}],
        init_picture="1" * 64,
        mask="2" * 64,
        mask_blur=9,
        mask_mode="not masked",
        masked_content="latent noise",
        inpaint_area="only masked",
        mask_padding=0,
        differential="on",
    )
    again = msgspec.json.decode(msgspec.json.encode(request), type=GenerationRequest)
    assert again == request


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `stepz`"):
        a_request(stepz=3)


def test_every_field_is_an_option() -> None:
    fields = {option.field for option in options().values()}
    # what only actions set, and what was drawn from
    assert fields == set(GenerationRequest.__struct_fields__) - {
        "tile", "full", "lineage", "template", "negative_template", "enlargement",
        "describing", "extension",
    }  # fmt: skip
    for option in options().values():
        assert option.help, option.name
        assert len(option.help) <= 100, option.name


def test_a_request_from_before_variations_is_still_one() -> None:
    old = {
        "prompt": "a cat", "model": "demo", "width": 64, "height": 64, "steps": 1,
        "guidance_scale": 1.0, "sampler": "Euler", "seed": 1,
    }  # fmt: skip
    request = msgspec.json.decode(msgspec.json.encode(old), type=GenerationRequest)
    assert (request.vae, request.variation_seed, request.tile) == (None, None, 0)


def test_nested_fields_are_flat_options() -> None:
    assert options()["lora_weight"].field == "loras"
    assert options()["lora_weight"].item == "weight"
    assert options()["lora"].choices_from == "loras"
    assert options()["init_picture"].picture
    assert options()["control_picture"].picture


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("width", 100, "no_multiple"),
        ("width", 4096, "out_of_bounds"),
        ("width", 0, "out_of_bounds"),
        ("steps", 151, "out_of_bounds"),
        ("guidance", -0.1, "out_of_bounds"),
        ("guidance", float("nan"), "out_of_bounds"),
        ("prompt", "x" * 4001, "too_long"),
        ("seed", -2, "out_of_bounds_or_random"),
        ("seed", 2**53, "out_of_bounds_or_random"),
        ("variation_seed", -2, "out_of_bounds_or_random"),
        ("model", "x" * 501, "too_long"),
        ("prompt", "half an emoji \ud83d", "text_unusable"),
        ("lora", "a\0b", "text_unusable"),
        ("variation_strength", 1.1, "out_of_bounds"),
    ],
)
def test_values_outside_the_declaration_are_refused(
    name: str, value: str | int | float, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        options()[name].check(value)
    assert refused.value.code == code
    assert refused.value.params["option"] == name


def test_the_nearest_multiple_is_named() -> None:
    with pytest.raises(Refused) as refused:
        options()["height"].check(510)
    assert refused.value.params["nearest"] == 512


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("seed", "seven", "not_a_number"),
        ("seed", "", "not_a_number"),
        ("seed", "7.5", "not_a_whole_number"),
        ("seed", "1e3", "not_a_whole_number"),
        ("seed", "1" * 4301, "number_too_long"),
        ("guidance", "1" * 4301, "number_too_long"),
        ("guidance", "0." + "1" * 4301, "number_too_long"),
        ("guidance", "1,5", "not_a_number"),
    ],
)
def test_what_is_no_number_is_refused(name: str, text: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        options()[name].parse(text)
    assert refused.value.code == code
    assert len(str(refused.value)) < 200


def test_numbers_are_read_as_people_write_them() -> None:
    assert options()["seed"].parse(" 7 ") == 7
    assert options()["seed"].parse("-1") == -1
    assert options()["guidance"].parse("7") == 7.0


def test_the_bound_of_a_seed_names_none_that_means_random() -> None:
    with pytest.raises(Refused) as refused:
        options()["seed"].check(-5)
    assert refused.value.params["low"] == 0


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_so_that_it_is_read_the_same(number: float) -> None:
    assert float(exact(number)) == number


def test_bounds_are_read_off_any_declaration() -> None:
    assert bounds_of(Preset, "max_steps").high == options()["steps"].high
    assert bounds_of(ModelSettings, "guidance_scale").high == options()["guidance"].high
    assert (bounds_of(Limits, "waiting").low, bounds_of(Limits, "waiting").high) == (1, 1000)
    weight = bounds_of(GuildSettings, "weight_by_role")
    assert (weight.type, weight.low, weight.high) == (float, 0.1, 10)


def test_what_repeats_a_field_of_the_request_has_its_bounds() -> None:
    """One place to change: the request's own declaration."""
    for struct, names in (
        (ModelSettings, {"guidance_scale": "guidance"}),
        (Preset, {"max_steps": "steps", "max_count": "count"}),
        (Limits, {}),
    ):
        for field in struct.__struct_fields__:
            option = options().get(names.get(field, field))
            if option is None or option.name == "prompt":
                continue
            found = bounds_of(struct, field)
            assert (found.type, found.low, found.high, found.step, found.length_max) == (
                option.type, option.low, option.high, option.step, option.length_max,
            ), (struct, field)  # fmt: skip


@given(st.integers())
def test_check_agrees_with_the_declaration(value: int) -> None:
    """What check lets through the request takes, and nothing else."""
    option: Option = options()["width"]
    try:
        option.check(value)
    except Refused:
        with pytest.raises(msgspec.ValidationError):
            a_request(width=value)
    else:
        assert a_request(width=value).width == value
