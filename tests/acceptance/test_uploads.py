"""Pictures that people hand in: those that every viewer shows, and those that are to do harm."""

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from bot.pictures.decoding import PictureDecoder
from bot.pictures.decoding_process import DecodingProcess
from bot.pictures.normalising import PartOfFile
from playground.person import Person
from tests.acceptance.conftest import Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_retry import answer_to, shown
from tests.fixtures.pictures import DATA, with_scans
from tests.patience import PATIENCE


@pytest.mark.parametrize(
    "name", ["exif_ascii_int.jpg", "png_rawexif.png", "png_big_itxt.png", "p3_red.png"]
)
async def test_pictures_that_every_viewer_shows_are_drawn_from(
    rig: Rig, ada: Person, general: str, name: str
) -> None:
    upload = await ada.upload(name, (DATA / name).read_bytes())
    await imagine(ada, general, init_picture=upload)
    kept = (await rig.job(1)).request.init_picture
    assert kept is not None
    with Image.open(io.BytesIO(await rig.studio.jobs.read_upload(kept))) as picture:
        assert (picture.format, picture.mode, picture.info) == ("PNG", "RGB", {})


async def test_one_persons_hostile_pictures_do_not_stop_anothers(
    rig: Rig, ada: Person, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened, upload, turn = [], PictureDecoder.upload, PictureDecoder.turn

    def asked(decoder: PictureDecoder, person: int, *most: int) -> Any:
        happened.append("bo asks" if str(person) == bo_id else "ada asks")
        return turn(decoder, person, *most)

    async def decoded(decoder: PictureDecoder, data: bytes, name: str, *part: PartOfFile) -> bytes:
        try:
            return await upload(decoder, data, name, *part)
        finally:
            happened.append(f"{name} is done")

    bo_id = (await bo.state())["me"]["id"]
    monkeypatch.setattr(PictureDecoder, "turn", asked)
    monkeypatch.setattr(PictureDecoder, "upload", decoded)
    # within every limit, and yet a second of work each
    slow = await ada.upload("slow.jpg", with_scans(1400, 1400, 99))
    small = await bo.upload("cat.png", (DATA / "p3_red.png").read_bytes())
    for _ in range(6):
        await ada.command(general, "imagine", prompt="a cat", init_picture=slow)
    async with asyncio.timeout(PATIENCE):
        while happened.count("ada asks") < 6:
            await asyncio.sleep(0.01)
    await imagine(bo, general, init_picture=small)
    meanwhile = happened[happened.index("bo asks") : happened.index("cat.png is done")]
    assert meanwhile.count("slow.jpg is done") <= 1


async def test_where_the_decoder_does_not_start_it_is_said_in_words(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = DecodingProcess(memory=2**20, command=("no-such-program-here",))
    monkeypatch.setattr(rig.studio.decoder, "_foreign", broken)
    upload = await ada.upload("cat.png", (DATA / "p3_red.png").read_bytes())
    act = await ada.command(general, "imagine", prompt="a cat", init_picture=upload)
    refused = await answer_to(act)
    assert "cat.png could not be read" in refused["content"]
    assert "went wrong" not in refused["content"]
    # what was typed is still there
    act = await ada.click(refused, "Edit and try again")
    assert (await shown(act))["prompt"] == "a cat"
