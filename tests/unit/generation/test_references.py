"""Which pictures a model is shown that edits them, in which size, and what it draws then."""

from typing import Any

import msgspec
import pytest

from generation import references
from generation.abilities import edits, unread
from generation.checks import check
from generation.completion import changed, complete
from generation.families import References, family_of
from generation.job import Job, JobState
from generation.memory_needs import task_of
from generation.messages import Generate
from generation.preparing import at_once, work_for
from generation.references import shown_size
from generation.refusal import Refused
from generation.request_fields import FURTHER_PICTURES, IMAGE_GUIDANCE
from generation.request_parts import Enlargement
from generation.rules import Limits, Rules
from tests.fixtures.requests import a_request, an_origin
from tests.unit.generation.catalogs import a_catalog, a_model

ALL = ("vae", "clip_l", "t5xxl")
KONTEXT = a_model("kontext", family="flux", variant="kontext", carries=ALL)
DEV = a_model("dev", family="flux", carries=ALL)
KLEIN = a_model("klein", family="flux2-klein-4b", carries=("vae", "qwen3-4b"))
READS = ("vae", "qwen2.5-vl-7b")
FIRST = a_model("first", family="qwen-image", variant="edit", carries=READS)
PLUS = a_model("plus", family="qwen-image", variant="edit-plus", carries=READS)
P2P = a_model("p2p", variant="instruct-pix2pix")
CATALOG = a_catalog(KONTEXT, DEV, KLEIN, FIRST, PLUS, P2P, a_model("dream"))
GIVEN, LARGER = "a" * 64, "b" * 64
SIZES = {GIVEN: (3000, 2000)}


def asked(model: str = "kontext", limits: Limits | None = None, **given: Any) -> Any:
    rules = Rules(limits=limits or Limits())
    given = {"prompt": "make it night", "model": model, "init_picture": GIVEN, **given}
    return complete(given, CATALOG, rules, SIZES)


def test_a_picture_that_is_edited_gives_the_shape_where_nobody_says_one() -> None:
    """Of those that it was trained on."""

    def sides(**given: Any) -> tuple[int, int]:
        request = asked(**given)
        return request.width, request.height

    assert sides() == (1248, 832)
    assert sides(aspect="2:3") == (832, 1248)
    assert sides(width=512) == (512, 1024)
    assert sides(model="dev") == (1024, 1024)
    assert sides(model="p2p") == (624, 416)
    small = sides(limits=Limits(pixels=512 * 512))
    assert small[0] * small[1] <= 512 * 512
    assert small[0] % 16 == small[1] % 16 == 0
    assert 1.4 < small[0] / small[1] < 1.6


def test_a_model_that_edits_has_its_own_defaults_and_draws_all_anew() -> None:
    request = asked()
    assert (request.steps, request.guidance_scale) == (28, 2.5)
    assert (request.denoising_strength, asked(model="dev").denoising_strength) == (1.0, 0.6)
    assert unread(request, KONTEXT) == ()


def test_one_that_edits_or_starts_does_by_the_strength() -> None:
    family, edit, start = (
        family_of(KLEIN),
        asked(model="klein"),
        asked(model="klein", denoising=0.4),
    )
    assert (edit.denoising_strength, references.of(edit, family)) == (1.0, (GIVEN,))
    assert references.of(start, family) == ()
    assert unread(edit, KLEIN) == unread(start, KLEIN) == ()
    assert shown_size((3000, 2000), family, 1024) == (1248, 832)
    assert shown_size((300, 200), family, 1024) == (304, 192)


def test_a_strength_that_means_nothing_is_said() -> None:
    assert unread(asked(denoising=0.4), KONTEXT) == ("denoising_unread",)
    assert unread(asked(model="dev", denoising=0.4), DEV) == ()
    assert unread(a_request(model="kontext"), KONTEXT) == ()


@pytest.mark.parametrize(
    ("size", "enlarges", "expected"),
    [
        ((64, 96), True, (832, 1248)),
        ((640, 480), True, (1184, 880)),
        ((640, 480), False, (640, 480)),
        ((650, 470), False, (656, 464)),
        ((4096, 1024), False, (2048, 512)),
        ((3, 4000), False, (16, 4000)),
    ],
)
def test_a_picture_is_shown_in_its_own_shape(
    size: tuple[int, int], enlarges: bool, expected: tuple[int, int]
) -> None:
    """One of the shapes that the model was trained on, or where there are none its own."""
    family = family_of(KONTEXT)
    if not enlarges:
        family = msgspec.structs.replace(family, references=References(enlarges=False))
    assert shown_size(size, family, 1024) == expected


def test_a_smaller_model_is_shown_smaller_pictures() -> None:
    assert shown_size((64, 96), family_of(KONTEXT), 64) == (48, 80)


def a_job(**changes: Any) -> Job:
    return Job(
        id=1,
        state=JobState.RUNNING,
        request=asked().with_(**changes),
        origin=an_origin(),
        created_at=None,  # type: ignore[arg-type]
    )


