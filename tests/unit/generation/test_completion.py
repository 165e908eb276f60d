"""From what a person gave to a whole request."""

from typing import Any

import msgspec
import pytest

from generation.catalog import Catalog
from generation.checks import check
from generation.completion import Given, changed, complete
from generation.families import FAMILIES
from generation.model_settings import ModelSettings
from generation.models import ModelFile, ModelKind
from generation.preset_making import starters
from generation.prompt_flags import merge, parse
from generation.refusal import Refused
from generation.request_options import options
from generation.request_parts import LoraUse
from generation.rules import Limits, Rules, default_model, within_limits
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model


@pytest.fixture
def catalog() -> Catalog:
    return a_catalog(
        a_model("demo", native_size=128),
        a_model("dream"),
        a_model("big", family="sdxl"),
        a_model("flow", family="hidream"),
        a_model("pixel", kind=ModelKind.LORA),
        a_model("other", kind=ModelKind.LORA, family="sd2"),
        a_model("edges", kind=ModelKind.CONTROLNET),
        a_model("fine", kind=ModelKind.VAE),
        a_model("fine-xl", kind=ModelKind.VAE, family="sdxl"),
        a_model("two", family="sd2"),
    )


RULES = Rules(
    default_model="demo",
    models={"demo": ModelSettings(steps=8, guidance_scale=0, negative_prompt="fog")},
    limits=Limits(side=768, pixels=512 * 512, upscaled_side=1024, steps=40, count=2),
)


