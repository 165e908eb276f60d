"""When a picture gets a hires pass, of which sizes, and how that is written and read."""

from typing import Any

import msgspec
import pytest

from generation import (
    completion,
    estimate,
    hires,
    hires_choice,
    hires_sizes,
    metadata,
    preset,
    preset_files,
    preset_making,
)
from generation.catalog import Catalog
from generation.checks import check
from generation.embedding_uses import of as embeddings_of
from generation.enlarging import second_pass as over_finished
from generation.families import family_of
from generation.hires import HiresSettings
from generation.hires_sizes import HiresSizes
from generation.memory_needs import task_of
from generation.memory_notes import job_key
from generation.models import ModelKind
from generation.preset import Preset
from generation.prompt_flags import merge, parse
from generation.refusal import Refused
from generation.request import HIRES, GenerationRequest
from generation.rules import Limits, Rules
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model

CATALOG: Catalog = a_catalog(
    a_model("demo", native_size=128),
    a_model("dream"),
    a_model("other"),
    a_model("big", family="sdxl"),
    a_model("flow", family="flux", carries=("vae", "clip_l", "t5xxl")),
    a_model("pixel", kind=ModelKind.LORA),
    a_model("net", kind=ModelKind.UPSCALER, family="upscaler"),
    a_model("badhand", kind=ModelKind.EMBEDDING),
)
RULES = Rules(default_model="dream", limits=Limits(pixels=2048 * 2048))
PICTURE = "a" * 64


def asked(text: str = "a cat", rules: Rules = RULES, **given: Any) -> GenerationRequest:
    return completion.complete(merge(parse(text), given), CATALOG, rules)


def refusal(text: str = "a cat", rules: Rules = RULES, **given: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(Refused) as refused:
        asked(text, rules, **given)
    return refused.value.code, dict(refused.value.params)


# sizes


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        *[("2", "2"), ("x2", "2"), ("1.5x", "1.5"), ("2,5", "2.5"), ("1", "1"), ("16", "16")],
        *[("1024x1536", "1024x1536"), ("1024 × 1536", "1024x1536"), ("1024x", "1024x0")],
        *[("x1536", "0x1536"), ("0x1536", "0x1536")],
        *[("0", None), ("off", None), (" OFF ", None), ("none", None), ("", None), ("0.0", None)],
    ],
)
def test_a_factor_a_size_or_off(text: str, kept: str | None) -> None:
    assert hires_sizes.read(text) == kept


@pytest.mark.parametrize("text", ["0.5", "17", "-2", "two", "1024x1536x3", "x", "123456x1", "1e3"])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    assert refusal(hires=text) == ("hires_wrong", {"value": text})


@pytest.mark.parametrize(
    ("kept", "first", "enlarged", "made"),
    [
        ("2", (512, 768), (1024, 1536), (1024, 1536)),
        # not a multiple of eight: latents are rounded down
        ("1.7", (512, 512), (870, 870), (864, 864)),
        ("1000x0", (512, 512), (1000, 1000), (1000, 1000)),
        ("0x1000", (512, 256), (2000, 1000), (2000, 1000)),
        # the second is narrower than the first, and then wider
        ("1024x1536", (832, 1216), (1050, 1536), (1024, 1536)),
        ("1536x1536", (1024, 576), (2730, 1536), (1536, 1536)),
        ("1536x640", (512, 512), (1536, 1536), (1536, 640)),
    ],
)
def test_sizes_are_reckoned_as_a1111_does(
    kept: str, first: tuple[int, int], enlarged: tuple[int, int], made: tuple[int, int]
) -> None:
    assert hires_sizes.of(kept, *first) == HiresSizes(enlarged, made)
    request = a_request(width=first[0], height=first[1], hires=kept)
    assert request.drawn_size == request.size == made
    assert (hires.second_pass(request).width, hires.second_pass(request).height) == made


def test_sides_are_multiples_of_what_the_family_draws() -> None:
    flow = asked(model="flow", width=688, height=688, hires="1.5")
    assert (flow.hires, flow.drawn_size) == ("1024x1024", (1024, 1024))
    assert asked(hires="1.7").drawn_size == (864, 864)
    code, params = refusal(model="flow", hires="1032x1032")
    assert (code, params["step"]) == ("side_step", 16)


# what nobody says


