"""Bad input: one sentence for the person alone, nothing queued, no traceback."""

import struct
import zlib

import pytest

from playground.person import Person
from tests.acceptance.conftest import Rig, png
from tests.acceptance.test_imagine import imagine
from tests.fixtures.pictures import drawn, encoded, with_scans

ADD_REACTIONS = 1 << 6
VIEW_CHANNEL = 1 << 10
ATTACH_FILES = 1 << 15


async def refused(person: Person, channel: str, **options: object) -> str:
    """What the person reads, and they alone."""
    await person.command(channel, "imagine", **{"prompt": "a lighthouse", **options})
    message = await person.wait_for(
        "MESSAGE_CREATE",
        lambda m: (
            m["content"] != "" and m["author"].get("bot", False) and m["channel_id"] == channel
        ),
    )
    assert message["flags"] & 64, message
    assert message["embeds"] == []
    text: str = message["content"]
    assert "Traceback" not in text
    assert len(text) < 200
    return text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": "   "}, "the prompt is empty"),
        ({"prompt": "a fox --width 1024"}, "width is 1024; it must be from 64 to 512"),
        ({"prompt": "a fox --steps 100"}, "steps is 100; it must be from 1 to 60"),
        ({"prompt": "a fox --count 9"}, "count is 9; it must be from 1 to 4"),
        ({"model": "dmeo"}, "There is no model “dmeo”. Nearest: demo"),
        ({"sampler": "Eulr a"}, "Nearest: Euler a"),
        ({"lora": "nothing"}, "There is no LoRA “nothing”"),
        ({"prompt": "a fox <lora:nothing:1>"}, "There is no LoRA “nothing”"),
        ({"prompt": "(" * 1000 + "fox" + ")" * 1000}, "more than 100 brackets one in another"),
        ({"lora_weight": 0.5}, "lora_weight only makes sense together with lora"),
        ({"denoising": 0.5}, "together with init_picture"),
        ({"control_scale": 0.5}, "together with control_picture"),
        ({"aspect": "square", "width": 64}, "either an aspect or a width"),
    ],
)
async def test_wrong_options(
    rig: Rig, ada: Person, general: str, options: dict[str, object], said: str
) -> None:
    assert said in await refused(ada, general, **options)
    assert await rig.studio.jobs.get(1) is None


async def test_an_overlong_prompt_is_refused_by_its_length(
    rig: Rig, ada: Person, general: str
) -> None:
    """Discord itself holds people to the option's length; other clients may not."""
    commands = (await ada.state())["commands"]
    [command] = [command for command in commands if command["name"] == "imagine"]
    prompt = next(option for option in command["options"] if option["name"] == "prompt")
    assert prompt["max_length"] == 4000


def bomb() -> bytes:
    """A PNG of 30,000 x 30,000 pixels in a few kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(30_000 * (30_000 // 8 + 1)), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    ids=["no picture", "cut off", "large", "heavy", "bomb", "scans", "TIFF"],
    argvalues=[
        ("notes.png", b"not a picture at all", "notes.png is no picture that can be read"),
        ("cut.png", png(size=(300, 300))[:-400], "cut.png is no picture that can be read"),
        ("large.png", png(size=(2000, 1500)), "large.png has 3 megapixels; at most 2"),
        ("heavy.png", png() + bytes(1_200_000), "heavy.png has 1.2 MiB; at most 1 MiB"),
        ("bomb.png", bomb(), "bomb.png has 900 megapixels; at most 2"),
        ("scans.jpg", with_scans(200, 200, 1000), "scans.jpg takes too long to read"),
        ("photo.png", encoded(drawn(), "TIFF"), "photo.png is no picture that can be read: its"),
    ],
)
@pytest.mark.parametrize("option", ["init_picture", "control_picture"])
async def test_uploads(
    rig: Rig, ada: Person, general: str, option: str, name: str, content: bytes, said: str
) -> None:
    upload = await ada.upload(name, content)
    assert said in await refused(ada, general, **{option: upload})
    assert await rig.studio.jobs.get(1) is None
    # the public "is thinking" is gone
    assert all(message["flags"] & 64 for message in await ada.messages(general))


async def test_missing_permissions_are_named_before_anything_is_queued(
    rig: Rig, ada: Person, general: str
) -> None:
    bot_id = (await ada.state())["application"]["bot"]["id"]
    await rig.control.overwrite(general, bot_id, deny=ATTACH_FILES | ADD_REACTIONS)
    text = await refused(ada, general)
    assert "attach files, add reactions" in text
    assert await rig.studio.jobs.get(1) is None


async def test_too_many_requests_of_one_person(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    rig.engine.step_seconds = 0.5
    for _ in range(3):
        await (await ada.command(general, "imagine", prompt="a lighthouse")).deferred()
    assert "3 requests waiting already" in await refused(ada, general)
    rig.engine.step_seconds = 0.0
    await imagine(bo, general)


async def test_an_error_of_ours_is_a_sentence_with_a_number(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(rig.client.services.requests, "ask", broken)
    text = await refused(ada, general)
    assert "Its log has the details under" in text
    assert "disk full" not in text