def refusal(catalog: Catalog, **given: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a cat", **given}, catalog, RULES)
    return refused.value


def test_defaults_come_from_the_settings_then_the_model_then_the_family(catalog: Catalog) -> None:
    request = complete({"prompt": " a cat "}, catalog, RULES)
    assert request.prompt == "a cat"
    assert (request.model, request.width, request.height) == ("demo", 128, 128)
    assert (request.steps, request.guidance_scale, request.negative_prompt) == (8, 0, "fog")
    assert (request.sampler, request.schedule) == ("DPM++ 2M", "Automatic")
    other = complete({"prompt": "a cat", "model": "Dream"}, catalog, RULES)
    assert (other.model, other.width, other.steps) == ("dream", 512, 20)


def test_what_was_given_wins(catalog: Catalog) -> None:
    request = complete(
        {"prompt": "a cat", "negative_prompt": "", "steps": 3, "guidance": 2.5, "seed": 0,
         "sampler": "euler A", "width": 64, "count": 2, "lora": "Pixel", "lora_weight": 0.5},
        catalog,
        RULES,
    )  # fmt: skip
    assert (request.negative_prompt, request.steps, request.guidance_scale) == ("", 3, 2.5)
    assert (request.seed, request.sampler, request.width, request.height) == (0, "Euler a", 64, 128)
    assert [(use.name, use.weight) for use in request.loras] == [("pixel", 0.5)]


def test_seeds_are_drawn_anew(catalog: Catalog) -> None:
    assert len({complete({"prompt": "a"}, catalog, RULES).seed for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        ("square", (128, 128)),
        ("wide 16:9", (168, 96)),
        ("tall 9:16", (96, 168)),
        ("16:9", (168, 96)),
        ("4 : 1", (256, 64)),
        ("3：2", (160, 104)),
        ("16x9", (168, 96)),
        ("16X9", (168, 96)),
        ("16 × 9", (168, 96)),
        ("1920:1080", (168, 96)),
        ("1920x1080", (168, 96)),
        ("139:100", (152, 112)),
        ("1.5:1", (160, 104)),
        ("1,5:1", (160, 104)),
        ("1.5", (160, 104)),
        ("0.5", (88, 184)),
        ("１６：９", (168, 96)),
        ("999999999999:999999999998", (128, 128)),
    ],
)
def test_an_aspect_keeps_the_area(catalog: Catalog, aspect: str, size: tuple[int, int]) -> None:
    request = complete({"prompt": "a cat", "aspect": aspect}, catalog, RULES)
    assert (request.width, request.height) == size


def test_a_control_picture_takes_the_only_controlnet(catalog: Catalog) -> None:
    request = complete({"prompt": "a cat", "control_picture": "0" * 64}, catalog, RULES)
    assert [use.name for use in request.controls] == ["edges"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"prompt": " \n"}, "prompt_empty"),
        ({"prompt": "x" * 4001}, "too_long"),
        ({"model": "demi"}, "checkpoint_unknown"),
        ({"model": "flow"}, "family_unsupported"),
        ({"model": "big"}, "out_of_bounds"),
        ({"lora": "other"}, "family_mismatch"),
        ({"lora": "pixle"}, "lora_unknown"),
        ({"sampler": "Eula"}, "sampler_unknown"),
        ({"aspect": "round"}, "aspect_unknown"),
        ({"aspect": "5:1"}, "aspect_wrong"),
        ({"aspect": "0:1"}, "aspect_wrong"),
        ({"aspect": "0:0"}, "aspect_wrong"),
        ({"aspect": "1000000:1"}, "aspect_wrong"),
        ({"aspect": "1:4.01"}, "aspect_wrong"),
        ({"aspect": "9" * 4301 + ":1"}, "aspect_wrong"),
        ({"aspect": "16"}, "aspect_wrong"),
        ({"aspect": "-3:2"}, "aspect_wrong"),
        ({"aspect": "3:2:1"}, "aspect_wrong"),
        ({"aspect": "\ud83d"}, "text_unusable"),
        ({"prompt": "(cat:500)"}, "weight_too_strong"),
        ({"negative_prompt": "(cat:500)"}, "weight_too_strong"),
        ({"negative_prompt": "fog <lora:pixel:1>"}, "tag_in_negative"),
        ({"prompt": "<lora:pixel:1>"}, "prompt_empty"),
        ({"model": "a\0"}, "text_unusable"),
        ({"lora": ("\udc00",)}, "text_unusable"),
        ({"aspect": "square", "height": 64}, "aspect_and_size"),
        ({"lora_weight": 1.0}, "option_needs"),
        ({"denoising": 0.5}, "option_needs"),
        ({"controlnet": "edges"}, "option_needs"),
        ({"control_picture": "0" * 64, "model": "dream", "controlnet": "no"}, "controlnet_unknown"),
        ({"width": 100}, "no_multiple"),
        ({"width": 1024}, "out_of_bounds"),
        ({"width": 768, "height": 768}, "too_many_pixels"),
        ({"vae": "fine-xl"}, "family_mismatch"),
        ({"vae": "fin"}, "vae_unknown"),
        ({"variation_seed": 3}, "option_needs"),
        ({"steps": 41}, "out_of_bounds"),
        ({"count": 3}, "out_of_bounds"),
    ],
)
def test_what_is_wrong_is_refused(catalog: Catalog, given: dict[str, Any], code: str) -> None:
    assert refusal(catalog, **given).code == code


def test_the_nearest_names_are_offered(catalog: Catalog) -> None:
    assert str(refusal(catalog, model="demi").params["nearest"]).startswith("demo")
    assert "Euler" in str(refusal(catalog, sampler="Eulr").params["nearest"])


def test_without_a_model(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="no_models"):
        complete({"prompt": "a cat"}, a_catalog(a_model("flow", family="hidream")), RULES)
    two = a_catalog(
        a_model("demo"),
        a_model("a", kind=ModelKind.CONTROLNET),
        a_model("b", kind=ModelKind.CONTROLNET),
    )
    assert refusal(two, control_picture="0" * 64).params == {"names": "a, b"}
    assert refusal(a_catalog(a_model("demo")), control_picture="0" * 64).code == "no_controlnets"


def test_a_default_that_is_not_there_is_named_as_such() -> None:
    catalog = a_catalog(a_model("dream"))
    rules = Rules(default_model="dreem")
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a cat"}, catalog, rules)
    assert refused.value.code == "default_model_unknown"
    assert refused.value.params == {"name": "dreem", "nearest": "dream"}
    with pytest.raises(Refused, match="checkpoint_unknown"):
        complete({"prompt": "a cat", "model": "dreem"}, catalog, rules)
    assert complete({"prompt": "a cat", "model": "dream"}, catalog, rules).model == "dream"


