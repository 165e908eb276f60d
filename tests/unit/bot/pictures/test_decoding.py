"""What the rest of the bot has of decoding: bounds from the limits, turns, small pictures."""

import asyncio
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from bot.pictures import decoding
from bot.pictures.decoder_messages import Normalise
from bot.pictures.decoding import PictureDecoder, check_weight
from bot.pictures.decoding_process import CHUNK
from generation.refusal import Refused
from generation.rules import Limits
from tests.fixtures.pictures import drawn, encoded, flat_png, with_scans

LIMITS = Limits(side=512, upscaled_side=1024, upload_mib=1, upload_megapixels=9)
PNG = encoded(drawn(), "PNG")


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((1024, 768), (1024, 768)),  # as large as it can be drawn
        ((3000, 3000), (1024, 1024)),
        ((2000, 1000), (1024, 512)),
        ((2000, 500), (2000, 500)),  # a square of it has 500 pixels a side, less than can be drawn
        ((4000, 1000), (2048, 512)),
        ((8000, 200), (2048, 51)),
    ],
)
async def test_uploads_stay_as_large_as_can_be_drawn(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    async with PictureDecoder(LIMITS) as decoder:
        assert opened(await decoder.upload(flat_png(*size), "a.png")).size == kept


async def test_uploads_over_the_limits_are_refused() -> None:
    async with PictureDecoder(LIMITS) as decoder:
        with pytest.raises(Refused) as raised:
            await decoder.upload(flat_png(3001, 3000), "large.png")
        assert (raised.value.code, raised.value.params["high"]) == ("picture_too_large", 9)
        with pytest.raises(Refused, match="picture_too_heavy"):
            await decoder.upload(PNG + bytes(2**20), "heavy.png")


@pytest.mark.parametrize(
    ("size", "code"),
    [((7, 300), "picture_tiny"), ((8, 300), ""), ((9000, 30), "picture_narrow")],
)
async def test_uploads_that_show_next_to_nothing_are_refused(
    size: tuple[int, int], code: str
) -> None:
    async with PictureDecoder(LIMITS) as decoder:
        if not code:
            assert opened(await decoder.upload(flat_png(*size), "a.png")).size == size
            return
        with pytest.raises(Refused) as raised:
            await decoder.upload(flat_png(*size), "a.png")
    assert raised.value.code == code
    assert (raised.value.params["width"], raised.value.params["height"]) == size


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
async def test_uploads_that_move_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), name) for name in ("red", "lime")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    async with PictureDecoder(LIMITS) as decoder:
        with pytest.raises(Refused, match="picture_animated"):
            await decoder.upload(data, "moves")
        # beside a model one is its first frame
        assert await decoder._foreign.make(Normalise(decoder._bounds), [data], "moves")


def test_a_file_over_the_limit_is_never_said_to_be_at_it() -> None:
    with pytest.raises(Refused) as raised:
        check_weight("a.png", 2**20 + 1, LIMITS)
    assert (raised.value.params["size"], raised.value.params["high"]) == (1.1, 1)


@pytest.mark.slow
async def test_six_hostile_uploads_keep_another_persons_waiting_for_one() -> None:
    slow, done = with_scans(2900, 2900, 100), []

    async def upload(decoder: PictureDecoder, person: int, data: bytes) -> None:
        async with decoder.turn(person):
            try:
                await decoder.upload(data, "a.jpg")
                done.append(f"{person} has it")
            except Refused as refused:
                done.append(f"{person} {refused.code}")

    async with PictureDecoder(LIMITS, seconds=0.15) as decoder, asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(upload(decoder, 1, slow))
        await asyncio.sleep(0)
        group.create_task(upload(decoder, 2, b"no picture"))
    assert done[:2] == ["1 picture_too_slow", "2 picture_unreadable"]
    assert done[2:] == ["1 picture_too_slow"] * 5


