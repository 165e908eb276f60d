"""What a dialog shows is what it means when it is handed in unchanged."""

import contextlib
from typing import Any

import pytest
from hypothesis import example, given

from bot.requests.parameter_lines import read, write
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_options import options
from generation.request_parts import ControlUse, LoraUse
from tests.fixtures import fuzz
from tests.fixtures.requests import a_request
from tests.unit.generation import texts


@given(texts.requests())
@example(a_request(guidance_scale=26.289032, loras=[{"name": "foo:2", "weight": 0.1 + 0.2}]))
@example(a_request(model="全角：名", vae=" edge ", loras=[{"name": "a：0.5"}]))
@example(a_request(model='"a"', vae='"b', loras=[{"name": '"c": 1'}, {"name": "two\nlines\r\n"}]))
@example(a_request(variation_strength=0.3))
@example(
    a_request(
        variation_seed=None, lineage=[{"seed": 1, "strength": 0.1}], init_picture="0" * 64,
        denoising_strength=1 / 3, controls=[{"name": "a:b", "picture": "1" * 64, "scale": 1 / 3}],
    )
)  # fmt: skip
def test_what_is_shown_is_read_the_same(request: GenerationRequest) -> None:
    assert read(write(request), request) == request


def test_lines_are_written_short() -> None:
    assert write(a_request(loras=[{"name": "pixel", "weight": 0.5}])).splitlines() == [
        "model: demo", "width: 128", "height: 128", "steps: 4", "guidance: 3.5",
        "sampler: DPM++ 2M", "schedule: Uniform", "seed: 7", "count: 1", "clip_skip: 1",
        "lora: pixel:0.5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("steps:20", {"steps": 20}),
        ("width: 100\nheight: 101", {"width": 96, "height": 104}),
        ("STEPS ：20", {"steps": 20}),
        ("clip skip: 2", {"clip_skip": 2}),
        ("model: a: b", {"model": "a: b"}),
        ("model: 全角：名", {"model": "全角：名"}),
        ('model: "quoted" name', {"model": '"quoted" name'}),
        ("refiner: a: 0.5", {"refiner": "a: 0.5", "refiner_switch": 0.8}),
        ("refiner: a\nrefiner switch: 0.5", {"refiner": "a", "refiner_switch": 0.5}),
        ("steps: 9", {"refiner": None}),
        ("lora: x", {"loras": (LoraUse("x", 1.0),)}),
        ("lora: x : 0.5", {"loras": (LoraUse("x", 0.5),)}),
        ("lora: x：0.5", {"loras": (LoraUse("x", 0.5),)}),
        ("lora: x:2:0.5", {"loras": (LoraUse("x:2", 0.5),)}),
        ('lora: " x":0.5', {"loras": (LoraUse(" x", 0.5),)}),
        ('lora: " x"', {"loras": (LoraUse(" x", 1.0),)}),
        ("lora: x:te=0.5:unet=1", {"loras": (LoraUse("x", 1.0, 0.5),)}),
        ("lora: x：2：unet = 1", {"loras": (LoraUse("x", 1.0, 2.0),)}),
        (
            "controlnet: x:kind=depth\ncontrolnet: x:0.5:end=0.8:start = 0.1",
            {
                "controls": (
                    ControlUse("x", "0" * 64, kind="depth", automatic=True),
                    ControlUse("x", "1" * 64, 0.5, start=0.1, end=0.8, automatic=True),
                )
            },
        ),
        ("lora: x:1\nlora: x:1\nlora: y", {"loras": (LoraUse("x", 1.0), LoraUse("y", 1.0))}),
    ],
)
def test_how_lines_are_written(line: str, change: dict[str, Any]) -> None:
    base = a_request(controls=[{"name": "y", "picture": digit * 64} for digit in "01"])
    found = read(line, base)
    assert {name: getattr(found, name) for name in change} == change


def test_minus_one_draws_a_seed() -> None:
    for name in ("seed", "variation_seed"):
        found = {getattr(read(f"{name}: -1", a_request()), name) for _ in range(5)}
        assert len(found) == 5
        assert min(found) >= 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("steps", "parameter_line"),
        ("steps:", "parameter_line"),
        ("step: 20", "parameter_unknown"),
        ("x" * 4000 + ": 1", "parameter_unknown"),
        ("steps: many", "not_a_number"),
        ("steps: 20.5", "not_a_whole_number"),
        ("seed: " + "1" * 4301, "number_too_long"),
        ("seed: -2", "out_of_bounds_or_random"),
        ("guidance: inf", "out_of_bounds"),
        ("steps: 20\nsteps: 30", "parameter_twice"),
        ("lora: x:strong", "not_a_number"),
        ("lora: x:te=strong", "not_a_number"),
        ("lora: x:1:unet=5", "out_of_bounds"),
        ("lora: x:9", "out_of_bounds"),
        ("lora: x:1\nlora: x:2", "lora_twice"),
        ("\n".join(f"lora: l{n}:1" for n in range(9)), "loras_too_many"),
        ("lora: " + "x" * 600, "too_long"),
        ("lora: \ud83d", "text_unusable"),
        ("model: a\0", "text_unusable"),
        ("controlnet: edges:1", "controls_not_added"),
        ("controlnet: edges:kind=deep", "control_kind_unknown"),
        ("controlnet: edges:1:start=2", "control_share"),
        ("controlnet: edges:end=0.5:end=0.6", "control_parts"),
    ],
)
def test_what_is_wrong_is_named(line: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read(line, a_request())
    assert refused.value.code == code
    assert len(str(refused.value)) < 700


LINES = ["\n", *(f"{name}: " for name in options()), "20", "demo", "x:0.5", '"x"', "：", "lora: "]


@pytest.mark.parametrize("count", fuzz.CASES)
def test_whatever_is_handed_in_is_read_or_refused(count: int) -> None:
    base = a_request(controls=[{"name": "edges", "picture": "0" * 64}])
    for text in fuzz.texts(count, LINES, 12):
        with contextlib.suppress(Refused):
            read(text, base)