def test_what_a1111_has_holds_where_nobody_says() -> None:
    request = asked(hires="2")
    assert (request.hires, request.hires_upscaler, request.hires_denoising) == ("2", "Latent", 0.7)
    assert (request.hires_steps, request.hires_tile, request.drawn_size) == (None, 0, (1024, 1024))
    assert asked(hires="2", hires_upscaler="NET").hires_upscaler == "net"
    assert asked(hires="2", hires_upscaler="net").hires_denoising == 0.4
    assert asked(hires="2", hires_upscaler="latent (Bicubic)").hires_upscaler == "Latent (bicubic)"
    own = Rules(
        hires=HiresSettings(upscaler="lanczos", denoising=0.35, steps=9), limits=RULES.limits
    )
    request = asked(rules=own, model="dream", hires="2")
    assert (request.hires_upscaler, request.hires_denoising) == ("Lanczos", 0.35)
    assert request.hires_steps == 9
    # 0 is what somebody says, not nothing
    assert asked(rules=own, model="dream", hires="2", hires_steps=0).hires_steps is None
    assert asked(hires="2", hires_denoising=0.0).hires_denoising == 0


def test_a_small_model_keeps_to_what_an_upscaler_has_made() -> None:
    request = asked(model="demo", hires="2")
    assert (request.hires_upscaler, request.hires_denoising) == ("net", 0.05)
    assert asked(model="demo", hires="2", hires_upscaler="lanczos").hires_denoising == 0.05
    assert asked(model="demo", hires="2", hires_upscaler="latent").hires_denoising == 0.7


def test_flags_as_a1111s_people_know_them() -> None:
    request = asked(
        "a cat --hires 2 --hires-upscaler lanczos --hires-steps 7 --hires-denoising 0.5"
        " --hires-cfg 4 --hires-sampler euler a --hires-schedule karras --hires-checkpoint other"
        " --hires-prompt a dog --hires-negative-prompt fog"
    )
    assert request == request.with_(
        hires="2",
        hires_upscaler="Lanczos",
        hires_steps=7,
        hires_denoising=0.5,
        hires_guidance=4,
        hires_sampler="Euler a",
        hires_schedule="Karras",
        hires_model="other",
        hires_prompt="a dog",
        hires_negative_prompt="fog",
    )
    check(request, CATALOG, RULES)
    passed = hires.second_pass(request)
    assert (passed.steps, passed.guidance_scale, passed.sampler) == (7, 4, "Euler a")
    assert (passed.schedule, passed.model, passed.prompt) == ("Karras", "other", "a dog")
    assert (passed.negative_prompt, passed.denoising_strength) == ("fog", 0.5)
    assert all(getattr(passed, name) is None for name in HIRES)


def test_what_is_the_same_is_not_said() -> None:
    request = asked(
        hires="2", hires_model="Dream", hires_prompt="a cat", hires_sampler="Use same sampler"
    )
    assert (request.hires_model, request.hires_prompt, request.hires_sampler) == (None,) * 3
    old = asked(hires="2", hires_sampler="DPM++ 2M Karras")
    assert (old.hires_sampler, old.hires_schedule) == ("DPM++ 2M", "Karras")


def test_a_refiner_is_of_the_second_pass() -> None:
    request = a_request(refiner="other", hires="2")
    first, second = hires.passes(request)
    assert (first.refiner, second.refiner) == (None, "other")
    assert hires.passes(a_request(refiner="other")) == (a_request(refiner="other"),)


@pytest.mark.parametrize("name", [name for name in HIRES if name != "hires"])
def test_what_goes_along_needs_it(name: str) -> None:
    value: Any = {
        **dict.fromkeys(("hires_denoising", "hires_guidance"), 0.5),
        **dict.fromkeys(("hires_steps", "hires_tile"), 64),
    }.get(name, "other")
    assert refusal(**{name: value}) == ("option_needs", {"option": name, "needs": "hires"})
    assert refusal(**{"hires": "off", name: value})[0] == "option_needs"


# by itself


@pytest.mark.parametrize(
    ("size", "model", "first"),
    [
        ((1024, 1024), "dream", (512, 512)),
        ((832, 1216), "dream", (424, 616)),
        ((1920, 1088), "dream", (680, 384)),
        ((256, 256), "demo", (128, 128)),
        ((2048, 2048), "big", (1024, 1024)),
    ],
)
def test_what_is_far_too_large_is_drawn_small_first(
    size: tuple[int, int], model: str, first: tuple[int, int]
) -> None:
    request = asked(model=model, width=size[0], height=size[1])
    assert (request.width, request.height) == first
    assert request.hires == f"{size[0]}x{size[1]}"
    assert request.drawn_size == size
    check(request, CATALOG, RULES)
    # what was decided is decided: nothing is decided anew where it is drawn again
    assert completion.changed(request, {}, CATALOG, RULES, request) == request


