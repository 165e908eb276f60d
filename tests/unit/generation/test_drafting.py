"""Drafts: what on disk makes a model fast, what is drawn then, and the way up."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from generation import abilities, completion, drafting, preset, preset_files, preset_making
from generation.families.fast import FastWay, way_of
from generation.model_settings import ModelSettings
from generation.models import ModelFile, ModelKind
from generation.preset import Preset
from generation.prompt_flags import merge, parse
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.rules import Limits, Rules
from tests.unit.generation.catalogs import a_catalog, a_model

RULES = Rules(default_model="dream", limits=Limits(pixels=2048 * 2048))
DREAM, BIG = a_model("dream"), a_model("big", family="sdxl")
FLUX = a_model("dev", family="flux", carries=("vae", "clip_l", "t5xxl"))


def lora(name: str, family: str = "sd1", **more: Any) -> ModelFile:
    return a_model(name, kind=ModelKind.LORA, family=family, **more)


def asked(text: str, *models: ModelFile, rules: Rules = RULES, **given: Any) -> GenerationRequest:
    catalog = a_catalog(DREAM, BIG, FLUX, *models)
    return completion.complete(merge(parse(text), given), catalog, rules)


@pytest.mark.parametrize(
    ("name", "family", "steps", "guidance", "sampler", "weight"),
    [
        ("sdxl_lightning_4step_lora", "sdxl", 4, 1, "Euler", 1),
        ("SDXL-Lightning-8steps", "sdxl", 8, 1, "Euler", 1),
        ("Hyper-SDXL-8steps-lora", "sdxl", 8, 1, "Euler", 1),
        ("Hyper-SDXL-12steps-CFG-lora", "sdxl", 12, 5, "Euler", 1),
        ("Hyper-SD15-4steps-lora", "sd1", 4, 1, "Euler", 1),
        ("dmd2_sdxl_4step_lora_fp16", "sdxl", 4, 1, "LCM", 1),
        ("lcm-lora-sdv1-5", "sd1", 6, 1.5, "LCM", 1),
        ("LCM_LoRA_Weights_SD15", "sd1", 6, 1.5, "LCM", 1),
        ("sd_xl_turbo_lora_v1", "sdxl", 4, 1, "Euler a", 1),
        ("tcd-sdxl-lora", "sdxl", 4, 1, "TCD", 1),
        ("Hyper-FLUX.1-dev-8steps-lora", "flux", 8, 3.5, "", 0.125),
        ("FLUX.1-Turbo-Alpha", "flux", 8, 3.5, "", 1),
        ("juggernautXL_v9Rdphoto2Lightning", "sdxl", 4, 1, "Euler", 1),
        ("DreamShaperXL_lightningDPMSDE", "sdxl", 4, 1, "Euler", 1),
        ("SDXLTurbo_fp16", "sdxl", 4, 1, "Euler a", 1),
        ("Qwen-Image-Lightning-4steps-V1.0", "qwen-image", 4, 1, "", 1),
    ],
)
def test_published_names_are_told(
    name: str, family: str, steps: int, guidance: float, sampler: str, weight: float
) -> None:
    way = way_of(lora(name, family), family)
    assert way is not None
    assert (way.steps, way.guidance_scale, way.sampler) == (steps, guidance, sampler)
    assert way.weight == weight


@pytest.mark.parametrize(
    "name",
    ["lightnings-in-the-sky", "hyperrealism", "turbocharged", "wlcm", "20steps", "detail", "xl"],
)
def test_words_that_only_begin_so_are_none(name: str) -> None:
    assert way_of(lora(name), "sd1") is None


@pytest.mark.parametrize(
    ("base", "family", "steps", "sampler"),
    [
        ("SDXL Lightning", "sdxl", 4, "Euler"),
        ("SDXL Hyper", "sdxl", 4, "Euler"),
        ("SDXL Turbo", "sdxl", 4, "Euler a"),
        ("SD 1.5 LCM", "sd1", 6, "LCM"),
        ("SD 1.5 Hyper", "sd1", 4, "Euler"),
    ],
)
def test_a_checkpoint_is_what_civitai_says_that_it_is_based_on(
    base: str, family: str, steps: int, sampler: str
) -> None:
    way = way_of(a_model("dream", family=family, base=base), family)
    assert way is not None
    assert (way.steps, way.sampler) == (steps, sampler)
    # a LoRA that was trained for such a model makes nothing fast
    assert way_of(lora("ink", family, base=base), family) is None
    assert way_of(a_model("dream", family=family, base="SDXL 1.0"), family) is None


def test_titles_and_trigger_words_count_where_they_mean_steps() -> None:
    for told in ({"titles": ("Hyper-SDXL-8steps",)}, {"trigger_words": ("hyper 8 steps",)}):
        way = way_of(lora("renamed", "sdxl", **told), "sdxl")
        assert way is not None
        assert way.steps == 8
    style: dict[str, Any] = {"titles": ("Lightning strikes",), "trigger_words": ("lightning",)}
    assert way_of(lora("storm", "sdxl", **style), "sdxl") is None
    assert way_of(lora("storm", "sdxl", base="SDXL Lightning", **style), "sdxl") is not None
    assert way_of(lora("storm", "sdxl", base="SDXL Hyper", **style), "sdxl") is None


def test_a_draft_takes_what_a_note_says_is_fast() -> None:
    fast = a_model("fast", family="sdxl", base="SDXL Lightning")
    request = asked("a fox --model big --draft", fast)
    assert (request.model, request.steps, request.guidance_scale) == ("fast", 4, 1)


def test_a_model_whose_family_draws_in_few_steps_is_drawn_as_ever() -> None:
    """Whatever is in its name: Z-Image Turbo is guided by nothing."""
    carried = ("vae", "qwen3-4b")
    turbo = a_model("z_image_turbo", family="z-image", variant="turbo", carries=carried)
    plain, draft = (asked(f"a fox --model z_image_turbo{more}", turbo) for more in ("", " --draft"))
    assert (draft.steps, draft.guidance_scale) == (plain.steps, plain.guidance_scale) == (8, 1)


def test_a_folder_tells_too_what_its_file_does_not() -> None:

    path = Path("loras/lcm-lora-sdv1-5/pytorch_lora_weights.safetensors")
    file = msgspec.structs.replace(lora("pytorch_lora_weights"), path=path)
    assert way_of(file, "sd1") is not None
    # LCM's sampler is of no use for flow models
    assert way_of(lora("lcm", "flux"), "flux") is None


def test_a_lora_makes_it_fast() -> None:
    request = asked("a fox --draft", lora("lcm-lora-sdv1-5"), lora("detail"), steps=30)
    assert request.mode == "draft"
    assert [(use.name, use.weight) for use in request.loras] == [("lcm-lora-sdv1-5", 1)]
    # what somebody says holds
    assert (request.steps, request.guidance_scale, request.sampler) == (30, 1.5, "LCM")
    assert request.full is not None
    assert (request.full.lora, request.full.steps) == ("lcm-lora-sdv1-5", 30)
    assert (request.full.sampler, request.full.guidance_scale) == ("DPM++ 2M", 7)
    plain = asked("a fox --draft", lora("lcm-lora-sdv1-5"))
    assert (plain.steps, plain.schedule) == (6, "SGM Uniform")


def test_only_one_that_fits_does() -> None:
    others = (lora("sdxl_lightning_4step", "sdxl"), lora("lightning-control", variant="control"))
    assert asked("a fox --draft", others[0]).loras == ()
    assert asked("a fox --draft --model big", *others[:1]).steps == 4
    # of one's own LoRAs one that makes it fast is not doubled
    own = asked("a fox <lora:lcm:0.8> --draft", lora("lcm"), lora("hyper-sd15-8steps"))
    assert [(use.name, use.weight) for use in own.loras] == [("lcm", 0.8)]
    assert (own.steps, own.sampler) == (6, "LCM")


def test_a_distilled_sibling_does_where_there_is_no_lora() -> None:
    sibling = a_model("dreamLightning_4steps")
    request = asked("a fox --draft", sibling)
    assert (request.model, request.steps, request.guidance_scale) == (sibling.name, 4, 1)
    assert request.full is not None
    assert (request.full.model, request.full.steps) == ("dream", 20)
    # one of another family or kind is none
    inpainting = a_model("turbo-inpainting", variant="inpainting", input_channels=9)
    assert asked("a fox --draft", inpainting, a_model("turbo", family="sdxl")).model == "dream"
    schnell = a_model("schnell", family="flux", variant="schnell", carries=FLUX.carries)
    drawn = asked("a fox --draft --model dev", schnell)
    assert (drawn.model, drawn.steps) == ("schnell", 4)


def test_fewer_steps_do_where_there_is_nothing_and_that_is_said() -> None:
    request = asked("a fox --draft")
    assert (request.steps, request.sampler, request.schedule) == (10, "DPM++ 2M", "Karras")
    assert "draft_plain" in abilities.unread(request, DREAM)
    flow = asked("a fox --draft --model dev")
    assert (flow.sampler, flow.schedule) == ("Euler", "Simple") or flow.steps < 20
    fast = asked("a fox --draft", lora("lcm"))
    assert "draft_plain" not in abilities.unread(fast, DREAM)
    assert asked("a fox --draft --steps 3").steps == 3


def test_a_fast_model_is_fast_already() -> None:
    turbo = a_model("dreamTurbo_4steps")
    request = asked("a fox --draft --model dreamTurbo_4steps", turbo, lora("lcm"))
    assert (request.model, request.steps, request.loras) == (turbo.name, 4, ())
    assert request.full is None
    rules = Rules(models={"dream": ModelSettings(steps=5)}, limits=RULES.limits)
    owners = asked("a fox --draft --model dream", lora("lcm"), rules=rules)
    assert (owners.steps, owners.loras, owners.full) == (5, (), None)


def test_hd_is_drawn_large_at_once() -> None:
    request = asked("a fox --hd")
    assert (request.mode, request.drawn_size, request.steps) == ("hd", (1024, 1024), 20)
    assert asked("a fox --hd --hires off").hires is None
    assert asked("a fox --hd --hires 1.5").hires == "1.5"
    tight = Rules(default_model="dream", limits=Limits(pixels=512 * 512))
    assert asked("a fox --hd", rules=tight).hires is None
    assert asked("a fox --hd", init_picture="a" * 64).hires is None


def test_the_way_up_draws_the_same_in_full() -> None:
    catalog = a_catalog(DREAM, lora("lcm"), lora("detail"))

    def drawn(text: str) -> GenerationRequest:
        return completion.complete(merge(parse(text), {"seed": 5}), catalog, RULES)

    draft = drawn("a fox <lora:detail:0.5> --draft")
    found = drafting.in_full(draft, catalog, RULES)
    assert found == drawn("a fox <lora:detail:0.5> --hd")
    assert (found.seed, [use.name for use in found.loras]) == (5, ["detail"])
    with pytest.raises(Refused, match="hd_no_draft"):
        drafting.in_full(found, catalog, RULES)
    # of a model that is fast already, and as large as it may be
    tight = Rules(models={"dream": ModelSettings(steps=4)}, limits=Limits(pixels=512 * 512))
    fast = completion.complete({"prompt": "a", "model": "dream", "mode": "draft"}, catalog, tight)
    with pytest.raises(Refused, match="hd_nothing_more"):
        drafting.in_full(fast, catalog, tight)


def test_a_preset_is_one_and_a_person_says_otherwise() -> None:
    catalog = a_catalog(DREAM, lora("lcm"))
    quick = Preset(name="quick", mode="draft", steps=40)

    def drawn(text: str) -> GenerationRequest:
        return preset.complete(merge(parse(text), {}), quick, catalog, RULES)

    assert (drawn("a fox").mode, drawn("a fox").steps) == ("draft", 6)
    assert (drawn("a fox --draft off").mode, drawn("a fox --draft no").steps) == (None, 40)
    assert drawn("a fox --mode full").full is None
    assert drawn("a fox --hd").mode == "hd"
    again = preset_making.of_request("again", drawn("a fox"))
    assert (again.mode, again.steps) == (None, 6)
    assert preset_files.from_toml(preset_files.to_toml([quick])) == [quick]


def test_a_dialog_changes_it() -> None:
    catalog = a_catalog(DREAM, BIG, lora("lcm"), lora("detail"))

    def edited(before: GenerationRequest, **changes: Any) -> GenerationRequest:
        return completion.changed(before.with_(**changes), {}, catalog, RULES, before)

    usual = completion.complete({"prompt": "a fox", "seed": 5, "guidance": 6.0}, catalog, RULES)
    draft = edited(usual, mode="draft")
    assert (draft.steps, draft.sampler) == (6, "LCM")
    assert edited(draft) == draft
    # without its line it is what it was, but for what is changed besides
    assert edited(draft, mode=None) == usual
    assert edited(draft, mode=None, steps=12) == usual.with_(steps=12)
    assert edited(draft, mode="hd").hires == "2"
    # another model is made fast by what fits it
    large = edited(draft, model="big")
    assert (large.loras, large.mode) == ((), "draft")
    assert large.full is not None
    assert large.full.model == "big"
    assert edited(draft, prompt="a dog").steps == 6


@pytest.mark.parametrize("flags", ["--draft please", "--hd 4k"])
def test_what_stands_behind_is_no_value(flags: str) -> None:
    with pytest.raises(Refused, match="flag_yes_or_no"):
        parse(f"a fox {flags}")


def test_both_are_refused_together() -> None:
    with pytest.raises(Refused, match="flag_twice"):
        parse("a fox --draft --hd")


def test_old_rows_are_read() -> None:
    kept = msgspec.to_builtins(asked("a fox"))
    for name in ("mode", "full", "hires"):
        del kept[name]
    assert msgspec.convert(kept, GenerationRequest).mode is None
    assert isinstance(way_of(lora("lcm"), "sd1"), FastWay)
