"""A second checkpoint that draws the last steps: how it is named, and when it is refused."""

from typing import Any

import pytest

from generation import metadata
from generation.checks import check
from generation.completion import changed, complete
from generation.models import ModelKind
from generation.preset import Preset
from generation.preset import check as check_preset
from generation.preset import complete as complete_preset
from generation.preset_making import of_request
from generation.prompt_flags import merge, parse
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.rules import Rules
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model

LORA: dict[str, Any] = {"kind": ModelKind.LORA}
CATALOG = a_catalog(
    a_model("big", family="sdxl", native_size=512),
    a_model("refiner", family="sdxl-refiner"),
    a_model("big: 0.5", family="sdxl"),
    a_model("small"),
    a_model("edits", variant="instruct-pix2pix"),
    a_model("second", family="sd2"),
    a_model("flow", family="hidream"),
    a_model("style", family="sdxl", **LORA),
    a_model("detail", family="sdxl-refiner", **LORA),
    a_model("old", **LORA),
)
RULES = Rules(default_model="big")


def asked(prompt: str = "a cat", **given: Any) -> GenerationRequest:
    parsed = parse(prompt)
    return complete(merge(parsed, given), CATALOG, RULES)


@pytest.mark.parametrize(
    ("prompt", "refiner", "switch"),
    [
        ("a cat --refiner refiner", "refiner", 0.8),
        ("a cat --refiner REFINER:0.6", "refiner", 0.6),
        ("a cat --refiner refiner --refiner-switch 0.5", "refiner", 0.5),
        ("a cat --refiner refiner.safetensors:1", "refiner", 1.0),
        ("a cat --refiner big: 0.5", "big: 0.5", 0.8),
        ("a cat --refiner big: 0.5:0.9", "big: 0.5", 0.9),
        ("a cat --refiner None", None, 0.8),
        ("a cat", None, 0.8),
    ],
)
def test_how_it_is_written(prompt: str, refiner: str | None, switch: float) -> None:
    request = asked(prompt)
    assert (request.prompt, request.refiner, request.refiner_switch) == ("a cat", refiner, switch)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"refiner": "small"}, "refiner_family", "Stable Diffusion 1"),
        ({"refiner": "big"}, "refiner_is_model", "big"),
        ({"refiner": "flow"}, "family_unsupported", "flow"),
        ({"refiner": "refine"}, "checkpoint_unknown", "refiner"),
        ({"refiner": "refine:0.5"}, "checkpoint_unknown", "refiner"),
        ({"refiner": "refiner:now"}, "checkpoint_unknown", "refiner"),
        ({"refiner": "refiner:1.5"}, "out_of_bounds", "1.5"),
        ({"refiner": "refiner:0.5", "refiner_switch": 0.6}, "refiner_switch_twice", "refiner"),
        ({"refiner_switch": 0.6}, "option_needs", "refiner"),
        ({"model": "small", "refiner": "edits"}, "start_picture_needed", "edits"),
        ({"refiner": "refiner", "lora": "old"}, "family_mismatch", "old"),
        ({"lora": "detail"}, "family_mismatch", "detail"),
    ],
)
def test_what_can_t_be_is_refused(given: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(**given)
    assert refused.value.code == code
    assert said in ", ".join(map(str, refused.value.params.values()))


def test_any_two_of_the_same_latents() -> None:
    assert asked(model="small", refiner="second").refiner == "second"
    assert asked(model="refiner", refiner="big").refiner == "big"
    for lora in ("style", "detail"):
        assert asked(refiner="refiner", lora=lora).loras[0].name == lora


def test_one_that_is_gone_is_refused_before_it_is_queued() -> None:
    with pytest.raises(Refused, match="checkpoint_unknown"):
        check(a_request(model="big", refiner="gone"), CATALOG, RULES)


def test_a_dialog_changes_it() -> None:
    request = asked(refiner="refiner:0.6")
    assert changed(request, {"steps": 9}, CATALOG, RULES).refiner_switch == 0.6
    other = changed(request, {"refiner": "big: 0.5:0.7"}, CATALOG, RULES)
    assert (other.refiner, other.refiner_switch) == ("big: 0.5", 0.7)
    assert changed(request, {"refiner": "none"}, CATALOG, RULES).refiner is None
    assert changed(request, {"refiner_switch": 0.1}, CATALOG, RULES).refiner_switch == 0.1
    with pytest.raises(Refused, match="option_needs"):
        changed(asked(), {"refiner_switch": 0.1}, CATALOG, RULES)
    # as the line of a dialog has it
    lined = changed(request.with_(refiner="REFINER:0.25"), {}, CATALOG, RULES)
    assert (lined.refiner, lined.refiner_switch) == ("refiner", 0.25)


@pytest.mark.parametrize("name", ["refiner", "big: 0.5"])
@pytest.mark.parametrize("hashed", [True, False])
def test_generation_data_name_it_as_a1111_does(name: str, hashed: bool) -> None:
    request = asked(refiner=name, refiner_switch=0.7)
    hashes = {f"checkpoint:{name}": "0123456789abcdef" * 4} if hashed else {}
    text = metadata.infotext(metadata.About(request=request, index=0, seed=1, hashes=hashes))
    shown = f"{name} [0123456789]" if hashed else name
    written = f'"{shown}"' if ":" in name else shown
    assert f"Refiner: {written}, Refiner switch at: 0.7," in text
    assert "Refiner switch by sampling steps: True" in text
    again = asked(text)
    assert (again.refiner, again.refiner_switch) == (name, 0.7)
    assert not any("Refiner" in key for key in parse(text).ignored)


def test_generation_data_of_others() -> None:
    text = (
        "a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler, Schedule type: Automatic, "
        "CFG scale: 7, Seed: 5, Size: 64x64, Model hash: 31e35c80fc, Model: big, "
        "Refiner: refiner [7440042bbd], Refiner switch at: 0.6, Version: v1.10.1"
    )
    request = asked(text)
    assert (request.refiner, request.refiner_switch, request.steps) == ("refiner", 0.6, 20)
    # a flag names another, which takes over where it does by itself
    flagged = asked(f"{text} --refiner big: 0.5")
    assert (flagged.refiner, flagged.refiner_switch) == ("big: 0.5", 0.8)
    none = text.replace("refiner [7440042bbd]", "None")
    assert asked(none).refiner is None


def test_a_preset_has_one() -> None:
    preset = Preset(name="fine", refiner="refiner", refiner_switch=0.6)
    request = complete_preset({"prompt": "a cat"}, preset, CATALOG, RULES)
    assert (request.refiner, request.refiner_switch) == ("refiner", 0.6)
    assert of_request("fine", request).refiner == "refiner"
    assert of_request("fine", request).refiner_switch == 0.6
    other = {"prompt": "a cat", "refiner": "big: 0.5"}
    request = complete_preset(other, preset, CATALOG, RULES)
    assert (request.refiner, request.refiner_switch) == ("big: 0.5", 0.8)
    assert complete_preset(other | {"refiner": "none"}, preset, CATALOG, RULES).refiner is None
    alone = Preset(name="late", refiner_switch=0.9)
    assert complete_preset({"prompt": "a cat"}, alone, CATALOG, RULES).refiner is None
    check_preset(preset, CATALOG)
    for wrong, code in (
        (Preset(name="a", refiner="refine"), "checkpoint_unknown"),
        (Preset(name="a", refiner="flow"), "family_unsupported"),
        (Preset(name="a", model="small", refiner="refiner"), "refiner_family"),
    ):
        with pytest.raises(Refused, match=code):
            check_preset(wrong, CATALOG)
    assert of_request("plain", asked()).refiner_switch is None
