"""How a picture is made larger: which upscaler, what size, and whether a model draws over it."""

import pytest

from generation import enlarging
from generation.catalog import Catalog
from generation.checks import check
from generation.enlarging import NO_WISH, EnlargingSettings, Wish, of_picture, of_upload
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_parts import Enlargement
from generation.rules import Limits, Rules
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model

HASH = "a" * 64
ESRGAN = a_model("RealESRGAN_x4plus", kind=ModelKind.UPSCALER, family="")
ANIME = a_model("4x-anime", kind=ModelKind.UPSCALER, family="")
CATALOG = a_catalog(a_model("sd"), ESRGAN, ANIME)


def larger(
    size: tuple[int, int] = (512, 512),
    wish: Wish = NO_WISH,
    catalog: Catalog = CATALOG,
    *,
    side: int = 2048,
    native: int = 512,
    **settings: object,
) -> Enlargement:
    told = EnlargingSettings(**settings)  # type: ignore[arg-type]
    return of_picture(HASH, size, wish, catalog, told, side=side, native=native)


def test_the_first_upscaler_enlarges_without_a_second_pass() -> None:
    made = larger((512, 384))
    assert (made.upscaler, made.width, made.height) == ("4x-anime", 2048, 1536)
    assert (made.from_width, made.from_height, made.factor) == (512, 384, 4)
    assert (made.denoising_strength, made.tile) == (0, 0)


def test_the_settings_and_before_them_a_wish_say_which_and_how_far() -> None:
    made = larger(upscaler="realesrgan_x4PLUS", factor=2.5)
    assert (made.upscaler, made.width) == ("RealESRGAN_x4plus", 1280)
    made = larger(wish=Wish(upscaler="4x-anime", factor=1.5), upscaler="RealESRGAN_x4plus")
    assert (made.upscaler, made.width) == ("4x-anime", 768)
    usual = Wish(upscaler="nearest", second_pass=0.2)
    assert Wish(factor=3.0).over(usual) == Wish(upscaler="nearest", factor=3.0, second_pass=0.2)


def test_lanczos_where_there_is_nothing_else() -> None:
    made = larger(catalog=a_catalog(a_model("sd")))
    assert (made.upscaler, made.width) == ("Lanczos", 1024)
    # what one asks for, one gets
    made = larger(wish=Wish(factor=4.0), catalog=a_catalog(a_model("sd")))
    assert made.width == 2048


def test_an_unknown_upscaler_is_named_with_the_nearest() -> None:
    with pytest.raises(Refused) as refused:
        larger(wish=Wish(upscaler="4x-anima"))
    assert refused.value.code == "upscaler_unknown"
    assert str(refused.value.params["nearest"]).startswith("4x-anime")


@pytest.mark.parametrize(
    ("size", "factor", "side", "expected"),
    [
        ((832, 1216), 4.0, 2048, (1401, 2048)),
        ((1024, 1024), 4.0, 4096, (4096, 4096)),
        ((101, 67), 1.5, 2048, (152, 100)),  # half to even, as Python rounds
        ((3, 2000), 1.02 * 1.05, 2048, None),
    ],
)
def test_a_size_is_as_asked_as_far_as_it_goes(
    size: tuple[int, int], factor: float, side: int, expected: tuple[int, int] | None
) -> None:
    if expected is None:
        with pytest.raises(Refused) as refused:
            larger(size, Wish(factor=factor), side=side)
        assert (refused.value.code, refused.value.params) == ("enlarged_enough", {"side": side})
        return
    made = larger(size, Wish(factor=factor), side=side)
    assert (made.width, made.height) == expected
    assert max(expected) <= side


def test_a_second_pass_draws_eighths_in_tiles_of_what_the_model_knows() -> None:
    made = larger((513, 300), Wish(second_pass=0.3))
    assert (made.denoising_strength, made.tile) == (0.3, 512)
    assert (made.width % 8, made.height % 8) == (0, 0)
    # what the model can see whole, it does
    assert larger((512, 512), Wish(second_pass=0.3, factor=1.5)).tile == 0
    # no request is larger
    huge = larger((1024, 1024), Wish(second_pass=0.3), side=4096, native=1024)
    assert (huge.width, huge.height) == (2048, 2048)
    assert larger(second_pass=0.25).denoising_strength == 0.25


