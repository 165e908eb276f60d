"""What a model's family can't do is refused before it is queued; what it doesn't read is said."""

from typing import Any

import pytest

from generation import abilities
from generation.completion import complete
from generation.families import FAMILIES
from generation.models import ModelKind
from generation.refusal import Refused
from generation.rules import Rules
from generation.samplers import SAMPLERS
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model

ALL = ("vae", "clip_l", "t5xxl")
DEV = a_model("dev", family="flux", carries=ALL)
SCHNELL = a_model("fast", family="flux", variant="schnell", carries=ALL)
BARE = a_model("bare", family="sd3.5", carries=("vae", "clip_l", "clip_g"))
WHOLE = a_model("whole", family="sd3.5", carries=("vae", "clip_l", "clip_g", "t5xxl"))
WORDS = ("vae", "qwen3-4b")
BASE = a_model("z", family="z-image", carries=WORDS)
CHROMA = a_model("chroma", family="chroma", carries=("vae", "t5xxl"))
KLEIN = a_model("klein", family="flux2-klein-4b", carries=WORDS)
KLEIN_BASE = a_model("klein-base", family="flux2-klein-4b", variant="base", carries=WORDS)
TURBO = a_model("z-fast", family="z-image", variant="turbo", carries=WORDS)
CATALOG = a_catalog(
    DEV,
    BASE,
    CHROMA,
    KLEIN,
    KLEIN_BASE,
    TURBO,
    SCHNELL,
    a_model("dream"),
    a_model("ae", kind=ModelKind.VAE, family="flux"),
    a_model("fine", kind=ModelKind.VAE, family="sd1"),
    a_model("edges", kind=ModelKind.CONTROLNET),
)


def asked(**given: Any) -> Any:
    return complete({"prompt": "a cat", "model": "dev", **given}, CATALOG, Rules())


def refusal(**given: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        asked(**given)
    return refused.value


def test_what_is_usual_is_the_variants() -> None:
    dev, schnell = asked(), asked(model="fast")
    assert (dev.steps, dev.guidance_scale, dev.width, dev.height) == (20, 3.5, 1024, 1024)
    assert (schnell.steps, schnell.guidance_scale) == (4, 1.0)
    base, turbo = asked(model="z"), asked(model="z-fast")
    assert (base.steps, base.guidance_scale) == (28, 5.0)
    klein, klein_base = asked(model="klein"), asked(model="klein-base")
    assert (klein.steps, klein.guidance_scale) == (4, 1.0)
    assert (klein_base.steps, klein_base.guidance_scale) == (20, 4.0)
    assert (asked(model="chroma").guidance_scale, asked(model="chroma").schedule) == (4.0, "Beta")
    assert (turbo.steps, turbo.guidance_scale) == (8, 1.0)
    assert (dev.sampler, dev.schedule) == (schnell.sampler, schnell.schedule) == ("Euler", "Simple")


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({"sampler": "DPM++ 2M"}, "Simple"),
        ({"sampler": "DPM++ 2M Karras"}, "Karras"),
        ({"schedule": "beta"}, "Beta"),
        ({"schedule": "Automatic"}, "Simple"),
    ],
)
def test_the_usual_schedule_gives_way_to_what_is_said(given: dict[str, Any], schedule: str) -> None:
    assert asked(**given).schedule == schedule


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_for_noise_that_lies_on_the_picture_are_refused(sampler: str) -> None:
    if sampler not in ("Restart", "TCD"):
        assert asked(model="z", sampler=sampler).sampler == sampler
        return
    found = refusal(model="z", sampler=sampler)
    assert (found.code, found.params["name"]) == ("sampler_no_flow", sampler)
    assert sampler not in str(found.params["others"]).split(", ")


@pytest.mark.parametrize("model", ["dev", "fast", "klein", "z-fast"])
def test_cfg_pp_is_refused_where_no_negative_prompt_is_read(model: str) -> None:
    found = refusal(model=model, sampler="DDIM CFG++")
    assert (found.code, found.params["model"]) == ("sampler_no_negative", model)
    for other in str(found.params["others"]).split(", "):
        assert asked(model=model, sampler=other).sampler == other


