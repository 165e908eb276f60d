"""The process that decodes: reused, bounded, and replaced when it is lost."""

import asyncio
import io
import os
import sys

import psutil
import pytest
from PIL import Image

from bot.pictures.decoder import ADDRESSES
from bot.pictures.decoder_messages import Lighten, Normalise, Sheet
from bot.pictures.decoding_process import DecoderFailedError, DecodingProcess
from bot.pictures.normalising import Bounds
from generation.refusal import Refused
from tests.fixtures.pictures import drawn, encoded, flat_png, with_scans

MIB = 2**20
WORK = Normalise(Bounds(pixels=40_000_000, side=256, cover=256, longest=1024))
PNG = encoded(drawn(), "PNG")


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.is_running()}


def misbehaving(what: str, *, seconds: float = 60) -> DecodingProcess:
    command = (sys.executable, "-m", "tests.fixtures.decoders", what)
    return DecodingProcess(memory=100 * MIB, seconds=seconds, command=command)


def decoder(*, seconds: float = 60, memory: int = 1024 * MIB) -> DecodingProcess:
    return DecodingProcess(memory=memory, seconds=seconds)


async def test_pictures_one_after_the_other_from_one_process() -> None:
    before = children()
    async with decoder() as process:
        made = [await process.make(WORK, [PNG], "a.png") for _ in range(3)]
        assert len(children() - before) == 1
        large = await asyncio.gather(
            *(process.make(WORK, [encoded(drawn(900, 700), "BMP")], "b") for _ in range(3))
        )
        assert len(children() - before) == 1
    assert children() - before == set()
    assert {Image.open(io.BytesIO(one)).size for one in (*made, *large)} == {(64, 48), (329, 256)}


async def test_refusals_name_the_file() -> None:
    async with decoder() as process:
        with pytest.raises(Refused) as raised:
            await process.make(WORK, [b"nothing"], "notes.png")
        assert raised.value.params == {"file": "notes.png"}
        with pytest.raises(Refused) as raised:
            await process.make(WORK, [flat_png(30_000, 30_000)], "bomb.png")
        assert raised.value.params == {"file": "bomb.png", "megapixels": 900, "high": 40}


async def test_copies_of_our_own_pictures() -> None:
    async with decoder() as process:
        light = await process.make(Lighten(80, 0.5), [PNG], "a.png")
        sheet = await process.make(Sheet(100), [PNG] * 3, "a.webp")
        with pytest.raises(Refused, match="picture_unreadable"):
            await process.make(Sheet(100), [PNG, b"damaged"], "a.webp")
    with Image.open(io.BytesIO(light)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (32, 24))
    with Image.open(io.BytesIO(sheet)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (100, 76))


async def test_a_picture_that_takes_too_long_is_left_and_the_next_is_decoded() -> None:
    slow = with_scans(3000, 3000, 100)
    before = children()
    async with decoder(seconds=0.2) as process:
        with pytest.raises(Refused) as raised:
            await process.make(WORK, [slow], "slow.jpg")
        assert (raised.value.code, raised.value.params) == (
            "picture_too_slow",
            {"file": "slow.jpg"},
        )
        assert children() - before == set()
        assert await process.make(WORK, [PNG], "a.png", seconds=60)


@pytest.mark.skipif(sys.platform != "linux", reason="limits addresses as Linux does")
async def test_a_picture_that_takes_too_much_memory_is_left() -> None:
    many = encoded(Image.new("RGB", (8000, 5000)), "PNG", compress_level=1)
    small = decoder(memory=40 * MIB)
    async with small as process:
        with pytest.raises(Refused, match="picture_too_much_memory"):
            await process.make(WORK, [many * 1], "large.png")


@pytest.mark.skipif(sys.platform != "linux", reason="others don't tell the limits of a process")
async def test_the_system_holds_it_to_its_memory_too() -> None:
    before = children()
    async with decoder(memory=700 * MIB) as process:
        await process.make(WORK, [PNG], "a.png")
        [child] = children() - before
        limits = psutil.Process(child).rlimit(psutil.RLIMIT_AS)
    assert limits == (700 * MIB + ADDRESSES,) * 2