class Store:
    """The store as far as preparing reads it: each picture is its own hash."""

    async def read_upload(self, sha256: str) -> bytes:
        return sha256.encode()


async def work(**changes: Any) -> Generate:
    store: Any = Store()
    found = await work_for(a_job(**changes), CATALOG, store, at_once)
    assert isinstance(found, Generate)
    return found


async def test_the_worker_is_told_what_the_model_is_shown() -> None:
    found = await work()
    assert found.references == (GIVEN,)
    assert found.pictures == {GIVEN: GIVEN.encode()}
    assert (await work(model="dev")).references == ()
    assert (await work(init_picture=None)).references == ()


async def test_a_second_pass_goes_by_the_picture_that_was_edited() -> None:
    """And starts from the one that it goes over."""
    made = Enlargement(
        picture=LARGER,
        upscaler="Lanczos",
        width=1872,
        height=1248,
        from_width=1248,
        from_height=832,
        denoising_strength=0.3,
    )
    found = await work(enlargement=msgspec.to_builtins(made))
    assert found.references == (GIVEN,)
    assert found.request.init_picture == LARGER
    assert set(found.pictures) == {GIVEN, LARGER}
    assert (found.request.denoising_strength, found.request.width) == (0.3, 1872)


async def test_a_second_pass_of_pix2pix_sees_what_was_edited() -> None:
    """Not what was made of that: it would be edited twice."""
    made = Enlargement(
        picture=LARGER,
        upscaler="Lanczos",
        width=1024,
        height=1024,
        from_width=512,
        from_height=512,
        denoising_strength=0.3,
    )
    assert (await work(model="p2p")).edited is None
    found = await work(model="p2p", enlargement=msgspec.to_builtins(made))
    assert (found.edited, found.request.init_picture) == (GIVEN, LARGER)
    assert set(found.pictures) == {GIVEN, LARGER}


def test_pix2pix_draws_all_anew_and_keeps_to_the_picture_as_is_usual() -> None:
    request = asked("p2p")
    assert (request.denoising_strength, request.image_guidance_scale) == (1.0, IMAGE_GUIDANCE)
    assert asked("p2p", image_guidance=0.0).image_guidance_scale == 0
    assert unread(request, P2P) == ()
    other = asked(image_guidance=2.0)
    assert unread(other, KONTEXT) == ("image_guidance_unread",)
    # another model in the dialog of what Kontext has drawn, and its line taken out again
    assert changed(asked(), {"model": "p2p"}, CATALOG, Rules()).image_guidance_scale == 1.5
    kept = changed(asked("p2p", image_guidance=0.0), {}, CATALOG, Rules())
    assert kept.image_guidance_scale == 0


async def test_several_pictures_are_shown_in_their_order() -> None:
    request = asked("plus", second_picture=LARGER, third_picture="c" * 64)
    assert request.shown == request.uploads == (GIVEN, LARGER, "c" * 64)
    more = {name: getattr(request, name) for name in (*FURTHER_PICTURES, "model")}
    assert (await work(**more)).references == request.shown
    klein = await work(**{**more, "model": "klein", "fourth_picture": "d" * 64})
    assert klein.references == (*request.shown, "d" * 64)


@pytest.mark.parametrize(
    ("model", "given", "code"),
    [
        ("kontext", {"second_picture": LARGER}, "pictures_one"),
        ("dev", {"second_picture": LARGER}, "pictures_one"),
        ("first", {"third_picture": LARGER}, "pictures_one"),
        ("p2p", {"second_picture": LARGER}, "pictures_one"),
        ("plus", dict.fromkeys(FURTHER_PICTURES, LARGER), "pictures_many"),
        # one of them is where drawing starts
        ("klein", {"second_picture": LARGER, "denoising_strength": 0.5}, "pictures_one"),
        ("plus", {"second_picture": LARGER, "init_picture": None}, "option_needs"),
        ("plus", {"init_picture": None}, "start_picture_needed"),
        ("first", {"init_picture": None}, "start_picture_needed"),
    ],
)
def test_what_a_model_is_not_shown_is_refused_by_name(
    model: str, given: dict[str, Any], code: str
) -> None:
    request = asked(model).with_(**given)
    with pytest.raises(Refused) as refused:
        check(request, CATALOG, Rules())
    assert refused.value.code == code
    if code != "start_picture_needed":
        assert refused.value.params["option"] in given


def test_what_it_is_shown_takes_memory_too() -> None:
    family = family_of(KONTEXT)

    def denoising(**changes: Any) -> int:
        return task_of(asked().with_(**changes), family, (), 1).denoise

    alone, beside = denoising(init_picture=None), denoising()
    assert 1.8 * alone < beside < 2.1 * alone


def test_models_that_edit_are_told() -> None:
    assert edits(KONTEXT)
    assert edits(FIRST)
    assert edits(a_model("p2p", variant="instruct-pix2pix"))
    assert not edits(DEV)