def test_a_request_made_elsewhere_is_checked_too(catalog: Catalog) -> None:
    check(a_request(), catalog, RULES)
    for change in ({"model": "gone"}, {"steps": 50}, {"loras": [{"name": "gone"}]}):
        with pytest.raises(Refused):
            check(a_request(**change), catalog, RULES)


def test_a_vae_is_named_as_the_catalogue_does(catalog: Catalog) -> None:
    assert complete({"prompt": "a cat", "vae": "FINE"}, catalog, RULES).vae == "fine"
    # those of Stable Diffusion 1 and 2 are alike
    other: Given = {"prompt": "a cat", "vae": "fine", "model": "two", "width": 64, "height": 64}
    assert complete(other, catalog, RULES).vae == "fine"
    rules = Rules(default_model="demo", models={"demo": ModelSettings(vae="fine")})
    assert complete({"prompt": "a cat"}, catalog, rules).vae == "fine"


def test_a_variation_without_a_second_seed_draws_one(catalog: Catalog) -> None:
    given: Given = {"prompt": "a cat", "variation_strength": 0.2}
    seeds = {complete(given, catalog, RULES).variation_seed for _ in range(5)}
    assert len(seeds) == 5
    assert None not in seeds
    assert complete({**given, "variation_seed": 3}, catalog, RULES).variation_seed == 3
    assert complete({"prompt": "a cat"}, catalog, RULES).variation_seed is None
    still = complete({"prompt": "a cat", "variation_strength": 0.0}, catalog, RULES)
    assert still.variation_seed is None
    with pytest.raises(Refused, match="option_needs"):
        check(a_request(variation_strength=0.2), catalog, RULES)


def test_what_is_enlarged_has_a_limit_of_its_own(catalog: Catalog) -> None:
    large = a_request(width=1024, height=1024, init_picture="0" * 64)
    with pytest.raises(Refused, match="out_of_bounds"):
        check(large, catalog, RULES)
    check(large, catalog, RULES, enlarging=True)
    with pytest.raises(Refused, match="out_of_bounds"):
        check(large.with_(tile=512), catalog, RULES)
    with pytest.raises(Refused) as refused:
        check(large.with_(count=2), catalog, RULES, enlarging=True)
    assert (refused.value.params["option"], refused.value.params["high"]) == ("count", 1)
    for too_much in (large.with_(width=1032), large.with_(height=1032, tile=512)):
        with pytest.raises(Refused) as refused:
            check(too_much, catalog, RULES, enlarging=True)
        assert refused.value.params["high"] == 1024


def test_tiles_that_make_no_sense_are_refused(catalog: Catalog) -> None:
    for change, code in (
        ({"tile": 128}, "option_needs"),
        ({"tile": 56, "init_picture": "0" * 64}, "out_of_bounds"),
    ):
        with pytest.raises(Refused) as refused:
            check(a_request(**change), catalog, RULES)
        assert (refused.value.code, refused.value.params["option"]) == (code, "tile")


def test_what_a_mask_leaves_to_draw_is_drawn_anew(catalog: Catalog) -> None:
    """Wholly, where nobody says by how much."""
    picture: dict[str, Any] = {"prompt": "a cat", "init_picture": "0" * 64}
    masked = complete({**picture, "mask": "1" * 64}, catalog, RULES)
    assert (masked.mask, masked.mask_blur, masked.denoising_strength) == ("1" * 64, 4, 1.0)
    assert complete(picture, catalog, RULES).denoising_strength == 0.6
    told = {**picture, "mask": "1" * 64, "mask_blur": 0, "denoising": 0.5}
    masked = complete(told, catalog, RULES)
    assert (masked.mask_blur, masked.denoising_strength) == (0, 0.5)


def test_what_is_one_of_some_words_is_read_whatever_its_case(catalog: Catalog) -> None:
    option = options()["masked_content"]
    for written in ("latent nothing", " Latent-Nothing", "LATENT_NOTHING"):
        assert option.parse(written) == "latent nothing"
    masked: dict[str, Any] = {"init_picture": "0" * 64, "mask": "1" * 64}
    assert refusal(catalog, **masked, masked_content="paint").code == "no_choice"