async def test_memory_is_measured_where_the_system_sets_no_limit() -> None:
    async with misbehaving("fills the memory") as process:
        with pytest.raises(Refused, match="picture_too_much_memory"):
            await process.make(WORK, [PNG], "a.png")


@pytest.mark.parametrize("what", ["hangs", "reads nothing"])
async def test_one_that_hangs_is_ended(what: str) -> None:
    before = children()
    async with misbehaving(what, seconds=0.2) as process:
        with pytest.raises(Refused, match="picture_too_slow"):
            await process.make(WORK, [bytes(MIB)], "a.png")
        assert children() - before == set()


@pytest.mark.parametrize("what", ["dies", "ends between", "talks nonsense"])
async def test_a_picture_that_ends_the_decoder_twice_is_unreadable(what: str) -> None:
    async with misbehaving(what) as process:
        with pytest.raises(Refused) as raised:
            await process.make(WORK, [bytes(MIB)], "odd.png")
    assert (raised.value.code, raised.value.params) == ("picture_unreadable", {"file": "odd.png"})


async def test_one_that_was_killed_between_two_pictures_is_replaced() -> None:
    before = children()
    async with decoder() as process:
        await process.make(WORK, [PNG], "a.png")
        [child] = children() - before
        psutil.Process(child).kill()
        assert await process.make(WORK, [PNG], "a.png")


async def test_what_a_busy_machine_takes_long_for_is_no_slow_picture() -> None:
    async with misbehaving("waits", seconds=1) as process:
        assert await process.make(WORK, [PNG], "a.png") == PNG


async def test_whatever_it_prints_does_not_stop_it() -> None:
    async with misbehaving("talks") as process:
        assert await process.make(WORK, [PNG], "a.png") == PNG


async def test_one_that_does_not_start_is_said_with_its_reason() -> None:
    async with misbehaving("does not start") as process:
        with pytest.raises(DecoderFailedError, match="no Pillow here"):
            await process.make(WORK, [PNG], "a.png")
    missing = DecodingProcess(memory=MIB, command=("no-such-program-here",))
    with pytest.raises(DecoderFailedError, match="can't be run"):
        await missing.make(WORK, [PNG], "a.png")


@pytest.mark.slow
async def test_who_stops_waiting_leaves_no_half_a_picture_behind() -> None:
    async with decoder() as process:
        for seconds in (0, 0.02, 0.05, 0.2, 0.4):
            slow = process.make(WORK, [with_scans(3000, 3000, 90)], "slow.jpg")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(slow, seconds)
            made = await process.make(WORK, [PNG], "a.png")
            assert Image.open(io.BytesIO(made)).size == (64, 48)


async def test_closing_ends_it_whatever_it_does() -> None:
    before = children()
    process = misbehaving("hangs")
    waiting = asyncio.create_task(process.make(WORK, [PNG], "a.png"))
    while process._child is None:
        await asyncio.sleep(0.01)
    await process.close()
    with pytest.raises(DecoderFailedError, match="stops"):
        await waiting
    assert children() - before == set()


async def test_it_ends_itself_when_nobody_is_left_to_end_it() -> None:
    """Its own watchdog, which the parent's bound is usually before."""
    code = (
        "import sys, faulthandler; from bot.pictures import decoder;"
        "from bot.pictures.decoder_messages import *; from bot.pictures.normalising import Bounds;"
        "work = Normalise(Bounds(40_000_000, 256, 256, 1024));"
        "print(decoder._answer(Task(work, (), 0.2), [sys.stdin.buffer.read()]))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    said, why = await process.communicate(with_scans(3000, 3000, 100))
    assert (process.returncode, said) == (1, b"")
    assert b"Timeout" in why


async def test_nothing_but_pillow_is_imported() -> None:
    code = "import sys, bot.pictures.decoder; print('\\n'.join(sys.modules))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    loaded = {name.split(".")[0] for name in said.decode().split()}
    assert "PIL" in loaded
    assert loaded & {"discord", "torch", "numpy", "sqlalchemy", "aiohttp", "structlog"} == set()
