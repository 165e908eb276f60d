"""The files of pictures: in the format that a person, a preset, a server or the owner wants."""

import io
from typing import Any

import msgspec
import pytest
from PIL import Image

from generation import metadata, picture_files
from generation.picture_files import own_request
from generation.preset import Preset
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, finished, png, press
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import last_job


async def posted(rig: Rig, message: Json) -> Image.Image:
    [file] = message["attachments"]
    status, content = await rig.control.get(file["url"])
    assert status == 200
    found = Image.open(io.BytesIO(content))
    found.load()
    assert file["filename"].endswith(picture_files.suffix_of(content))
    return found


async def test_a_flag_says_what_file_a_picture_becomes(rig: Rig, ada: Person, general: str) -> None:
    shown = await imagine(ada, general, prompt="a fox --format jpg --quality 70", seed=5)
    picture = await posted(rig, shown)
    assert picture.format == "JPEG"
    job = await rig.job(1)
    assert (job.request.format, job.request.quality) == ("jpeg", 70)
    exif = picture.getexif().get_ifd(picture_files.EXIF_IFD)
    comment = exif[picture_files.USER_COMMENT]
    assert comment.removeprefix(b"UNICODE\0").decode("utf-16-be").startswith("a fox\nSteps: 4")
    own = own_request(exif[picture_files.MAKER_NOTE])
    assert own is not None
    assert msgspec.json.decode(own, type=metadata.About).request == job.request
    again = await finished(
        ada, general, await (await ada.command(general, "replay", job=1)).deferred()
    )
    assert "The same as #1" in again["content"]
    assert (await posted(rig, again)).tobytes() == picture.tobytes()
    # what a button makes of it is such a file too
    act = await ada.click(await ada.message(general, shown["id"]), "Upscale")
    larger = await posted(rig, await finished(ada, general, await act.deferred()))
    assert (larger.format, larger.size) == ("JPEG", (512, 512))


async def test_a_picture_in_another_format_is_started_from(
    rig: Rig, ada: Person, general: str
) -> None:
    shown = await imagine(ada, general, prompt="a fox --format webp", seed=5)
    act = await press(ada, shown, "Start from it")
    modal = await act.modal()
    assert "format: webp" in str(modal)
    job = await rig.job(1)
    file = await rig.studio.store.jobs.read_picture(job.pictures[0])
    assert picture_files.format_of(file) == "webp"
    assert picture_files.size_of(file) == (128, 128)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--format gif", "can’t be “gif”. It is one of: jpeg, png, webp."),
        ("--quality 0", "is 0; it must be from 1 to 100"),
        ("--quality 101", "is 101; it must be from 1 to 100"),
    ],
)
async def test_what_is_no_format_is_refused(
    rig: Rig, ada: Person, general: str, flag: str, said: str
) -> None:
    act = await ada.command(general, "imagine", prompt=f"a fox {flag}")
    assert said in str(await act.response())


async def test_a_person_goes_before_their_server_and_a_preset_before_both(
    rig: Rig, ada: Person, general: str
) -> None:
    store = rig.studio.store
    guild = int((await ada.state())["guilds"][0]["id"])
    await store.presets.write(guild, Preset(name="sharp", format="png", quality=80))

    async def drawn(**options: Any) -> tuple[str, int]:
        shown = await imagine(ada, general, **options)
        request = (await last_job(rig)).request
        assert (await posted(rig, shown)).format == request.format.upper()
        return request.format, request.quality

    assert await drawn() == ("png", 90)
    await store.settings.change_guild(guild, format="jpeg", quality=60)
    assert await drawn() == ("jpeg", 60)
    asked_by = (await last_job(rig)).origin.user_id
    await store.settings.change_person(asked_by, format="webp")
    assert await drawn() == ("webp", 60)
    assert await drawn(preset="sharp") == ("png", 80)
    assert await drawn(preset="sharp", prompt="a fox --format jpeg") == ("jpeg", 80)
    # a picture that was not drawn here becomes such a file too
    upload = await ada.upload("photo.png", png("blue", (90, 61)))
    act = await ada.command(general, "upscale", picture=upload)
    await finished(ada, general, await act.deferred())
    assert (await last_job(rig)).request.format == "webp"


async def test_settings_have_a_line_for_it(rig: Rig, ada: Person, general: str) -> None:
    panel = await (await ada.command(general, "settings")).response()
    assert "**File format of pictures**: as the bot has it" in str(panel)
    assert "**Quality of WebP and JPEG**: as the bot has it" in str(panel)