def test_a_controlnet_for_inpainting_sees_the_picture_of_the_mask() -> None:
    """And is refused without one; others need a picture of their own."""
    kind = ModelKind.CONTROLNET
    names = ("control_v11p_sd15_inpaint", "edges")
    nets = [a_model(name, kind=kind, family="sd1") for name in names]
    catalog = a_catalog(a_model("demo"), *nets)
    masked = {"init_picture": "0" * 64, "mask": "1" * 64}
    asked: dict[str, Any] = {"prompt": "a cat", "controlnet": names[0], **masked}
    [use] = complete(asked, catalog, RULES).controls
    assert (use.name, use.picture) == (names[0], "0" * 64)
    [use] = complete({**asked, "control_picture": "2" * 64}, catalog, RULES).controls
    assert use.picture == "2" * 64
    assert refusal(catalog, **{**asked, "controlnet": "edges"}).params["needs"] == "control_picture"
    unmasked = {"controlnet": names[0], "control_picture": "2" * 64}
    assert refusal(catalog, **unmasked).code == "control_needs_mask"


def test_a_mask_without_its_picture_and_a_blur_without_its_mask_are_refused(
    catalog: Catalog,
) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"mask": "1" * 64}, "mask", "init_picture"),
        *(
            ({name: value, "init_picture": "0" * 64}, name, "mask")
            for name, value in (
                ("mask_blur", 8),
                ("mask_mode", "not masked"),
                ("masked_content", "fill"),
                ("inpaint_area", "only masked"),
                ("mask_padding", 8),
                ("differential", "on"),
            )
        ),
    ]
    for given, option, needs in cases:
        refused = refusal(catalog, **given)
        assert refused.code == "option_needs"
        assert (refused.params["option"], refused.params["needs"]) == (option, needs)
    with pytest.raises(Refused) as raised:
        changed(a_request(), {"mask_blur": 8}, catalog, RULES)
    assert raised.value.params["needs"] == "mask"
    masked = a_request(init_picture="0" * 64, mask="1" * 64)
    assert changed(masked, {"mask_blur": 8}, catalog, RULES).mask_blur == 8


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"init_picture": "0" * 64}, "init_picture"),
        ({"lora": "pixel"}, "lora"),
        ({"control_picture": "0" * 64}, "control_picture"),
        ({"clip_skip": 2}, "clip_skip"),
        ({"vae": "fine"}, "vae"),
    ],
)
def test_what_a_family_cannot_do_is_refused_by_the_option_that_was_typed(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], option: str
) -> None:
    only = frozenset(("text_to_image",))
    limited = msgspec.structs.replace(FAMILIES["sd1"], abilities=only)
    assert complete({"prompt": "a cat", **given}, catalog, RULES)
    monkeypatch.setitem(FAMILIES, "sd1", limited)
    refused = refusal(catalog, **given)
    assert (refused.code, refused.params["what"]) == ("ability_missing", option)


def test_an_empty_catalogue_is_no_error() -> None:
    assert a_catalog().checkpoints == []
    assert isinstance(a_model("x"), ModelFile)


def test_the_demo_is_the_default_only_where_there_is_no_other() -> None:
    demo, large = a_model("demo", native_size=128), a_model("large")
    assert default_model(a_catalog(demo), Rules()) == "demo"
    assert default_model(a_catalog(demo, large), Rules()) == "large"
    assert default_model(a_catalog(demo, large), Rules(default_model="demo")) == "demo"
    assert default_model(a_catalog(), Rules()) == ""


