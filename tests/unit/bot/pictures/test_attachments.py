"""Pictures within what Discord takes."""

import io
import os
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from bot.locales import Texts
from bot.pictures import file_texts, thumbnails
from bot.pictures.attachments import Attachment, JobAttachments, ShownPictures
from bot.pictures.decoding import PictureDecoder
from bot.pictures.decoding_process import DecodingProcess
from generation.metadata import About, embed, infotext
from generation.refusal import Refused
from generation.rules import Limits
from tests.fixtures.requests import a_request


def noise(side: int) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
async def test_a_lighter_copy_says_how_it_was_made(kind: str, mode: str) -> None:
    if (kind, mode) == ("JPEG", "RGBA"):
        return
    file = io.BytesIO()
    channels = os.urandom(len(mode) * 200 * 200)
    Image.frombytes(mode, (200, 200), channels).save(file, kind, quality=100)
    about = About(request=a_request(prompt="ein Fuchs 🦊, 狐"), index=0, seed=5)
    original = embed(file.getvalue(), about)
    shown = ShownPictures((Attachment("darkroom-1-1.png", original),))
    async with PictureDecoder(Limits()) as decoder:
        pictures = JobAttachments(None, None, decoder, None, None)  # type: ignore[arg-type]
        for copied in (await pictures.within(shown, 30_000), await pictures.lighter(shown, 0)):
            [copy] = copied.attachments
            assert len(copy.content) < len(original)
            with Image.open(io.BytesIO(copy.content)) as picture:
                picture.load()
                comment = picture.getexif().get_ifd(0x8769)[0x9286]
            assert comment == b"UNICODE\0" + infotext(about).encode("utf-16-be")
            said = file_texts.texts(copy.content, copy.name)
            assert msgspec.json.decode(said["darkroom"], type=About) == about


@pytest.mark.parametrize("limit", [60_000, 20_000])
async def test_what_is_over_the_limit_becomes_lighter_and_the_rest_stays(limit: int) -> None:
    large, small = noise(256), noise(8)
    shown = ShownPictures(
        (Attachment("large.png", large), Attachment("small.png", small, spoiler=True)), missing=1
    )
    async with PictureDecoder(Limits()) as decoder:
        pictures = JobAttachments(None, None, decoder, None, None)  # type: ignore[arg-type]
        fitted = await pictures.within(shown, limit)
        unchanged = await pictures.within(shown, 10**7)
    assert [len(one.content) <= limit for one in fitted.attachments] == [True, True]
    assert [Path(one.name).suffix for one in fitted.attachments] == [".webp", ".png"]
    assert fitted.attachments[1] == shown.attachments[1]
    assert (fitted.lightened, fitted.missing) == (True, 1)
    assert unchanged == shown


@pytest.mark.parametrize("broken", ["file", "decoder"])
async def test_what_can_t_be_made_lighter_is_left_out_and_named(broken: str) -> None:
    large, damaged = noise(128), noise(128)[:-9000] + bytes(9000)
    first = Attachment("first.png", damaged if broken == "file" else large)
    shown = ShownPictures((first, Attachment("small.png", noise(8))))
    async with PictureDecoder(Limits()) as decoder:
        if broken == "decoder":
            decoder._own = DecodingProcess(memory=2**20, command=("no-such-program-here",))
        pictures = JobAttachments(None, None, decoder, None, None)  # type: ignore[arg-type]
        fitted = await pictures.within(shown, 10_000)
        lighter = await pictures.lighter(ShownPictures((first,)), 0)
    assert [one.name for one in fitted.attachments] == ["small.png"]
    assert (fitted.missing, fitted.heavy) == ((1, 0) if broken == "file" else (0, 1))
    assert not fitted.lightened
    assert lighter.attachments == ()
    said = {"file": "gone or damaged", "decoder": "too large for Discord"}[broken]
    assert said in fitted.remarks(Texts("en-US"))


async def test_a_decoder_that_can_t_be_had_is_a_refusal() -> None:
    async with PictureDecoder(Limits()) as decoder:
        decoder._own = decoder._foreign = DecodingProcess(
            memory=2**20, command=("no-such-program-here",)
        )
        for made in (
            decoder.upload(noise(8), "a.png"),
            decoder.lightened(noise(8), 80, 1.0, "a.png"),
            decoder.sheet([noise(8)], 64, "a.png"),
        ):
            with pytest.raises(Refused) as raised:
                await made
            assert (raised.value.code, raised.value.params) == ("decoder_failed", {"file": "a.png"})


async def test_a_thumbnail_is_there_once_the_decoder_is(tmp_path: Path) -> None:
    path = tmp_path / "model.png"
    path.write_bytes(noise(8))
    async with PictureDecoder(Limits()) as decoder:
        working = decoder._foreign
        decoder._foreign = DecodingProcess(memory=2**20, command=("no-such-program-here",))
        assert await thumbnails.of_model(path, "m.webp", decoder) is None
        decoder._foreign = working
        assert await thumbnails.of_model(path, "m.webp", decoder) is not None