def test_a_second_pass_shrinks_no_picture_and_refuses_one_larger_than_it_draws() -> None:
    for size in ((2048, 1024), (3000, 3000)):
        with pytest.raises(Refused) as refused:
            larger(size, Wish(second_pass=0.3), side=4096, native=1024)
        assert (refused.value.code, refused.value.params) == ("second_pass_large", {"side": 2048})
        assert larger(size, side=4096, native=1024).width == 4096
    with pytest.raises(Refused) as refused:
        larger((2048, 1024), Wish(second_pass=0.3), side=2048, native=1024)
    assert refused.value.code == "enlarged_enough"
    # no request is so narrow
    made = larger((200, 30), Wish(second_pass=0.3, factor=2.0))
    assert (made.width, made.height, made.denoising_strength) == (400, 60, 0)


@pytest.mark.parametrize("native", [0, 64, 128, 256])
def test_a_model_that_would_draw_its_subject_into_every_tile_draws_none(native: int) -> None:
    made = larger((128, 128), Wish(second_pass=0.3), native=native)
    assert (made.denoising_strength, made.tile) == (0, 0)
    assert larger((128, 128), native=native, second_pass=0.5).denoising_strength == 0


def test_the_second_pass_is_the_same_request_from_the_larger_picture() -> None:
    drawn = a_request(
        seed=9,
        variation_seed=3,
        variation_strength=0.5,
        loras=[{"name": "ink"}],
        controls=[{"name": "edges", "picture": "b" * 64}],
        init_picture="c" * 64,
        mask="d" * 64,
    )
    made = larger((512, 512), Wish(second_pass=0.35, factor=2.0))
    asked = drawn.with_(enlargement=made)
    passed = enlarging.second_pass(asked)
    assert (passed.width, passed.height, passed.tile) == (1024, 1024, 512)
    assert (passed.init_picture, passed.denoising_strength) == (HASH, 0.35)
    assert (passed.seed, passed.varied, passed.controls) == (9, False, ())
    assert passed.mask is None
    assert (passed.loras, passed.prompt) == (drawn.loras, drawn.prompt)
    assert asked.with_(enlargement=None) == drawn
    assert (asked.only_enlarges, asked.checkpoint) == (False, drawn.model)
    assert (asked.size, drawn.size) == ((1024, 1024), (drawn.width, drawn.height))


def test_a_picture_that_was_not_drawn_here_needs_no_model() -> None:
    rules = Rules(limits=Limits(upscaled_side=2048))
    asked = of_upload(larger((640, 480), native=0))
    assert (asked.checkpoint, asked.made_with, asked.uploads) == ("", "4x-anime", (HASH,))
    check(asked, a_catalog(ANIME), rules)
    for catalog, limits, code in (
        (a_catalog(), Limits(), "upscaler_unknown"),
        (CATALOG, Limits(upscaled_side=1024), "out_of_bounds"),
    ):
        with pytest.raises(Refused) as refused:
            check(asked, catalog, Rules(limits=limits))
        assert refused.value.code == code, refused.value.params


def test_a_second_pass_is_checked_like_a_drawing_and_a_prompt_is_wanted() -> None:
    rules = Rules(limits=Limits(side=512, pixels=512 * 512))
    asked = a_request(model="sd", enlargement=vars_of(larger(wish=Wish(second_pass=0.3))))
    check(asked, CATALOG, rules)
    with pytest.raises(Refused) as refused:
        check(asked.with_(model="gone"), CATALOG, rules)
    assert refused.value.code == "checkpoint_unknown"
    with pytest.raises(Refused) as refused:
        check(asked.with_(prompt=""), CATALOG, rules)
    assert refused.value.code == "prompt_empty"
    # without one, nothing of the drawing matters any more
    plain = asked.with_(model="gone", enlargement=vars_of(larger()))
    check(plain, CATALOG, rules)


def vars_of(made: Enlargement) -> dict[str, object]:
    return {name: getattr(made, name) for name in made.__struct_fields__}