def test_a_lora_of_another_width_is_refused_before_queueing() -> None:
    catalog = a_catalog(
        a_model("large", context_width=768),
        a_model("pixel", kind=ModelKind.LORA, context_width=192),
    )
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a cat", "lora": "pixel"}, catalog, Rules())
    assert refused.value.code == "lora_mismatch"
    assert not [preset for preset in starters(catalog) or () if preset.loras]


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        ("square", (1024, 1024)),
        ("4:3", (1152, 896)),
        ("3:2", (1216, 832)),
        ("portrait 2:3", (832, 1216)),
        ("16:9", (1344, 768)),
        ("9:16", (768, 1344)),
        ("panorama 21:9", (1536, 640)),
        ("4:1", (2048, 512)),
    ],
)
def test_an_aspect_is_a_shape_that_the_family_was_trained_on(
    catalog: Catalog, aspect: str, size: tuple[int, int]
) -> None:
    [prompt, flags] = ["a cat", merge(parse(f"a cat --ar {aspect}"), {})]
    given: Given = {**flags, "prompt": prompt, "model": "big"}
    request = complete(given, catalog, Rules())
    assert (request.width, request.height) == size
    assert changed(a_request(model="big"), {"aspect": aspect}, catalog, Rules()).width == size[0]


def test_where_its_own_shapes_do_not_hold_an_aspect_keeps_the_area(catalog: Catalog) -> None:
    given: Given = {"prompt": "a cat", "model": "big", "aspect": "3:2"}
    rules = Rules(limits=Limits(side=1024))
    request = complete(given, catalog, rules)
    assert (request.width, request.height) == (1024, 680)
    rules = Rules(limits=Limits(pixels=700_000))
    request = complete(given, catalog, rules)
    assert request.width * request.height <= 700_000
    rules = Rules(models={"big": ModelSettings(width=512, height=512)})
    request = complete(given, catalog, rules)
    assert (request.width, request.height) == (624, 416)
    assert complete({**given, "model": "two"}, catalog, Rules()).width == 944


def test_what_a_family_draws_by_nature_is_within_the_default_limits() -> None:
    for family in FAMILIES.values():
        native = (family.native_size, family.native_size)
        for width, height in (native, *family.buckets):
            assert width % family.side_step == height % family.side_step == 0
            assert max(width, height) <= Limits().side
            assert width * height <= Limits().pixels


def test_an_aspect_fits_what_may_be_asked_for() -> None:
    catalog = a_catalog(a_model("large", native_size=1024))
    for limits in (Limits(), Limits(side=512, pixels=512 * 512), Limits(side=700, pixels=500_000)):
        rules = Rules(limits=limits)
        for aspect in ("square", "16:9", "9:16", "4:1", "1:4", "139:100", "1.618"):
            request = complete({"prompt": "a", "aspect": aspect}, catalog, rules)
            assert max(request.width, request.height) <= limits.side
            assert request.width * request.height <= limits.pixels
    wide = complete({"prompt": "a", "aspect": "16:9"}, catalog, Rules(limits=Limits(side=2048)))
    assert (wide.width, wide.height) == (1360, 768)


def test_a_model_that_changes_pictures_wants_one() -> None:
    catalog = a_catalog(a_model("edit", variant="instruct-pix2pix"))
    with pytest.raises(Refused) as refused:
        complete({"prompt": "make it snow"}, catalog, Rules())
    assert (refused.value.code, refused.value.params) == ("start_picture_needed", {"model": "edit"})
    assert complete({"prompt": "make it snow", "init_picture": "0" * 64}, catalog, Rules())


@pytest.mark.parametrize("option", ["seed", "variation_seed"])
def test_minus_one_is_a_random_seed(catalog: Catalog, option: str) -> None:
    given: Given = {"prompt": "a", "variation_strength": 0.5, option: -1}
    found = {getattr(complete(given, catalog, RULES), option) for _ in range(5)}
    assert len(found) == 5
    assert min(found) >= 0