async def test_our_own_pictures_do_not_wait_for_uploads() -> None:
    async with PictureDecoder(LIMITS) as decoder:
        upload = asyncio.create_task(decoder.upload(with_scans(2900, 2900, 100), "slow.jpg"))
        await asyncio.sleep(0)
        sheet = await decoder.sheet([PNG, PNG], 64, "a.webp")
        light = await decoder.lightened(PNG, 80, 1.0, "a.png")
        assert not upload.done()
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
    assert (opened(sheet).size, opened(light).size) == ((64, 24), (64, 48))


async def test_the_picture_beside_a_model_is_small_and_read_once(tmp_path: Path) -> None:
    path = tmp_path / "ink.preview.png"
    path.write_bytes(encoded(drawn(1200, 900, "RGBA"), "PNG"))
    async with PictureDecoder(LIMITS) as decoder:
        made = await decoder.preview(path)
        assert (opened(made).mode, opened(made).size) == ("RGB", (512, 384))
        assert await decoder.preview(path) is made
        path.write_bytes(PNG)
        assert opened(await decoder.preview(path)).size == (64, 48)


async def test_one_that_cannot_be_read_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, read = [], decoding._read_at_most

    def counted(path: Path, size: int) -> bytes:
        tried.append(path)
        return read(path, size)

    monkeypatch.setattr(decoding, "_read_at_most", counted)
    path = tmp_path / "ink.preview.png"
    path.write_bytes(b"no picture")
    async with PictureDecoder(LIMITS) as decoder:
        for _ in range(2):
            with pytest.raises(Refused, match="picture_unreadable"):
                await decoder.preview(path)
    assert len(tried) == 1


async def test_a_picture_of_gigabytes_beside_a_model_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ink.preview.png"
    path.touch()
    os.truncate(path, 2**32)
    async with PictureDecoder(LIMITS) as decoder:
        with pytest.raises(Refused, match="picture_too_heavy"):
            await decoder.preview(path)


async def test_few_small_pictures_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PREVIEWS_KEPT", 2)
    async with PictureDecoder(LIMITS) as decoder:
        for number in range(4):
            path = tmp_path / f"{number}.png"
            path.write_bytes(PNG)
            await decoder.preview(path)
        assert [key[0].name for key in decoder._previews] == ["2.png", "3.png"]


async def test_many_pages_of_models_at_once(tmp_path: Path) -> None:
    """More than a person may have waiting."""
    paths = [tmp_path / f"{number}.png" for number in range(24)]
    for path in paths:
        path.write_bytes(PNG)
    async with PictureDecoder(LIMITS) as decoder:
        made = await asyncio.gather(*(decoder.preview(path) for path in paths * 2))
    assert {opened(one).size for one in made} == {(64, 48)}


async def test_a_file_goes_through_the_pipe_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the loop turns between them."""
    written, write = [], asyncio.StreamWriter.write

    def counted(writer: asyncio.StreamWriter, data: bytes) -> None:
        written.append(len(data))
        write(writer, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", counted)
    large = encoded(Image.new("RGB", (1000, 1000)), "BMP")
    async with PictureDecoder(Limits()) as decoder:
        await decoder.upload(large, "a.bmp")
        await decoder.lightened(large, 80, 1.0, "a.bmp")
    assert sum(written) > 2 * len(large)
    assert max(written) <= CHUNK


async def test_a_lighter_copy_and_a_sheet_keep_transparency() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (40, 30), (200, 20, 20, 90)).save(file, "PNG")
    async with PictureDecoder(Limits()) as decoder:
        light = await decoder.lightened(file.getvalue(), 80, 0.5, "a.png")
        sheet = await decoder.sheet([file.getvalue(), PNG], 64, "b.webp")
    for made in (light, sheet):
        with Image.open(io.BytesIO(made)) as opened:
            assert opened.mode == "RGBA"
            shown = opened.getchannel("A").histogram()
        assert sum(shown[80:100]) > 0