def test_a_schedule_of_stable_diffusions_levels_is_refused() -> None:
    assert refusal(schedule="Align Your Steps").code == "schedule_no_flow"
    assert asked(schedule="Align Your Steps", model="dream").schedule == "Align Your Steps"


@pytest.mark.parametrize(
    ("given", "option", "nearest"),
    [
        ({"width": 1000}, "width", 992),
        ({"height": 1000, "width": 992}, "height", 992),
        ({"width": 72, "height": 64}, "width", 64),
    ],
)
def test_a_side_that_is_no_multiple_is_named_with_the_nearest(
    given: dict[str, int], option: str, nearest: int
) -> None:
    found = refusal(**given)
    assert (found.code, found.params["option"]) == ("side_step", option)
    assert (found.params["step"], found.params["nearest"]) == (16, nearest)
    assert asked(**given, model="dream").width % 16 in (0, 8)


@pytest.mark.parametrize("aspect", ["3:2", "16:9", "21:9", "4:3"])
def test_aspects_are_drawn_in_multiples(aspect: str) -> None:
    request = asked(aspect=aspect)
    assert (request.width % 16, request.height % 16) == (0, 0)
    assert request.width * request.height <= 1024**2


def test_prompts_that_are_joined_by_and_are_refused() -> None:
    assert refusal(prompt="a cat AND a dog").code == "and_unread"
    assert refusal(prompt="a cat AND a dog", model="z").code == "and_unread"
    assert asked(prompt="a cat AND a dog", model="dream").prompt == "a cat AND a dog"


def test_what_it_has_no_ability_for_is_refused_by_name() -> None:
    assert refusal(clip_skip=2).params["what"] == "clip_skip"
    control = refusal(model="chroma", control_picture="0" * 64, controlnet="edges")
    assert control.params["what"] == "control_picture"
    assert refusal(vae="fine").code == "family_mismatch"
    assert asked(vae="ae").vae == "ae"


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (DEV, {}, ()),
        (DEV, {"guidance_scale": 9.0}, ()),
        (DEV, {"negative_prompt": "fog"}, ("negative_unread",)),
        (DEV, {"prompt": "a (red:1.3) cat"}, ("weights_unread",)),
        (DEV, {"prompt": "a [red:blue:0.5] cat BREAK fog"}, ()),
        (SCHNELL, {"guidance_scale": 1.0}, ()),
        (SCHNELL, {"guidance_scale": 7.0}, ("guidance_unread",)),
        (BARE, {}, ("encoder_absent",)),
        (WHOLE, {"negative_prompt": "fog"}, ()),
        (WHOLE, {"prompt": "a (red:1.3) cat"}, ("weights_half_read",)),
        (BASE, {"negative_prompt": "fog"}, ()),
        (CHROMA, {"negative_prompt": "fog"}, ()),
        (KLEIN, {"negative_prompt": "fog", "guidance_scale": 1.0}, ("negative_unread",)),
        (KLEIN_BASE, {"negative_prompt": "fog"}, ()),
        (KLEIN_BASE, {"prompt": "a (red:1.3) cat"}, ("weights_unread",)),
        (CHROMA, {"prompt": "a (red:1.3) cat"}, ("weights_unread",)),
        (BASE, {"prompt": "a (red:1.3) cat"}, ("weights_unread",)),
        (
            TURBO,
            {"negative_prompt": "fog", "guidance_scale": 7.0},
            ("negative_unread", "guidance_unread"),
        ),
        (a_model("dream"), {"negative_prompt": "fog", "prompt": "a (red:1.3) cat"}, ()),
    ],
)
def test_what_is_not_read_is_said(model: Any, changes: dict[str, Any], said: tuple[str]) -> None:
    assert abilities.unread(a_request(model=model.name, **changes), model) == said


def test_every_variant_that_differs_can_be_drawn_with() -> None:
    for family in FAMILIES.values():
        assert family.versions.keys() <= family.variants