@pytest.fixture
def loras() -> Catalog:
    names = ("pixel", "sketch", "foo:2", "foo", "a, b", " edge ", *(f"l{n}" for n in range(9)))
    return a_catalog(a_model("demo"), *(a_model(name, kind=ModelKind.LORA) for name in names))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"prompt": "a <lora:pixel:0.8>"}, [("pixel", 0.8)]),
        ({"prompt": "a <lora:PIXEL> <lora:sketch.safetensors:-1>"}, [("pixel", 1), ("sketch", -1)]),
        ({"prompt": "a <lora: pixel : 0.5 >"}, [("pixel", 0.5)]),
        ({"prompt": "a <lora:pixel:0.5:0.5>"}, [("pixel", 0.5)]),
        ({"prompt": "a <lora:pixel:te=0.5:unet=0.5>"}, [("pixel", 0.5)]),
        ({"prompt": "a <lora:pixel:1><lora:pixel>"}, [("pixel", 1)]),
        ({"prompt": "a <lora:foo:2:0.5>"}, [("foo:2", 0.5)]),
        ({"prompt": "a <lora:foo\\:2:0.5>"}, [("foo:2", 0.5)]),
        ({"prompt": "a <lora:foo:0.5>"}, [("foo", 0.5)]),
        ({"prompt": "a <lora:a, b:0.5>"}, [("a, b", 0.5)]),
        ({"prompt": "a <lora: edge :0.5>"}, [(" edge ", 0.5)]),
        ({"lora": "pixel:0.5"}, [("pixel", 0.5)]),
        ({"lora": "foo:2"}, [("foo:2", 1)]),
        ({"lora": "foo:2:0.5"}, [("foo:2", 0.5)]),
        ({"lora": ("pixel:0.5", "sketch")}, [("pixel", 0.5), ("sketch", 1)]),
        ({"lora": ("pixel",), "lora_weight": 0.25}, [("pixel", 0.25)]),
        ({"lora": "sketch", "prompt": "a <lora:pixel:2>"}, [("sketch", 1), ("pixel", 2)]),
    ],
)
def test_how_loras_are_named(
    loras: Catalog, given: dict[str, Any], found: list[tuple[str, float]]
) -> None:
    request = complete({"prompt": "a", **given}, loras, Rules())
    assert [(use.name, use.weight) for use in request.loras] == found
    assert request.prompt == "a"


@pytest.mark.parametrize(
    ("written", "weight", "te"),
    [
        ("pixel:0.5:0.5", 0.5, None),
        ("pixel:0.25:0.5", 0.5, 0.25),
        ("pixel:te=0.25:unet=0.5", 0.5, 0.25),
        ("pixel:0.25:UNET = 0.5", 0.5, 0.25),
        # as A1111 has it: what is not said is the text encoder's
        ("pixel:unet=0.5", 0.5, 1),
        ("pixel:te=0.5", 0.5, None),
        ("pixel:1:te=0.5", 0.5, None),
    ],
)
def test_text_encoder_and_unet_can_have_weights_of_their_own(
    loras: Catalog, written: str, weight: float, te: float | None
) -> None:
    ways: list[dict[str, Any]] = [
        {"prompt": f"a <lora:{written}>"},
        {"prompt": f"a <lyco:{written}>"},
        {"prompt": "a", "lora": written},
        # the prompt's hold
        {"prompt": f"a <lora:{written}>", "lora": "pixel", "lora_weight": 2.0},
    ]
    for given in ways:
        assert complete(given, loras, Rules()).loras == (LoraUse("pixel", weight, te),)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"prompt": "a <lora:pixl:1>"}, "lora_unknown"),
        ({"prompt": "a <lora:pixel:strong>"}, "not_a_number"),
        ({"prompt": "a <lora:pixel:5>"}, "out_of_bounds"),
        ({"prompt": "a <lora:pixel:nan>"}, "out_of_bounds"),
        ({"prompt": f"a <lora:pixel:{'1' * 3000}>"}, "number_too_long"),
        ({"prompt": "a <lora:pixel:0.5:5>"}, "out_of_bounds"),
        ({"prompt": "a <lora:pixel:te=5>"}, "out_of_bounds"),
        ({"prompt": "a <lora:pixel:1:lbw=OUTD>"}, "tag_key"),
        ({"prompt": "a <lora:pixel:1:dyn=8>"}, "tag_key"),
        ({"prompt": "a <lora:pixel:=1>"}, "tag_key"),
        ({"prompt": "a <lora:pixel:te=1=1>"}, "tag_parts"),
        ({"prompt": "a <lora:pixel:1:1:1>"}, "tag_parts"),
        ({"prompt": "a <lora:pixel:1:OUTD>"}, "not_a_number"),
        ({"lora": "pixel:lbw=1"}, "tag_key"),
        ({"prompt": "a <lora:pixel:1> <lora:pixel:2>"}, "lora_twice"),
        ({"lora": ("pixel:0.5", "pixel")}, "lora_twice"),
        ({"lora": "pixel:x"}, "not_a_number"),
        ({"lora": "pixel:5"}, "out_of_bounds"),
        ({"lora": "pixel:1", "lora_weight": 1.0}, "lora_weight_twice"),
        ({"lora": ("pixel", "sketch"), "lora_weight": 1.0}, "lora_weight_of_which"),
        ({"lora": tuple(f"l{n}" for n in range(9))}, "loras_too_many"),
        ({"lora": "x" * 6000}, "too_long"),
    ],
)
def test_loras_that_cannot_be_are_refused(loras: Catalog, given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a", **given}, loras, Rules())
    assert refused.value.code == code


def test_the_nearest_lora_is_offered_for_a_tag(loras: Catalog) -> None:
    with pytest.raises(Refused) as refused:
        complete({"prompt": "a <lora:pixl:1>"}, loras, Rules())
    assert str(refused.value.params["nearest"]).startswith("pixel")


@pytest.mark.parametrize("bad", ["half \ud83d", "zero \0 byte"])
@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "model", "vae", "sampler", "lora"])
def test_text_that_nothing_can_keep_is_refused_in_every_field(
    catalog: Catalog, field: str, bad: str
) -> None:
    assert refusal(catalog, **{field: bad}).params == {"option": field}
    change: dict[str, Any] = {"loras": [{"name": bad}]} if field == "lora" else {field: bad}
    with pytest.raises(Refused, match="text_unusable"):
        check(a_request(**change), catalog, RULES)


