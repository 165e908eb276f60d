"""Grids: what is written of their axes, and what each picture is asked with."""

import random

import pytest

from generation.grids import (
    VALUES_MAX,
    Axis,
    GridPlan,
    axis,
    cells,
    given_of,
    in_order_of,
    writable,
)
from generation.refusal import Refused
from tests.fixtures import fuzz


def a_plan(*axes: Axis, prompt: str = "a fox", **more: object) -> GridPlan:
    return GridPlan(prompt=prompt, given={}, seed=7, axes=axes, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "written", "values"),
    [
        ("steps", "10, 20,30", ("10", "20", "30")),
        ("Steps", "1-4", ("1", "2", "3", "4")),
        ("steps", "1-9 (+2)", ("1", "3", "5", "7", "9")),
        ("steps", "10-4 (+3)", ("10", "7", "4")),
        ("steps", "1-10 [4]", ("1", "4", "7", "10")),
        ("guidance", "1-2 (+0.25)", ("1", "1.25", "1.5", "1.75", "2")),
        ("guidance", "5-7 [3], 9", ("5", "6", "7", "9")),
        ("sampler", "Euler a, DPM++ 2M", ("Euler a", "DPM++ 2M")),
        ("clip skip", "1,2", ("1", "2")),
        ("prompt", 'fox, "cat, black", ', ("fox", "cat, black", "")),
        ("seed", "-1, 5", ("-1", "5")),
        ("lora", "1-3", ("1-3",)),
    ],
)
def test_an_axis_is_what_is_written(name: str, written: str, values: tuple[str, ...]) -> None:
    found = axis(name, written)
    assert found.values == values
    assert found.name == name.casefold().replace(" ", "_")


@pytest.mark.parametrize(
    ("name", "written", "code"),
    [
        ("stpes", "1, 2", "axis_unknown"),
        ("count", "1, 2", "axis_unknown"),
        ("mask", "a", "axis_unknown"),
        ("steps", "  ", "axis_empty"),
        ("steps", ",", "axis_empty"),
        ("steps", "many", "not_a_number"),
        ("steps", "1-1000", "axis_long"),
        ("steps", "1-2 [999999]", "axis_long"),
        ("steps", "1-5 [0]", "axis_long"),
        ("steps", "1-10 (0)", None),
        ("steps", "1-999999999999999 (0.000000000000001)", "axis_long"),
        ("steps", "5, 5", "axis_twice"),
        ("prompt", "fox", "axis_replaces"),
        ("prompt", '"fox', "axis_quotes"),
        ("sampler", "a\0b", "text_unusable"),
    ],
)
def test_what_is_no_axis(name: str, written: str, code: str | None) -> None:
    if code is None:
        assert len(axis(name, written).values) == 10
        return
    with pytest.raises(Refused, match=code):
        axis(name, written)


@pytest.mark.parametrize("count", fuzz.CASES)
def test_whatever_is_written_is_an_axis_or_refused(count: int) -> None:
    chance, read = random.Random(count), 0
    pieces = ("1-9", "(+2)", "[4]", "-", ",", '"', "10", "1e9", "a", " ", "\n", "9" * 30, "\ud800")
    for text in fuzz.texts(count, pieces, 8):
        name = chance.choice(("steps", "guidance", "prompt", "sampler", "seed", "aspect"))
        try:
            found = axis(name, text)
        except Refused:
            continue
        read += 1
        assert 1 <= len(found.values) <= VALUES_MAX
        assert len(set(found.values)) == len(found.values)
    assert read


def test_the_first_axis_changes_from_left_to_right() -> None:
    plan = a_plan(
        Axis("steps", ("1", "2")), Axis("guidance", ("5", "6", "7")), Axis("seed", ("1", "2"))
    )
    found = cells(plan)
    assert (plan.shape, plan.size) == ((2, 3, 2), 12)
    assert [cell.place for cell in found] == list(range(12))
    assert found[0].label == "1 · 5 · 1"
    assert found[1].label == "2 · 5 · 1"
    assert found[2].label == "1 · 6 · 1"
    assert found[6].label == "1 · 5 · 2"


def test_all_pictures_have_one_seed_unless_that_is_what_changes() -> None:
    plan = a_plan(Axis("steps", ("1", "2")))
    assert [given_of(plan, cell, {})[0]["seed"] for cell in cells(plan)] == [7, 7]
    assert given_of(plan, cells(plan)[0], {"seed": -1})[0]["seed"] == 7
    assert given_of(plan, cells(plan)[0], {"seed": 3})[0]["seed"] == 3
    plan = a_plan(Axis("seed", ("1", "2")))
    assert [given_of(plan, cell, {})[0]["seed"] for cell in cells(plan)] == [1, 2]
    varied = {"variation_strength": 0.2, "variation_seed": -1}
    plan = a_plan(Axis("steps", ("1", "2")))
    assert {given_of(plan, cell, varied)[0]["variation_seed"] for cell in cells(plan)} == {8}


def test_words_are_replaced_in_both_prompts() -> None:
    plan = a_plan(Axis("prompt", ("fox", "cat", "")))
    base = {"prompt": "a fox, fox red", "negative_prompt": "no fox"}
    found = [given_of(plan, cell, base)[0] for cell in cells(plan)]
    assert [each["prompt"] for each in found] == ["a fox, fox red", "a cat, cat red", "a ,  red"]
    assert found[1]["negative_prompt"] == "no cat"
    with pytest.raises(Refused, match="axis_not_in_prompt"):
        given_of(plan, cells(plan)[0], {"prompt": "a dog"})


def test_values_are_of_the_options_own_types_and_one_picture_each() -> None:
    plan = a_plan(Axis("steps", ("1",)), Axis("guidance", ("5.5",)), Axis("preset", ("night",)))
    given, preset = given_of(plan, cells(plan)[0], {"prompt": "a fox", "count": 4, "steps": 9})
    assert (given["steps"], given["guidance"], given["count"]) == (1, 5.5, 1)
    assert preset == "night"


def test_a_shape_takes_the_place_of_a_size_and_the_other_way_round() -> None:
    plan = a_plan(Axis("aspect", ("3:2",)))
    given, _ = given_of(plan, cells(plan)[0], {"width": 64, "height": 64})
    assert given["aspect"] == "3:2"
    assert not given.keys() & {"width", "height"}
    plan = a_plan(Axis("width", ("64",)))
    assert "aspect" not in given_of(plan, cells(plan)[0], {"aspect": "3:2"})[0]


def test_pictures_of_one_checkpoint_are_drawn_after_each_other() -> None:
    plan = a_plan(Axis("model", ("a", "b")), Axis("steps", ("1", "2")))
    assert in_order_of(cells(plan), ["a", "b", "a", "b"]) == [0, 2, 1, 3]


@pytest.mark.parametrize(
    ("label", "said"), [("Euler a · 7.5", True), ("é×…", True), ("狐狸", False)]
)
def test_what_the_font_of_a_grid_has(label: str, said: bool) -> None:
    assert writable(label) is said