@pytest.mark.parametrize(
    ("size", "model"),
    [((768, 768), "dream"), ((512, 768), "dream"), ((1152, 896), "big"), ((192, 192), "demo")],
)
def test_what_is_not_far_too_large_is_drawn_at_once(size: tuple[int, int], model: str) -> None:
    request = asked(model=model, width=size[0], height=size[1])
    assert (request.hires, request.size) == (None, size)


@pytest.mark.parametrize("off", ["off", "0", "no"])
def test_nothing_is_decided_for_whoever_says_otherwise(off: str) -> None:
    request = asked(f"a cat --hires {off}", width=1024, height=1024)
    assert (request.hires, request.size) == (None, (1024, 1024))
    owner = Rules(default_model="dream", limits=RULES.limits, hires=HiresSettings(automatic=False))
    assert asked(rules=owner, width=1024, height=1024).hires is None
    assert asked(rules=owner, hires="2").hires == "2"
    picture = asked(width=1024, height=1024, init_picture=PICTURE)
    assert (picture.hires, picture.size) == (None, (1024, 1024))
    said = asked(width=1024, height=1024, hires="1.5")
    assert (said.width, said.hires) == (1024, "1.5")


def test_an_edit_to_another_size_is_decided_anew_and_to_another_prompt_is_not() -> None:
    large = asked("a cat --hires off", width=1024, height=1024)
    again = large.with_(prompt="a dog")
    assert completion.changed(again, {}, CATALOG, RULES, large).hires is None
    larger = large.with_(width=1536)
    assert completion.changed(larger, {}, CATALOG, RULES, large).hires == "1536x1024"
    small = asked(hires="1024x1024")
    wide = completion.changed(small, {"aspect": "2:1"}, CATALOG, RULES, small)
    assert (wide.hires, wide.width, wide.height) == ("2", 728, 360)


# what is refused


def test_the_final_size_is_what_limits_count() -> None:
    rules = Rules(default_model="dream", limits=Limits(side=1024, pixels=1024 * 1024, steps=30))
    check(asked(rules=rules, hires="2"), CATALOG, rules)
    code, params = refusal(rules=rules, hires="2.5")
    assert (code, params["width"], params["high"]) == ("hires_size", 1280, 1024)
    pixels = Rules(default_model="dream", limits=Limits(pixels=1024 * 1024))
    code, params = refusal(rules=pixels, hires="2.5")
    assert (code, params["width"], params["height"]) == ("too_many_pixels", 1280, 1280)
    # an automatic one does not get round it
    assert refusal(rules=pixels, width=1536, height=1024)[0] == "too_many_pixels"
    code, params = refusal(rules=rules, hires="2", hires_steps=31)
    assert (code, params["option"], params["high"]) == ("out_of_bounds", "hires_steps", 30)
    steps = Preset(name="few", max_steps=25, max_pixels=1024 * 1024)
    for changes in ({"hires": "2", "hires_steps": 26}, {"hires": "2.5"}):
        with pytest.raises(Refused):
            preset.check_bounds(steps, asked(**changes))
    preset.check_bounds(steps, asked(hires="2", hires_steps=25))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"hires": "2", "init_picture": PICTURE}, "hires_with_picture"),
        ({"hires": "256x256"}, "hires_smaller"),
        ({"hires": "2", "hires_upscaler": "4x-UltraSharp"}, "upscaler_unknown"),
        ({"hires": "2", "hires_sampler": "Eulre"}, "sampler_unknown"),
        ({"hires": "2", "hires_schedule": "Karas"}, "schedule_unknown"),
        ({"hires": "2", "hires_model": "big"}, "refiner_family"),
        ({"hires": "2", "hires_model": "gone"}, "checkpoint_unknown"),
        ({"hires": "2", "hires_prompt": "a <lora:pixel:1> cat"}, "hires_tag"),
        ({"hires": "2", "hires_prompt": "(cat:1000)"}, "weight_too_strong"),
        ({"hires": "2", "hires_negative_prompt": "a <lora:pixel:1>"}, "tag_in_negative"),
        ({"hires": "2", "hires_prompt": "(" * 200 + "cat"}, "nested_too_deep"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict[str, Any], code: str) -> None:
    assert refusal(**given)[0] == code