def test_what_came_of_an_enlarged_picture_is_brought_back(catalog: Catalog) -> None:
    enlarged = a_request(width=1024, height=512, tile=512, init_picture="0" * 64, count=2)
    back = within_limits(enlarged, RULES)
    assert (back.width, back.height, back.tile) == (512, 256, 0)
    check(back, catalog, RULES)
    small = a_request(width=256, height=256, tile=128, init_picture="0" * 64)
    assert within_limits(small, RULES) is small
    odd = within_limits(a_request(width=1368, height=760), RULES)
    check(odd, catalog, RULES)


def test_what_is_drawn_is_kept_beside_what_it_was_drawn_from(catalog: Catalog) -> None:
    given: dict[str, Any] = {"prompt": "a {cat|dog} ", "negative_prompt": "{fog|rain}", "count": 2}
    found = [complete({**given, "seed": seed}, catalog, RULES) for seed in range(20)]
    assert {request.prompt for request in found} == {"a cat", "a dog"}
    assert {request.negative_prompt for request in found} == {"fog", "rain"}
    assert {request.template for request in found} == {"a {cat|dog}"}
    assert {request.negative_template for request in found} == {"{fog|rain}"}
    assert found == [complete({**given, "seed": seed}, catalog, RULES) for seed in range(20)]
    plain = complete({"prompt": r"a \{cat|dog\} x__y"}, catalog, RULES)
    assert (plain.prompt, plain.template) == (r"a \{cat|dog\} x__y", None)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"prompt": "a {cat"}, "braces_unreadable"),
        ({"prompt": "a __cat__"}, "wildcards_none"),
        ({"prompt": "a cat", "negative_prompt": "__cat__"}, "wildcards_none"),
        ({"prompt": "{|}"}, "prompt_drawn_empty"),
        ({"prompt": "{3$$" + "," * 2500 + "$$a|b|c}"}, "too_long"),
        ({"prompt": "a {<lora:pixel:1>|b}"}, "tag_drawn"),
        ({"prompt": "{(cat:101)}"}, "weight_too_strong"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    catalog: Catalog, given: dict[str, Any], code: str
) -> None:
    assert refusal(catalog, **given).code == code
