"""A request changed in a dialog: lines, flags, tags and pasted generation data together."""

from typing import Any

import pytest
from hypothesis import given

from bot.requests.editing import Edited, edited, preset_named
from bot.requests.parameter_lines import write
from generation.catalog import Catalog
from generation.models import ModelKind
from generation.preset import Preset
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_parts import LoraUse
from generation.rules import Limits, Rules
from tests.fixtures.requests import a_request
from tests.unit.generation import texts
from tests.unit.generation.catalogs import a_catalog, a_model

CATALOG = a_catalog(
    a_model("demo", native_size=128),
    a_model("other"),
    *(a_model(name, kind=ModelKind.LORA) for name in ("pixel", "sketch")),
    a_model("edges", kind=ModelKind.CONTROLNET),
)


def edit(
    base: GenerationRequest,
    prompt: str | None = None,
    negative: str | None = None,
    lines: str | None = None,
    catalog: Catalog = CATALOG,
    **preset: Any,
) -> Edited:
    """Hand in the dialog of a request with some of its fields changed."""
    return edited(
        base,
        base.prompt.strip() if prompt is None else prompt,
        base.negative_prompt.strip() if negative is None else negative,
        write(base) if lines is None else lines,
        catalog,
        Rules(limits=Limits()),
        **preset,
    )


@given(texts.requests())
def test_what_is_not_touched_stays_to_the_last_digit(request: GenerationRequest) -> None:
    vaes = [] if request.vae is None else [a_model(request.vae, kind=ModelKind.VAE)]
    loras = [a_model(use.name, kind=ModelKind.LORA) for use in request.loras]
    refiners = [] if request.refiner is None else [a_model(request.refiner)]
    faces = [a_model(request.face_model or "-", kind=ModelKind.FACE_RESTORER)]
    catalog = a_catalog(a_model(request.model), *refiners, *vaes, *loras, *faces)
    assert edit(request, catalog=catalog) == Edited(request)


def test_a_prompt_that_is_written_anew_is_drawn_anew() -> None:
    base = a_request(prompt="a cat", template="a {cat|dog}", negative_prompt="{x}")
    kept = edit(base, negative="fog").request
    assert (kept.prompt, kept.template) == ("a cat", "a {cat|dog}")
    assert (kept.negative_prompt, kept.negative_template) == ("fog", None)
    plain = edit(base, prompt="a fox").request
    assert (plain.prompt, plain.template) == ("a fox", None)
    # what was written before braces meant something stays
    assert plain.negative_prompt == "{x}"
    drawn = edit(base, prompt="a {fox} --no {fog|fog}").request
    assert (drawn.prompt, drawn.template) == ("a fox", "a {fox}")
    assert (drawn.negative_prompt, drawn.negative_template) == ("fog", "{fog|fog}")


@pytest.mark.parametrize(
    ("prompt", "change"),
    [
        ("a dog", {"prompt": "a dog"}),
        ("a dog --steps 9 --no fog", {"steps": 9, "negative_prompt": "fog"}),
        ("a dog --ar 16:9", {"width": 168, "height": 96}),
        ("a dog --m OTHER", {"model": "other"}),
        ("a dog --m other --ar 3:2", {"model": "other", "width": 624, "height": 416}),
        ("a dog --sampler euler A", {"sampler": "Euler a"}),
        ("a dog --lora sketch:0.5", {"loras": [("pixel", 1.0), ("sketch", 0.5)]}),
        ("a dog --lora sketch --lora_weight 2", {"loras": [("pixel", 1.0), ("sketch", 2.0)]}),
        ("a dog <lora:Pixel:0.25>", {"loras": [("pixel", 0.25)], "prompt": "a dog"}),
        ("(a dog:1.2)", {"prompt": "(a dog:1.2)"}),
    ],
)
def test_flags_and_tags_work_as_they_do_in_a_command(prompt: str, change: dict[str, Any]) -> None:
    found = edit(a_request(loras=[{"name": "pixel"}]), prompt).request
    shown = {name: getattr(found, name) for name in change}
    if "loras" in shown:
        shown["loras"] = [(use.name, use.weight) for use in found.loras]
    assert shown == change


def test_a_random_seed_is_drawn() -> None:
    assert len({edit(a_request(), "a dog --seed -1").request.seed for _ in range(5)}) == 5
    varied = edit(a_request(), "a dog --variation_strength 0.5").request
    assert varied.variation_seed is not None


def test_private_is_told() -> None:
    assert edit(a_request(), "a dog --private").private is True
    assert edit(a_request(), "a dog --private no").private is False


