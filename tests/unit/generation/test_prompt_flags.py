"""Flags in prompts: what they mean, what stays text, what is refused by name."""

import pytest

from generation.midjourney import NO_COUNTERPART
from generation.prompt_flags import OTHERS, SHORT, Parsed, Value, merge, parse
from generation.refusal import Refused
from generation.request_options import options
from generation.request_parts import LoraUse


def test_flags_mean_what_the_options_mean() -> None:
    text = "a lighthouse at dusk --ar 3:2 --seed 5 --no fog, people --steps 30"
    given: dict[str, Value] = {
        "aspect": "3:2",
        "seed": 5,
        "negative_prompt": "fog, people",
        "steps": 30,
    }
    assert parse(text) == Parsed("a lighthouse at dusk", given)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("a --cfg 4.5", {"guidance": 4.5}),
        ("a --n 2", {"count": 2}),
        ("a --m demo", {"model": "demo"}),
        ("a --AR 3:2", {"aspect": "3:2"}),
        ("a --aspect wide 16:9 --seed 1", {"aspect": "wide 16:9", "seed": 1}),
        ("a --variation-seed 3", {"variation_seed": 3}),
        ("a --variation_seed 3", {"variation_seed": 3}),
        ("a --steps=30", {"steps": 30}),
        ("a —seed 7", {"seed": 7}),
        ("a –seed 7", {"seed": 7}),
        ("a\n--seed\n7", {"seed": 7}),
        ("a --preset Oil painting --private", {"preset": "Oil painting", "private": True}),
        ("a --private no", {"private": False}),
        ("a --no fog --no people, cars", {"negative_prompt": "fog, people, cars"}),
        ("a --steps 30 --steps 30", {"steps": 30}),
        ('a --no "fog"', {"negative_prompt": "fog"}),
        ("a --no 'a --seed' --seed 1", {"negative_prompt": "a --seed", "seed": 1}),
        ("a --no “fog”", {"negative_prompt": "fog"}),
        ('a --no "fog" people', {"negative_prompt": '"fog" people'}),
        ("a --no don't, can't", {"negative_prompt": "don't, can't"}),
        ("a --no (fog:1.2), <lora:x:0.5>", {"negative_prompt": "(fog:1.2), <lora:x:0.5>"}),
    ],
)
def test_how_flags_are_written(text: str, given: dict[str, Value]) -> None:
    assert parse(text) == Parsed("a", given)


@pytest.mark.parametrize(
    "text",
    [
        "a (cat:1.2) [dog] <lora:name:0.8> BREAK a mouse",
        "an old-fashioned lamp -- in the rain",
        "black--and--white",
        "a -- b --",
        "a ladder — made of wood",
        "小船——在黄昏",
        'a sign that says "--no entry"',
        "--",
        "5--6 --7",
        "",
    ],
)
def test_what_is_no_flag_stays_as_it_is(text: str) -> None:
    assert parse(text) == Parsed(text, {})


def test_every_option_but_the_prompt_and_pictures_is_a_flag() -> None:
    for option in options().values():
        if option.name == "prompt" or option.picture:
            with pytest.raises(Refused, match="flag_unknown"):
                parse(f"a --{option.name} x")
        else:
            value = "x" if option.low is None else f"{option.low:g}"
            value = option.choices[0] if option.choices else value
            assert list(parse(f"a --{option.name} {value}").given) == [option.name]