def test_a_lora_that_acts_may_be_named_twice() -> None:
    request = asked("a cat <lora:pixel:1>", hires="2", hires_prompt="a dog <lora:pixel:1>")
    assert request.hires_prompt == "a dog"
    assert [use.name for use in request.loras] == ["pixel"]


# what it means elsewhere


def test_words_of_the_second_pass_count(tmp_path: Any) -> None:
    request = asked(hires="2", hires_prompt="a badhand", hires_negative_prompt="x")
    model = CATALOG.get(ModelKind.CHECKPOINT, "dream")
    assert [one.name for one in embeddings_of(request, model, CATALOG)] == ["badhand"]
    # from the third step of the second pass on
    late = asked("a [cat:badhand:23]", hires="2", steps=20)
    assert [one.name for one in embeddings_of(late, model, CATALOG)] == ["badhand"]


def test_wildcards_are_drawn_there_too(tmp_path: Any) -> None:
    (tmp_path / "colour.txt").write_text("red\n")
    rules = Rules(default_model="dream", limits=RULES.limits, wildcards=tmp_path)
    request = asked(rules=rules, hires="2", hires_prompt="a __colour__ {dog|dog}")
    assert request.hires_prompt == "a red dog"


def test_it_takes_as_long_and_as_much_memory_as_both_passes() -> None:
    plain, two = a_request(), a_request(hires="2", hires_steps=2)
    large = a_request(width=256, height=256, steps=2)

    def cost(request: GenerationRequest) -> float:
        return estimate.calls(request) * estimate.megapixels(request)

    assert cost(two) == pytest.approx(cost(plain) + cost(large))
    assert estimate.megapixels(two) == estimate.megapixels(large)
    family = family_of(CATALOG.get(ModelKind.CHECKPOINT, "demo"))
    needs = [task_of(request, family, (), 1) for request in (two, large)]
    assert (needs[0].denoise, needs[0].decode, needs[0].steps) == (
        *(needs[1].denoise, needs[1].decode),
        6,
    )
    model = CATALOG.get(ModelKind.CHECKPOINT, "demo")
    keys = {job_key(model, request, "float16") for request in (plain, two, large)}
    assert len(keys) == 3


def test_a_finished_picture_is_gone_over_without_it() -> None:
    made = {"picture": PICTURE, "upscaler": "net", "width": 1024, "height": 1024}
    made |= {"from_width": 512, "from_height": 512, "denoising_strength": 0.3}
    request = asked(hires="2").with_(enlargement=made)
    assert all(getattr(over_finished(request), name) is None for name in HIRES)


def test_what_it_is_added_to_stays_within_the_limits() -> None:
    small = asked()
    assert hires_choice.added(small, CATALOG, RULES).hires == "2"
    tight = Rules(limits=Limits(pixels=700 * 700))
    found = hires_choice.added(small, CATALOG, tight)
    assert found.drawn_size == (696, 696)
    check(found, CATALOG, tight)
    with pytest.raises(Refused, match="hires_enough"):
        hires_choice.added(small, CATALOG, Rules(limits=Limits(pixels=512 * 512)))
    with pytest.raises(Refused, match="hires_with_picture"):
        hires_choice.added(small.with_(init_picture=PICTURE), CATALOG, RULES)


# presets


def test_a_preset_says_it_and_a_person_says_otherwise() -> None:
    soft = Preset(name="soft", hires="1.5", hires_upscaler="net", hires_denoising=0.2)

    def drawn(text: str = "a cat", **given: Any) -> GenerationRequest:
        return preset.complete(merge(parse(text), given), soft, CATALOG, RULES)

    request = drawn()
    assert (request.hires, request.hires_upscaler, request.hires_denoising) == ("1.5", "net", 0.2)
    assert drawn("a cat --hires off").hires is None
    assert drawn(init_picture=PICTURE).hires is None
    assert drawn("a cat --hires 2 --hires-denoising 0.6").hires_denoising == 0.6
    # one that only says how goes along where somebody asks for it
    how = msgspec.structs.replace(soft, hires=None)
    assert preset.complete({"prompt": "a cat"}, how, CATALOG, RULES).hires is None
    found = preset.complete({"prompt": "a cat", "hires": "2"}, how, CATALOG, RULES)
    assert (found.hires_upscaler, found.hires_denoising) == ("net", 0.2)
    large = preset.complete({"prompt": "a cat", "width": 1024, "height": 1024}, how, CATALOG, RULES)
    assert (large.hires, large.hires_upscaler) == ("1024x1024", "net")
    again = preset_making.of_request("again", request)
    assert (again.hires, again.hires_upscaler, again.hires_denoising) == ("1.5", "net", 0.2)
    assert preset_files.from_toml(preset_files.to_toml([again])) == [again]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("hires", "huge"), ("hires_upscaler", "gone"), ("hires_sampler", "gone")],
        *[("hires_schedule", "gone"), ("hires_model", "big"), ("hires_prompt", "(a:1000)")],
    ],
)
def test_a_preset_that_names_what_is_not_there_is_refused(field: str, value: str) -> None:
    broken = msgspec.structs.replace(Preset(name="broken", model="dream"), **{field: value})
    with pytest.raises(Refused):
        preset.check(broken, CATALOG)