NIGHT = Preset(
    name="night",
    template="{prompt}, at night <lora:sketch:0.5>",
    model="other",
    steps=7,
    guidance=3.0,
    negative_prompt="sun",
    width=64,
    height=64,
    loras=(LoraUse("pixel", 0.25),),
)


def test_a_preset_is_under_what_was_changed_and_over_what_was_not() -> None:
    base = a_request(negative_prompt="fog")
    assert preset_named("a dog --preset night", base) == "night"
    assert preset_named(base.prompt, base) is None
    found = edit(base, "a dog --preset night --steps 9", under=NIGHT).request
    assert (found.prompt, found.model) == ("a dog, at night", "other")
    assert (found.steps, found.guidance_scale, found.negative_prompt) == (9, 3.0, "sun")
    assert (found.width, found.height, found.seed) == (64, 64, base.seed)
    assert [(use.name, use.weight) for use in found.loras] == [("pixel", 0.25), ("sketch", 0.5)]
    lines = write(base).replace("steps: 4", "steps: 6")
    found = edit(base, "a dog --preset night --ar 16:9", "rain", lines, under=NIGHT).request
    assert (found.steps, found.negative_prompt) == (6, "rain")
    assert found.width / found.height > 1.5


def test_a_preset_s_text_is_put_around_a_prompt_once() -> None:
    found = edit(a_request(), "a dog, at night --preset night", under=NIGHT, framed=True).request
    assert found.prompt == "a dog, at night"


def test_pasted_data_win_over_a_preset() -> None:
    found = edit(a_request(), PASTED + " --preset night", under=NIGHT).request
    assert (found.steps, found.sampler, found.negative_prompt) == (20, "Euler a", "fog")


def test_a_controlnet_is_changed_and_none_added() -> None:
    base = a_request(controls=[{"name": "edges", "picture": "0" * 64}])
    assert edit(base, "a dog --control_scale 0.5").request.controls[0].scale == 0.5
    [use] = edit(base, "a dog --controlnet edges:end=0.5").request.controls
    assert (use.name, use.scale, use.end) == ("edges", 1.0, 0.5)
    half = a_request(controls=[{"name": "edges", "picture": "0" * 64, "scale": 0.5}])
    [use] = edit(half, "a dog --controlnet edges:start=0.2").request.controls
    assert (use.scale, use.start) == (0.5, 0.2)
    assert edit(half, "a dog --controlnet edges:1").request.controls[0].scale == 1.0
    with pytest.raises(Refused, match="controls_not_added"):
        edit(a_request(), "a dog --controlnet edges")


PASTED = (
    "a fox <lora:sketch:0.5>\nNegative prompt: fog\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 99, Size: 256x192, Denoising strength: 0.4"
)


def test_pasted_generation_data_take_the_place_of_what_was_filled_in() -> None:
    base = a_request(negative_prompt="rain")
    found = edit(base, PASTED).request
    assert (found.prompt, found.negative_prompt) == ("a fox", "fog")
    assert (found.steps, found.sampler, found.guidance_scale) == (20, "Euler a", 7.0)
    assert (found.seed, found.width, found.height) == (99, 256, 192)
    assert [(use.name, use.weight) for use in found.loras] == [("sketch", 0.5)]
    assert found.denoising_strength == base.denoising_strength


def test_what_was_changed_beside_pasted_data_wins() -> None:
    base = a_request(negative_prompt="rain")
    lines = write(base).replace("steps: 4", "steps: 6")
    found = edit(base, PASTED, "snow", lines).request
    assert (found.steps, found.negative_prompt, found.sampler) == (6, "snow", "Euler a")


def test_flags_behind_pasted_data_win() -> None:
    found = edit(a_request(), PASTED + " --ar 16:9 --steps 7 --seed 3").request
    assert (found.width, found.height, found.steps, found.seed) == (168, 96, 7, 3)
    assert found.sampler == "Euler a"


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("a dog --v 6", "midjourney_version"),
        ("a dog --ar 9:1", "aspect_wrong"),
        ("a dog --ar 3:2 --width 64", "aspect_and_size"),
        ("a dog --lora pixl", "lora_unknown"),
        ("a dog --lora_weight 0.5", "option_needs"),
        ("<lora:pixel:1>", "prompt_empty"),
        ("a dog --m nothing", "checkpoint_unknown"),
        ("\ud83d", "text_unusable"),
    ],
)
def test_what_is_wrong_is_refused(prompt: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        edit(a_request(), prompt)
    assert refused.value.code == code