@pytest.mark.parametrize(
    ("text", "code", "params"),
    [
        ("a --sed 5", "flag_unknown", {"flag": "sed", "nearest": "seed"}),
        ("a --ar3:2", "flag_unknown", {"flag": "ar3:2", "nearest": "ar"}),
        ("a —stepz 3", "flag_unknown", {"flag": "stepz", "nearest": "steps"}),
        ("a --步数 30", "flag_unknown", {"flag": "步数"}),
        ("a --seed", "flag_empty", {"flag": "seed"}),
        ('a --no ""', "flag_empty", {"flag": "no"}),
        ("a --ar --seed 5", "flag_empty", {"flag": "ar"}),
        ("a --seed 5 --seed 6", "flag_twice", {"flag": "seed"}),
        ("a --cfg 5 --guidance 6", "flag_twice", {"flag": "guidance"}),
        ("a --private perhaps", "flag_yes_or_no", {"flag": "private"}),
        ("a --seed " + "1" * 4301, "number_too_long", {"option": "seed"}),
        ("a --steps 20.5", "not_a_whole_number", {"option": "steps"}),
        ("half an emoji \ud83d --steps 3", "text_unusable", {"option": "prompt"}),
        ("a\0b", "text_unusable", {"option": "prompt"}),
        ("a" * 20_001, "too_long", {"option": "prompt"}),
        ("a --steps many", "not_a_number", {"option": "steps", "value": "many"}),
        ("a --cfg nan", "out_of_bounds", {"option": "guidance"}),
        ("a --steps 9999", "out_of_bounds", {"option": "steps", "high": 150}),
        ("a --width 2049", "out_of_bounds", {"option": "width", "value": 2049}),
        ("--ar 3:2 a lighthouse", "flag_before_prompt", {}),
    ],
)
def test_what_is_wrong_is_named(text: str, code: str, params: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        parse(text)
    assert refused.value.code == code
    assert refused.value.params.items() >= params.items()


@pytest.mark.parametrize("flag", sorted(NO_COUNTERPART))
def test_midjourneys_other_flags_are_answered_and_not_guessed(flag: str) -> None:
    for text in (f"a cat --{flag}", f"a cat --{flag} 6.1", f"a cat —{flag.upper()} x --seed 3"):
        with pytest.raises(Refused) as refused:
            parse(text)
        assert refused.value.code == NO_COUNTERPART[flag]
        assert str(refused.value.params["flag"]).casefold() == flag


def test_no_flag_of_ours_is_called_one_of_midjourneys() -> None:
    assert not NO_COUNTERPART.keys() & {*options(), *SHORT, *OTHERS}


def test_loras_can_be_named_several_times() -> None:
    assert parse("a --lora x:0.5 --lora y").given == {"lora": ("x:0.5", "y")}
    assert parse("a --lora x --lora_weight 0.5").given == {"lora": ("x",), "lora_weight": 0.5}


def test_loras_of_flags_and_of_the_option_come_together() -> None:
    given = {"prompt": "", "lora": "x", "lora_weight": 0.5}
    assert merge(parse("a --lora y:2"), given) == {
        "prompt": "a",
        "lora": (LoraUse("x", 0.5), "y:2"),
    }
    assert merge(parse("a --lora y --lora_weight 2"), {"prompt": "", "lora": "x"}) == {
        "prompt": "a",
        "lora": ("x", LoraUse("y", 2.0)),
    }


def test_a_tag_may_stand_behind_flags_and_hold_dashes() -> None:
    parsed = parse("a cat --ar 3:2 <lora:x:0.8> --steps 3<lora:y>")
    assert parsed == Parsed("a cat <lora:x:0.8><lora:y>", {"aspect": "3:2", "steps": 3})
    text = "a <lora:my --seed 5:1> cat"
    assert parse(text) == Parsed(text, {})


PASTED = (
    "a cat, (big:1.2)\nand a dog\nNegative prompt: fog,\nrain\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, Model: demo, Version: v1.9"
)


def test_pasted_generation_data_are_taken_apart() -> None:
    parsed = parse(PASTED)
    assert parsed.prompt == "a cat, (big:1.2)\nand a dog"
    assert parsed.pasted["negative_prompt"] == "fog,\nrain"
    assert parsed.ignored == ("Version",)
    assert parse(PASTED.replace("\n", "\r\n")) == parsed
    one_line = parse(PASTED.replace("\n", " "))
    assert one_line.prompt == "a cat, (big:1.2) and a dog"
    assert one_line.pasted == parsed.pasted | {"negative_prompt": "fog, rain"}
    assert merge(parsed, {"prompt": PASTED}) == {**parsed.pasted, "prompt": parsed.prompt}


def test_options_and_flags_win_over_pasted_data() -> None:
    merged = merge(parse(PASTED + " --steps 4 --ar 3:2"), {"prompt": "", "seed": -1})
    assert (merged["steps"], merged["seed"], merged["aspect"]) == (4, -1, "3:2")
    assert "width" not in merged
    assert merged["model"] == "demo"


def test_pasted_data_without_a_prompt_are_refused() -> None:
    with pytest.raises(Refused, match="pasted_without_prompt"):
        parse(PASTED.splitlines()[-1])


def test_flags_and_options_are_one_request() -> None:
    parsed = parse("a cat --seed 5 --steps 30")
    given = {"prompt": "a cat --seed 5 --steps 30", "steps": 30, "model": "demo"}
    assert merge(parsed, given) == {"prompt": "a cat", "seed": 5, "steps": 30, "model": "demo"}


def test_a_flag_and_an_option_that_disagree_are_refused() -> None:
    with pytest.raises(Refused, match="flag_twice"):
        merge(parse("a cat --seed 5"), {"prompt": "", "seed": 6})


def test_a_side_is_the_nearest_that_can_be_drawn() -> None:
    assert parse("a --width 100 --height 101").given == {"width": 96, "height": 104}


def test_a_switch_is_on_by_its_flag_alone() -> None:
    for written, value in (("", "on"), ("on", "on"), ("yes", "on"), ("off", "off")):
        assert parse(f"a --differential {written} --steps 3").given["differential"] == value
