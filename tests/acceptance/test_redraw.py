"""*Draw a part anew…*: a part of a finished picture, masked by an upload in a dialog."""

import io

from PIL import Image

from playground.person import Person, fields_of
from tests.acceptance.conftest import Rig, finished, press
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_inpainting import erased, kept, mask
from tests.acceptance.test_retry import answer_to

CHOSEN = {
    "how": ["fill/only masked"],
    "denoising": "0.8",
}


async def test_a_part_of_a_finished_picture_is_drawn_anew(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=64, height=64, count=1)
    act = await press(ada, message, "Draw a part anew…")
    fields = {field["custom_id"]: field for field in fields_of((await act.modal())["components"])}
    assert fields["prompt"]["value"] == (await rig.job(1)).request.prompt
    upload = await ada.upload("mask.png", mask())
    sent = await act.submit(prompt="a red hat --mask-blur 1", mask=[upload], **CHOSEN)
    await finished(ada, general, await sent.deferred())
    first, job = await rig.job(1), await rig.job(2)
    request = job.request
    assert (job.action, job.parent, job.parent_picture) == ("redraw", 1, 0)
    assert (request.prompt, request.mask_blur) == ("a red hat", 1)
    assert (request.masked_content, request.inpaint_area) == ("fill", "only masked")
    assert request.denoising_strength == 0.8
    assert request.init_picture == first.pictures[0].file
    found = await kept(rig, request.mask)
    assert [found.getpixel((left, 20)) for left in (8, 24)] == [255, 0]


async def test_a_picture_with_the_part_erased_is_a_mask_too(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=64, height=64, count=1)
    act = await press(ada, message, "Draw a part anew…")
    upload = await ada.upload("hole.png", erased("white"))
    sent = await act.submit(prompt="a hat", mask=[upload], **CHOSEN)
    await finished(ada, general, await sent.deferred())
    found = await kept(rig, (await rig.job(2)).request.mask)
    assert [found.getpixel(place) for place in ((8, 8), (32, 32))] == [0, 255]


async def test_a_flag_says_who_sees_the_answer(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    message = await imagine(ada, general, width=64, height=64, count=1)
    act = await press(ada, message, "Draw a part anew…")
    upload = await ada.upload("mask.png", mask())
    sent = await act.submit(prompt="a red hat --private", mask=[upload], **CHOSEN)
    answer = await finished(ada, general, await sent.deferred())
    assert answer["flags"] & 64
    assert (await rig.job(2)).origin.private
    shown = [m["id"] for m in await bo.messages(general) if m["attachments"]]
    assert shown == [message["id"]]


async def test_with_a_black_mask_nothing_is_drawn(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general, width=64, height=64, count=1)
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    black = await ada.upload("black.png", file.getvalue())
    act = await press(ada, message, "Draw a part anew…")
    sent = await act.submit(prompt="a hat", mask=[black], **CHOSEN)
    assert "black.png is no mask" in (await answer_to(sent))["content"]
    assert await rig.studio.jobs.get(2) is None
