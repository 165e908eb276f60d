"""Presets under what a person gives, and as TOML."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.locales import Texts
from generation import preset as presets
from generation import preset_files, preset_making, prompt_flags
from generation.catalog import Catalog
from generation.completion import Given
from generation.job import Job, JobState, Provenance
from generation.models import ModelKind
from generation.numerics import Numerics
from generation.preset import Preset
from generation.refusal import Refused
from generation.replay import changes, same_pictures
from generation.request_parts import LoraUse
from generation.rules import Rules
from tests.fixtures.requests import a_request, an_origin
from tests.unit.generation import texts
from tests.unit.generation.catalogs import a_catalog, a_model

PROJECT = Path(__file__).resolve().parents[3]
RULES = Rules(default_model="demo")


@pytest.fixture
async def catalog() -> Catalog:
    found = Catalog((PROJECT / "models",))
    await found.scan()
    return found


async def test_what_a_person_gives_wins(catalog: Catalog) -> None:
    preset = Preset(
        name="night", steps=3, guidance=2.0, negative_prompt="fog", template="{prompt} at night"
    )
    request = presets.complete({"prompt": " a fox ", "steps": 5}, preset, catalog, RULES)
    assert request.prompt == "a fox at night"
    assert (request.steps, request.guidance_scale, request.negative_prompt) == (5, 2.0, "fog")
    request = presets.complete({"prompt": "a", "negative_prompt": ""}, preset, catalog, RULES)
    assert request.negative_prompt == ""


def test_loras_of_a_preset_and_of_a_person() -> None:
    names = [f"style {number}" for number in range(9)]
    catalog = a_catalog(a_model("demo"), *(a_model(name, kind=ModelKind.LORA) for name in names))
    loras = (LoraUse(name="STYLE 0", weight=0.5), LoraUse(name="style 1"))
    preset = Preset(name="a", loras=loras)
    own: Given = {"prompt": "a", "lora": "Style 1", "lora_weight": 0.2}
    request = presets.complete(own, preset, catalog, RULES)
    # named as the catalogue does, and a person's weight wins
    assert request.loras == (
        LoraUse(name="style 0", weight=0.5),
        LoraUse(name="style 1", weight=0.2),
    )
    full = Preset(name="full", loras=tuple(LoraUse(name=name) for name in names[:8]))
    assert len(presets.complete({"prompt": "a"}, full, catalog, RULES).loras) == 8
    with pytest.raises(Refused, match="preset_loras"):
        presets.complete({"prompt": "a", "lora": names[8]}, full, catalog, RULES)


async def test_how_a_mask_is_drawn_holds_where_there_is_one(catalog: Catalog) -> None:
    inpainting = Preset(
        name="mend",
        mask_blur=9,
        masked_content="fill",
        inpaint_area="only masked",
        mask_padding=64,
    )
    masked: Given = {"prompt": "a cat", "init_picture": "0" * 64, "mask": "1" * 64}
    request = presets.complete({**masked, "mask_blur": 2}, inpainting, catalog, RULES)
    assert (request.mask_blur, request.masked_content) == (2, "fill")
    assert (request.inpaint_area, request.mask_padding) == ("only masked", 64)
    again = preset_making.of_request("mend", request)
    assert again.inpaint_area == "only masked"
    plain = presets.complete({"prompt": "a cat"}, inpainting, catalog, RULES)
    assert plain.masked_content == "original"
    assert preset_making.of_request("plain", plain).mask_blur is None


def test_an_ip_adapter_holds_where_there_is_a_picture() -> None:
    adapter: dict[str, Any] = {
        "kind": ModelKind.IPADAPTER,
        "variant": "base",
        "input_channels": 1024,
    }
    eyes = a_model("h", kind=ModelKind.CLIP_VISION, family="clip-vision-h", input_channels=1024)
    models = (a_model("demo"), a_model("flux", family="flux"), eyes)
    catalog = a_catalog(*models, a_model("plain", **adapter), a_model("other", **adapter))
    preset = Preset(name="a", ip_adapter="plain:start=0.2:join=average", image_weight=0.6)
    shown: Given = {"prompt": "a", "image_prompt": "0" * 64}
    [prompt] = presets.complete(shown, preset, catalog, RULES).image_prompts
    assert (prompt.name, prompt.weight, prompt.start, prompt.join) == ("plain", 0.6, 0.2, "average")
    again = preset_making.of_request("b", presets.complete(shown, preset, catalog, RULES))
    assert (again.ip_adapter, again.image_weight) == (preset.ip_adapter, 0.6)
    assert preset_files.from_toml(preset_files.to_toml([again])) == [again]
    assert presets.complete({"prompt": "a"}, preset, catalog, RULES).image_prompts == ()
    # what a person gives wins, and of another adapter nothing is the preset's
    weighed: Given = {**shown, "image_weight": 0.1}
    assert presets.complete(weighed, preset, catalog, RULES).image_prompts[0].weight == 0.1
    own: Given = {**shown, "ip_adapter": "other"}
    [prompt] = presets.complete(own, preset, catalog, RULES).image_prompts
    assert (prompt.name, prompt.weight, prompt.start) == ("other", 1.0, 0.0)
    presets.check(preset, catalog)
    for wrong, code in (
        (Preset(name="a", ip_adapter="none"), "ipadapter_unknown"),
        (Preset(name="a", ip_adapter="plain", model="flux"), "ipadapter_mismatch"),
        (Preset(name="a", ip_adapter="plain:kind=style", model="demo"), "image_kind_unknown"),
        (Preset(name="a", ip_adapter="plain:start=0.5:end=0.5"), "control_span"),
    ):
        with pytest.raises(Refused, match=code):
            presets.check(wrong, catalog)


async def test_conventions_of_a_preset_hold_but_over_pasted_data(catalog: Catalog) -> None:
    preset = Preset(name="a", conventions="comfyui")
    request = presets.complete({"prompt": "a"}, preset, catalog, RULES)
    assert request.conventions == "comfyui"
    assert preset_making.of_request("b", request).conventions == "comfyui"
    assert preset_making.of_request("b", request.with_(conventions="a1111")).conventions is None
    pasted = prompt_flags.parse("a\nSteps: 2, Sampler: Euler, CFG scale: 5, Seed: 3, Size: 64x64")
    given = prompt_flags.merge(pasted, {})
    assert presets.complete(given, preset, catalog, RULES).conventions == "a1111"
    flagged = prompt_flags.merge(prompt_flags.parse("a --conventions comfyui"), {})
    plain = presets.complete(flagged, Preset(name="a", conventions="a1111"), catalog, RULES)
    assert plain.conventions == "comfyui"


async def test_an_aspect_takes_the_place_of_a_size(catalog: Catalog) -> None:
    preset = Preset(name="wide", width=192, height=64)
    request = presets.complete({"prompt": "a"}, preset, catalog, RULES)
    assert (request.width, request.height) == (192, 64)
    request = presets.complete({"prompt": "a", "aspect": "square"}, preset, catalog, RULES)
    assert request.width == request.height


async def test_braces_of_a_template_are_text(catalog: Catalog) -> None:
    preset = Preset(name="a", template="{x} {prompt} {{y}}")
    assert presets.apply(preset, {"prompt": "{prompt}"})["prompt"] == "{x} {prompt} {{y}}"


def test_bounds_and_roles() -> None:
    preset = Preset(name="small", max_steps=4, max_count=2, max_pixels=128 * 128, roles=(7,))
    presets.check_bounds(preset, a_request(count=2))
    for change in ({"steps": 5}, {"count": 3}, {"width": 136}):
        with pytest.raises(Refused, match="preset_bound"):
            presets.check_bounds(preset, a_request(**change))
    # enlarging is free of the size alone
    presets.check_bounds(preset, a_request(width=136), enlarging=True)
    for change in ({"steps": 5}, {"count": 3}):
        with pytest.raises(Refused, match="preset_bound"):
            presets.check_bounds(preset, a_request(**change), enlarging=True)
    presets.check_roles(preset, (3, 7))
    presets.check_roles(Preset(name="all"), ())
    with pytest.raises(Refused, match="preset_for_roles"):
        presets.check_roles(preset, (3,))


def test_names_and_roles_are_read_as_they_are_found() -> None:
    text = '[[preset]]\nname = " a \\u2028"\nroles = [5, 6, 5]'
    assert preset_files.from_toml(text) == [Preset(name="a", roles=(5, 6))]


def test_first_presets_have_names_that_a_preset_may_have() -> None:
    loose = a_model(" of: " + "x" * 44 + " long")
    catalog = a_catalog(loose, a_model("\u2028"))
    found = preset_making.starters(catalog)
    assert found
    assert preset_files.from_toml(preset_files.to_toml(found)) == found


def test_a_form_shows_what_else_there_is() -> None:
    form = preset_files.to_form(Preset(name="x", steps=4))
    assert preset_files.from_toml(form) == [Preset(name="x", steps=4)]
    [whole] = preset_files.from_toml(form.replace("# ", ""))
    assert (whole.steps, whole.max_count, whole.loras[0].weight) == (4, 4, 0.8)
    assert {"name", *presets.EXAMPLES} == set(Preset.__struct_fields__)
    some = Preset(name="x", loras=(LoraUse(name="pixel", weight=0.5),))
    [again] = preset_files.from_toml(preset_files.to_form(some).replace("# steps", "steps"))
    assert (again.loras, again.steps) == (some.loras, 30)


def test_a_file_holds_everything() -> None:
    full = Preset(
        name="all of it",
        description="with “quotes” and\nlines",
        model="demo",
        template="{prompt}, {x}",
        steps=4,
        guidance=3.5,
        roles=(2**60,),
        loras=(LoraUse(name="pixel", weight=0.5), LoraUse(name="b")),
    )
    assert preset_files.from_toml(preset_files.to_toml([full, Preset(name="empty")])) == [
        full,
        Preset(name="empty"),
    ]


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("[[preset]\n", "preset_no_toml_line", "1"),
        ("name = 'a'", "preset_no_table", ""),
        ("[[preset]]\nsteps = 3", "preset_no_name", ""),
        ("[[preset]]\nname = ' '", "preset_no_name", ""),
        ("[[preset]]\nname = 'a'\nsteps = 'x'", "preset_value_wrong", "steps"),
        ("[[preset]]\nname = 'a'\nstep = 1", "preset_key_unknown", "steps"),
        ("[[preset]]\nname = 'a'\ntemplate = 'x'", "preset_template", ""),
        ("[[preset]]\nname = 'a:b'", "preset_name", ""),
        ('[[preset]]\nname = "a\\u0007b"', "preset_name", "a b"),
        ('[[preset]]\nname = "a\\u2028b"', "preset_name", "a b"),
        ('[[preset]]\nname = "a\\u0085b"', "preset_name", "a b"),
        ("[[preset]]\nname = 'a'\nsteps = 151", "out_of_bounds", "150"),
        ("[[preset]]\nname = 'a'\nwidth = 100", "no_multiple", "96"),
        ("[[preset]]\nname = 'a'\nmax_pixels = 99999999999", "out_of_bounds", "4194304"),
        ("[[preset]]\nname = 'a'\nsteps = true", "preset_value_wrong", "steps"),
        ("[[preset]]\nname = 'a'\nguidance = nan", "out_of_bounds", "guidance"),
        ("[[preset]]\nname = 'a'\nguidance = inf", "out_of_bounds", "guidance"),
        ("[[preset]]\nname = 3", "preset_value_wrong", "name"),
        ("[[preset]]\nname = 'a'\nroles = 3", "preset_value_wrong", "roles"),
        ("[[preset]]\nname = 'a'\nseed = -1", "preset_no_seed", ""),
        ('[[preset]]\nname = "a\\u0000"', "text_unusable", "name"),
        ('[[preset]]\nname = "a"\nloras = [{name = "\\u0000"}]', "text_unusable", "lora"),
        ("[[preset]]\nname = 'a'\nsteps = " + "1" * 4301, "preset_no_toml", ""),
        ("[[preset]]\nname = 'a'\nsteps = " + "1" * 400, "out_of_bounds", "steps"),
        ("x = " + "[" * 1000, "preset_no_toml_line", ""),
        ("x = " + "[\n" * 5000, "preset_no_toml", ""),
        ("x = " + "{a=" * 1000, "preset_no_toml_line", ""),
        ("x = " + "{a=[\n" * 1000, "preset_no_toml", ""),
        ("a." * 5000 + "b = 1", "preset_no_toml_line", ""),
        ("[" + "a." * 5000 + "b]", "preset_no_toml_line", ""),
        ('x = "' + '\\"' * 50_000, "preset_no_toml", ""),
        ("x = 2020-99-99", "preset_no_toml_line", ""),
        ("", "preset_no_table", ""),
        (f"[[preset]]\nname = '{'x' * 51}'", "too_long", "50"),
        ("[[preset]]\nname = 'a'\nsteps = 20.5", "not_a_whole_number", "20.5"),
        ("[[preset]]\nname = 'a'\ndescription = 3", "preset_value_wrong", "description"),
        ("[[preset]]\nname = 'a'\nroles = ['x']", "preset_value_wrong", "roles"),
        ("[[preset]]\nname = 'a'\nroles = [9999999999999999999999]", "preset_value_wrong", "roles"),
        ("[[preset]]\nname = 'a'\nloras = [3]", "preset_value_wrong", "loras"),
        ("[[preset]]\nname = 'a'\nloras = [{weight = 1}]", "preset_value_wrong", "loras"),
        (
            "[[preset]]\nname = 'a'\nloras = [{name = 'b', wieght = 1}]",
            "preset_value_wrong",
            "loras",
        ),
        ("[[preset]]\nname = 'a'\nloras = [{name = 'b', weight = 'x'}]", "preset_value_wrong", ""),
        ("[[preset]]\nname = 'a'\nloras = [{name = 'b', weight = 99}]", "out_of_bounds", "lora_"),
        ("[[preset]]\nname = 'a'\nloras = [{name = 'b', weight = nan}]", "out_of_bounds", "lora_"),
        (
            "[[preset]]\nname = 'a'\n" + "[[preset.loras]]\nname = 'b'\n" * 9,
            "loras_too_many",
            "8",
        ),
    ],
)
def test_wrong_files(text: str, code: str, named: str) -> None:
    with pytest.raises(Refused) as refused:
        preset_files.from_toml(text)
    assert refused.value.code == code
    assert named in str(refused.value.params)


@given(
    st.lists(
        st.builds(
            Preset,
            name=texts.names.map(lambda n: n[:50]).filter(
                lambda name: name and name == name.strip() and not presets.NOT_IN_NAMES.search(name)
            ),
            description=texts.spoken,
            model=st.none() | texts.names,
            template=st.none() | texts.spoken.map(lambda t: t.replace("{prompt}", "") + "{prompt}"),
            negative_prompt=st.none() | texts.spoken,
            steps=st.none() | st.integers(1, 150),
            guidance=st.none() | st.floats(0, 30),
            control_scale=st.none() | st.floats(0, 2),
            roles=st.lists(st.integers(0, 2**63 - 1), max_size=3, unique=True).map(tuple),
            loras=st.lists(st.builds(LoraUse, texts.names, st.floats(-4, 4)), max_size=8).map(
                tuple
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_is_written_is_read_the_same(several: list[Preset]) -> None:
    assert preset_files.from_toml(preset_files.to_toml(several)) == several
    for preset in several:
        assert preset_files.from_toml(preset_files.to_form(preset)) == [preset]


async def test_a_presets_texts_have_weights_and_loras_of_their_own(catalog: Catalog) -> None:
    name = catalog.loras[0].name
    preset = Preset(name="a", template=f"{{prompt}} <lora:{name}:0.5>")
    request = presets.complete({"prompt": "a cat", "seed": -1}, preset, catalog, RULES)
    assert (request.prompt, request.loras) == ("a cat", (LoraUse(name, 0.5),))
    assert request.seed >= 0


@pytest.mark.parametrize(
    "own", [{"lora": "Style", "lora_weight": 0.2}, {"prompt": "a cat <lora:style:0.2>"}]
)
def test_a_persons_weight_wins_over_a_tag_of_the_template(own: Given) -> None:
    found = a_catalog(a_model("demo"), a_model("style", kind=ModelKind.LORA))
    preset = Preset(name="a", template="{prompt} <lora:style:0.9>, ink")
    for loras in ((), (LoraUse("STYLE", 0.5),)):
        preset = msgspec.structs.replace(preset, loras=loras)
        request = presets.complete({"prompt": "a cat", **own}, preset, found, RULES)
        assert request.loras == (LoraUse("style", 0.2),)
        assert "lora" not in request.prompt
        # of the preset's own, the template's tag counts
        request = presets.complete({"prompt": "a cat"}, preset, found, RULES)
        assert request.loras == (LoraUse("style", 0.9),)


def test_what_is_wrong_is_never_said_in_the_librarys_words() -> None:
    """Whatever stands at a key, the sentence is one of ours."""
    values = ("true", "3", "-3", "2.5", "'x'", "[]", "[3]", "['x']", "{a = 1}", "1979-05-27", "nan")
    for key in Preset.__struct_fields__:
        name = "" if key == "name" else "name = 'a'\n"
        for value in values:
            try:
                preset_files.from_toml(f"[[preset]]\n{name}{key} = {value}")
            except Refused as refused:
                said = Texts("zh-CN")(refused.code, **refused.params)
                assert "Expected" not in said
                assert "…" not in said


async def test_what_is_not_there_is_refused(catalog: Catalog) -> None:
    presets.check(Preset(name="a", model="demo", sampler="euler"), catalog)
    for wrong in (
        Preset(name="a", model="dmeo"),
        Preset(name="a", sampler="Eulr"),
        Preset(name="a", loras=(LoraUse(name="nothing"),)),
        Preset(name="a", template="{prompt} <lora:nothing:1>"),
    ):
        with pytest.raises(Refused, match="_unknown"):
            presets.check(wrong, catalog)


async def test_a_template_is_checked_as_a_prompt_is(catalog: Catalog) -> None:
    for template, code in (
        ("{prompt} <hypernet:x:1>", "tag_hypernet"),
        ("{prompt}, (fog:500)", "weight_too_strong"),
        ("{prompt} <lora:x", "tag_open"),
    ):
        with pytest.raises(Refused, match=code):
            presets.check(Preset(name="a", template=template), catalog)


async def test_starters_are_the_models(catalog: Catalog) -> None:
    found = preset_making.starters(catalog)
    assert found is not None
    assert found[0] == Preset(name="demo", model="demo")
    for preset in found:
        presets.check(preset, catalog)


def test_there_are_no_starters_before_the_models_are_known() -> None:
    assert preset_making.starters(Catalog(())) is None


def test_a_preset_of_a_request_makes_it_again(catalog: Catalog) -> None:
    request = a_request(steps=3, clip_skip=2, negative_prompt="fog")
    preset = preset_making.of_request("like this", request)
    merged = presets.apply(preset, {"prompt": request.prompt, "seed": request.seed})
    assert merged["steps"] == 3
    assert merged["clip_skip"] == 2
    assert merged["negative_prompt"] == "fog"


def test_what_has_changed_since() -> None:
    before = Provenance(
        seconds=1,
        seconds_loading=0,
        batch_size=1,
        memory_peak=0,
        hashes={"checkpoint:demo": "a", "lora:x": "b"},
        versions={"torch": "1"},
        device="cpu",
    )
    now = Provenance(
        seconds=1,
        seconds_loading=0,
        batch_size=1,
        memory_peak=0,
        hashes={"checkpoint:demo": "c", "lora:x": "b"},
        versions={"torch": "2"},
        device="cuda",
    )
    found = [(change.what, change.name) for change in changes(before, now)]
    assert found == [("file", "checkpoint:demo"), ("library", "torch"), ("device", "cuda")]
    assert changes(before, before) == []


def test_what_is_computed_in_another_way_is_named() -> None:
    plain = Numerics(
        batch_size=4, precision="float16", vae_precision="float16", device="a card", threads=0
    )

    def made(numerics: Numerics) -> Provenance:
        return Provenance(
            seconds=1, seconds_loading=0, batch_size=1, memory_peak=0, hashes={}, versions={},
            numerics=numerics,
        )  # fmt: skip

    for field, other in {
        "batch_size": 1,
        "precision": "bfloat16",
        "vae_precision": "float32",
        "frugal": True,
        "memory": "low",
        "device": "another card",
        "threads": 2,
        "compiled": True,
        "channels_last": True,
    }.items():
        now = msgspec.structs.replace(plain, **{field: other})
        (change,) = changes(made(plain), made(now))
        assert (change.what, change.now) == (field, str(other))
    processor = msgspec.structs.replace(plain, device="a processor", threads=4)
    assert [change.what for change in changes(made(plain), made(processor))] == ["device"]


def test_hashes_for_other_programs_are_no_change() -> None:
    def made(hashes: dict[str, str]) -> Provenance:
        return Provenance(
            seconds=1, seconds_loading=0, batch_size=1, memory_peak=0, hashes=hashes, versions={},
            device="cpu",
        )  # fmt: skip

    before, now = made({"lora:x": "a"}), made({"lora:x": "a", "tensors:x": "b"})
    assert changes(before, now) == changes(now, before) == []


def test_unfinished_jobs_are_not_the_same() -> None:
    job = Job(
        id=1,
        state=JobState.QUEUED,
        request=a_request(),
        origin=an_origin(),
        created_at=datetime.now(UTC),
    )
    assert not same_pictures(job, job)