# infotext

FULL = (
    "a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler, Schedule type: Uniform, CFG scale: 7,"
    " Seed: 5, Size: 512x768, Model: dream, Denoising strength: 0.55, Hires upscale: 1.5,"
    " Hires steps: 12, Hires upscaler: Latent (bicubic), Hires sampler: DPM++ 2M,"
    ' Hires schedule type: Karras, Hires CFG Scale: 5, Hires prompt: "a dog, sharp",'
    " Hires negative prompt: rain, Hires checkpoint: other, Version: darkroom"
)


def infotext(request: GenerationRequest) -> str:
    return metadata.infotext(metadata.About(request=request, index=0, seed=request.seed))


def test_a1111s_keys_are_read_and_written_back_the_same() -> None:
    request = asked(FULL)
    assert (request.width, request.height, request.drawn_size) == (512, 768, (768, 1152))
    assert (request.hires_denoising, request.hires_steps) == (0.55, 12)
    assert (request.hires_upscaler, request.hires_sampler) == ("Latent (bicubic)", "DPM++ 2M")
    assert (request.hires_schedule, request.hires_guidance) == ("Karras", 5)
    assert (request.hires_prompt, request.hires_negative_prompt) == ("a dog, sharp", "rain")
    assert request.hires_model == "other"
    assert infotext(request) == FULL
    check(request, CATALOG, RULES)


@pytest.mark.parametrize(
    ("keys", "changes"),
    [
        ("Denoising strength: 0.4, Hires resize: 1024x1024, Hires upscaler: net",
         {"hires": "1024x1024", "hires_upscaler": "net", "hires_denoising": 0.4}),
        ("Denoising strength: 0.7, Hires resize: 1024x0, Hires upscaler: Latent",
         {"hires": "1024x0", "hires_denoising": 0.7}),
        ("Hires upscale: 2, Hires upscaler: None, Denoising strength: 0.2",
         {"hires": "2", "hires_upscaler": "Lanczos", "hires_denoising": 0.2}),
        ("Hires upscale: 2, Hires upscaler: Latent, Hires CFG scale: 3", {"hires_guidance": 3}),
        ("Hires upscale: 2, Hires Module 1: Use same choices, Hires sampler: Use same sampler",
         {"hires_sampler": None}),
        ("Hires upscale: 2, Hires checkpoint: other [0123456789]", {"hires_model": "other"}),
    ],
)  # fmt: skip
def test_others_data_are_read(keys: str, changes: dict[str, Any]) -> None:
    text = f"a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 512x512, {keys}"
    parsed = parse(text)
    assert parsed.ignored == ()
    request = completion.complete(merge(parsed, {}), CATALOG, RULES)
    assert request == request.with_(**changes)
    written = parse(infotext(request))
    assert completion.complete(merge(written, {"model": "dream"}), CATALOG, RULES) == request


def test_a_strength_alone_is_that_of_a_start_picture() -> None:
    text = "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Denoising strength: 0.4"
    assert asked(text).hires is None
    assert asked(text, init_picture=PICTURE).denoising_strength == 0.4
    # with a picture, A1111 has no hires pass
    assert asked(FULL, init_picture=PICTURE).hires is None
    assert asked(f"{FULL}", hires="off").hires is None


def test_what_is_enlarged_besides_has_keys_of_its_own() -> None:
    made = {"picture": PICTURE, "upscaler": "net", "width": 2048, "height": 2048}
    made |= {"from_width": 1024, "from_height": 1024, "denoising_strength": 0.3}
    text = infotext(asked(hires="2", seed=1).with_(enlargement=made))
    assert "Denoising strength: 0.7, Hires upscale: 2, Hires upscaler: Latent" in text
    assert "Postprocess upscale by: 2, Postprocess upscaler: net" in text
    assert "Postprocess denoising strength: 0.3" in text
