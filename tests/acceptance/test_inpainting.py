"""Parts of pictures that are drawn anew, as members say which."""

import io

from PIL import Image

from playground.person import Person
from tests.acceptance.conftest import Rig, finished, png, press
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import pressed
from tests.acceptance.test_retry import RETRY, answer_to, refused, shown

HOLE = (16, 16, 48, 48)


def erased(colour: str = "red") -> bytes:
    """A picture with a hole in it."""
    picture = Image.new("RGBA", (64, 64), colour)
    picture.paste((0, 0, 0, 0), HOLE)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def mask(colour: str = "white") -> bytes:
    picture = Image.new("RGB", (32, 32))
    picture.paste(colour, (0, 0, 16, 32))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


async def kept(rig: Rig, sha256: str | None) -> Image.Image:
    """A picture of a request, as it is kept."""
    assert sha256 is not None
    return Image.open(io.BytesIO(await rig.studio.jobs.read_upload(sha256)))


async def test_what_is_erased_of_a_picture_is_drawn_anew(
    rig: Rig, ada: Person, general: str
) -> None:
    upload = await ada.upload("hole.png", erased())
    message = await imagine(ada, general, init_picture=upload)
    request = (await rig.job(1)).request
    assert (request.denoising_strength, request.mask_blur) == (1.0, 4)
    found = await kept(rig, request.mask)
    assert (found.mode, found.size) == ("L", (64, 64))
    assert [found.getpixel(place) for place in ((8, 8), (32, 32))] == [0, 255]
    fields = {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
    assert fields["Mask"] == "edge blurred by 4 px"


async def test_a_mask_that_is_given_goes_before_what_is_erased(
    rig: Rig, ada: Person, general: str
) -> None:
    uploads = [await ada.upload("hole.png", erased()), await ada.upload("mask.png", mask())]
    await imagine(
        ada,
        general,
        prompt="a lighthouse --mask-blur 9",
        init_picture=uploads[0],
        mask=uploads[1],
        denoising=0.5,
    )
    request = (await rig.job(1)).request
    assert (request.denoising_strength, request.mask_blur) == (0.5, 9)
    found = await kept(rig, request.mask)
    assert (found.mode, found.size) == ("L", (32, 32))
    assert [found.getpixel((left, 20)) for left in (8, 24)] == [255, 0]


async def test_only_what_is_masked_is_drawn_and_the_rest_is_the_picture(
    rig: Rig, ada: Person, general: str
) -> None:
    """In the picture's own size; every pixel that the blurred mask leaves black stays."""
    upload = await ada.upload("hole.png", erased())
    told = "--inpaint-area only-masked --mask-padding 8 --masked-content fill --mask-blur 2"
    message = await imagine(
        ada, general, prompt=f"a lighthouse {told}", init_picture=upload, width=128, height=128
    )
    job = await rig.job(1)
    request = job.request
    assert (request.width, request.inpaint_area, request.mask_padding) == (128, "only masked", 8)
    assert (request.masked_content, request.mask_blur) == ("fill", 2)
    fields = {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
    assert fields["Mask"] == (
        "edge blurred by 2 px, begins with the colours around it, drawn alone, with 8 px around it"
    )
    again = await pressed(rig, ada, general, message, "Reroll")
    assert again.request.inpaint_area == "only masked"
    said = await refused(
        ada,
        general,
        prompt="a fox --masked-content paint",
        init_picture=await ada.upload("hole.png", erased()),
    )
    assert "masked_content can’t be “paint”. It is one of: fill, latent noise," in said["content"]


async def test_its_blur_may_be_told_of_what_is_erased(rig: Rig, ada: Person, general: str) -> None:
    upload = await ada.upload("hole.png", erased())
    await imagine(ada, general, prompt="a lighthouse --mask-blur 0", init_picture=upload)
    assert (await rig.job(1)).request.mask_blur == 0


async def test_a_picture_with_nothing_erased_has_no_mask(
    rig: Rig, ada: Person, general: str
) -> None:
    await imagine(ada, general, init_picture=await ada.upload("red.png", png()))
    assert (await rig.job(1)).request.mask is None
    said = await refused(
        ada,
        general,
        prompt="a fox --mask-blur 8",
        init_picture=await ada.upload("blue.png", png("blue")),
    )
    assert "mask_blur only makes sense together with mask" in said["content"]


async def test_masks_that_say_nothing_are_refused(rig: Rig, ada: Person, general: str) -> None:
    black = await ada.upload("black.png", mask("black"))
    picture = await ada.upload("red.png", png())
    for given, said in (
        ({"mask": black}, "mask only makes sense together with init_picture"),
        ({"mask": black, "init_picture": picture}, "black.png is no mask: nothing in it is white"),
    ):
        assert said in (await refused(ada, general, prompt="a fox", **given))["content"]
    assert await rig.studio.jobs.get(1) is None


def picture(size: tuple[int, int], white: tuple[int, int, int, int] | None = None) -> bytes:
    """A black picture with a white part."""
    found = Image.new("RGB", size)
    if white is not None:
        found.paste("white", white)
    file = io.BytesIO()
    found.save(file, "PNG")
    return file.getvalue()


async def test_a_mask_that_leaves_nothing_to_draw_is_refused_before_it_is_queued(
    rig: Rig, ada: Person, general: str
) -> None:
    """As a line that is finer than its blur; with less blur it is drawn."""
    start = await ada.upload("red.png", png())
    line = await ada.upload("line.png", picture((64, 64), (30, 0, 33, 64)))
    said = await refused(ada, general, prompt="a fox --mask-blur 20", init_picture=start, mask=line)
    assert "The mask is too fine" in said["content"]
    assert await rig.studio.jobs.get(1) is None
    again = [
        await ada.upload("red.png", png()),
        await ada.upload("line.png", picture((64, 64), (24, 0, 40, 64))),
    ]
    told = "a fox --mask-blur 2"
    shown = await imagine(ada, general, prompt=told, init_picture=again[0], mask=again[1])
    first = await rig.job(1)
    act = await ada.click(await ada.message(general, shown["id"]), "Edit")
    lines = "mask_blur: 60"
    sent = await act.submit(prompt="a fox", negative_prompt="", parameters=lines)
    assert "The mask is too fine" in (await sent.response())["content"]
    assert first.request.mask_blur == 2


async def test_a_mask_of_another_shape_and_a_picture_of_a_pixel_are_refused(
    rig: Rig, ada: Person, general: str
) -> None:
    wide = await ada.upload("wide.png", picture((128, 32), (0, 0, 64, 32)))
    start = await ada.upload("red.png", png())
    said = await refused(ada, general, prompt="a fox", init_picture=start, mask=wide)
    assert "quite another shape than its picture (128 × 32, and 64 × 64 pixels)" in said["content"]
    pixel = await ada.upload("pixel.png", picture((1, 1)))
    said = await refused(ada, general, prompt="a fox", init_picture=pixel)
    assert "only 1 × 1 pixels" in said["content"]
    assert await rig.studio.jobs.get(1) is None


async def test_an_animation_is_refused(rig: Rig, ada: Person, general: str) -> None:
    frames = [Image.new("RGB", (32, 32), name) for name in ("red", "lime")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    upload = await ada.upload("party.gif", file.getvalue())
    said = await refused(ada, general, prompt="a fox", init_picture=upload)
    assert "party.gif moves" in said["content"]
    assert await rig.studio.jobs.get(1) is None


async def test_a_refused_request_is_tried_again_with_its_mask_or_without(
    rig: Rig, ada: Person, general: str
) -> None:
    upload = await ada.upload("hole.png", erased())
    sent = await ada.command(general, "imagine", prompt="a fox", model="dmeo", init_picture=upload)
    message = await answer_to(sent)
    for job, lines in ((1, "init_picture: kept\nmask: kept"), (2, "init_picture: kept")):
        act = await ada.click(message, RETRY)
        assert "mask: kept" in (await shown(act))["parameters"].split("\n")
        again = await act.submit(prompt="a fox", negative_prompt="", parameters=lines)
        await finished(ada, general, await again.deferred())
        request = (await rig.job(job)).request
        assert (request.mask is None) == ("mask" not in lines)


async def test_what_comes_of_a_masked_picture(rig: Rig, ada: Person, general: str) -> None:
    """Drawn again it has the mask; started from, it is a picture like others."""
    upload = await ada.upload("hole.png", erased())
    message = await imagine(ada, general, init_picture=upload)
    first = (await rig.job(1)).request
    again = await pressed(rig, ada, general, message, "Reroll")
    assert (again.request.mask, again.request.seed != first.seed) == (first.mask, True)
    act = await press(ada, message, "Start from it")
    sent = await act.submit(prompt="a fox", negative_prompt="", parameters="denoising: 0.5")
    await finished(ada, general, await sent.deferred())
    begun = (await rig.job(3)).request
    assert (begun.mask, begun.init_picture) == (None, (await rig.job(1)).pictures[0].file)
