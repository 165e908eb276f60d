"""*Draw a part anew…* in the menu of a message: of pictures drawn here, and of anybody's."""

import io
from typing import Any

import pytest
from PIL import Image

from playground.person import Act, Person, fields_of
from tests.acceptance.conftest import Rig, finished, png
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_inpainting import kept, mask
from tests.acceptance.test_mask_words import config as config
from tests.acceptance.test_redraw import CHOSEN
from tests.acceptance.test_retry import RETRY, answer_to

MENU = "Draw a part anew…"


def moving() -> bytes:
    """A GIF of two frames."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


async def shown(act: Act) -> dict[str, Any]:
    return {f["custom_id"]: f for f in fields_of((await act.modal())["components"])}


async def test_a_picture_that_was_drawn_here_is_asked_about_as_by_its_button(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=64, height=64, count=1)
    act = await ada.use_on_message(MENU, await ada.message(general, message["id"]))
    fields = await shown(act)
    assert fields["prompt"]["value"] == (await rig.job(1)).request.prompt
    sent = await act.submit(prompt="a red hat", mask_words="the hat", **CHOSEN)
    await finished(ada, general, await sent.deferred())
    job = await rig.job(2)
    assert (job.action, job.parent, job.parent_picture) == ("redraw", 1, 0)
    assert job.request.mask_words == "the hat"


async def test_anybodys_picture_is_drawn_anew_in_its_shape(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    posted = await bo.say_with_file(general, "cat.png", png("red", (96, 64)))
    act = await ada.use_on_message(MENU, posted)
    fields = await shown(act)
    assert not fields["prompt"].get("value")
    upload = await ada.upload("mask.png", mask())
    told = "a red hat --mask-blur 1 --seed 5"
    sent = await act.submit(prompt=told, mask=[upload], **{**CHOSEN, "denoising": "0.8"})
    await finished(ada, general, await sent.deferred())
    job = await rig.job(1)
    request = job.request
    assert (job.action, job.parent) == ("imagine", None)
    assert (request.prompt, request.mask_blur, request.seed) == ("a red hat", 1, 5)
    assert (request.masked_content, request.inpaint_area) == ("fill", "only masked")
    assert request.denoising_strength == 0.8
    assert request.width > request.height
    assert (await kept(rig, request.init_picture)).size == (96, 64)
    assert (await kept(rig, request.mask)).size == (32, 32)
    # by words, and in a size of one's own
    act = await ada.use_on_message(MENU, posted)
    sent = await act.submit(prompt="a hat --ar 1:1", mask_words="the hat", **CHOSEN)
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(2)).request
    assert (request.mask, request.mask_words) == (None, "the hat")
    assert request.width == request.height


async def test_what_is_refused_of_anybodys_picture_is_kept_with_mask_and_picture(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    posted = await bo.say_with_file(general, "cat.png", png("red", (64, 64)))
    act = await ada.use_on_message(MENU, posted)
    upload = await ada.upload("mask.png", mask())
    sent = await act.submit(prompt="a hat --stepps 4", mask=[upload], **CHOSEN)
    said = await answer_to(sent)
    assert "stepps" in said["content"]
    await rig.restart()
    act = await ada.click(said, RETRY)
    fields = await shown(act)
    assert fields["prompt"]["value"] == "a hat --stepps 4"
    sent = await act.submit(prompt="a hat", **CHOSEN)
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(1)).request
    assert (await kept(rig, request.mask)).getpixel((8, 20)) == 255


@pytest.mark.parametrize(
    ("name", "content", "given", "said"),
    [
        ("moving.gif", moving(), {"mask_words": "hat"}, "moves: give the frame"),
        ("tiny.png", png("red", (4, 4)), {"mask_words": "hat"}, "4 × 4"),
        ("cat.png", png("red", (64, 64)), {}, "or upload a mask"),
        ("cat.png", png("red", (64, 64)), {"mask_words": "!"}, "Say in words"),
        ("cat.png", b"no picture", {"mask_words": "hat"}, "cat.png"),
    ],
)
async def test_pictures_that_can_not_be_are_refused_in_a_sentence(
    rig: Rig,
    ada: Person,
    general: str,
    name: str,
    content: bytes,
    given: dict[str, Any],
    said: str,
) -> None:
    posted = await ada.say_with_file(general, name, content)
    act = await ada.use_on_message(MENU, posted)
    sent = await act.submit(prompt="a hat", **given, **CHOSEN)
    assert said in (await answer_to(sent))["content"]
    assert await rig.studio.jobs.get(1) is None


async def test_a_message_without_a_picture_has_none_to_draw(
    rig: Rig, ada: Person, general: str
) -> None:
    posted = await ada.say(general, "hello")
    act = await ada.use_on_message(MENU, posted)
    assert "picture" in (await answer_to(act))["content"]
