"""What hostile and large uploads cost the bot and the other people.

    python -m benchmarks.uploads

Each load is read in two ways, each in a process of its own: in threads of the bot, whole, as most
bots do, and in the decoding process. Measured are the longest time that the event loop stood still,
and how much of that it worked itself (the rest it waits for the interpreter's lock or for a core,
for which other programs of this machine are to blame too), the memory of the bot and its children
at most, and how long somebody else waits whose small picture is handed in behind the others.
"""

import argparse
import asyncio
import contextlib
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image, ImageOps

from bot.pictures.decoding import PictureDecoder
from generation.refusal import Refused
from generation.rules import Limits

PROJECT = Path(__file__).resolve().parent.parent
MIB = 2**20
STALL_MS = 50.0
"""What an upload may have the event loop work at most without a pause."""
TICK = 0.005
OTHER = 0
A_PERSON = 10
"""Pictures that each of the others hands in at once, who so are one or two."""
WAYS = ("threads", "process")

Read = Callable[[bytes, int], Coroutine[Any, Any, None]]


def photo() -> bytes:
    """40 megapixels of a JPEG as a camera writes it."""
    noise = Image.effect_noise((1000, 625), 60).resize((8000, 5000))
    return _encoded(Image.merge("RGB", [noise] * 3), "JPEG", quality=90)


def flat() -> bytes:
    """40 megapixels in some 160 kB."""
    return _encoded(Image.new("RGB", (8000, 5000), (10, 20, 30)), "PNG", compress_level=9)


def scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    jpeg = _encoded(Image.new("RGB", (side, side), (90, 120, 30)), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (count - jpeg.count(b"\xff\xda")) + jpeg[-2:]


LOADS: dict[str, tuple[Callable[[], bytes], int]] = {
    "a photo of 40 megapixels": (photo, 1),
    "20 PNGs of 40 megapixels": (flat, 20),
    "6 JPEGs of 2000 scans": (lambda: scans(1000, 2000), 6),
    "6 JPEGs of 100 scans": (lambda: scans(4000, 100), 6),
}
"""What is handed in, and how often at once. The scans are few, so that the threads end at all."""


def main() -> int:
    """Measure every load in both ways and print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "LOAD"), help=argparse.SUPPRESS)
    chosen = parser.parse_args().measure
    if chosen:
        sys.stdout.write(json.dumps(asyncio.run(measure(*chosen))))
        return 0
    print(
        f"{'load':<27}{'read in':<9}{'stall ms':>9}{'worked ms':>11}{'MiB':>7}"
        f"{'other waits s':>15}{'all s':>8}"
        f"{'ratio of waits':>16}"
    )
    worst = 0.0
    for load in LOADS:
        found = {way: _in_process(way, load) for way in WAYS}
        for way, row in found.items():
            ratio = row["waited"] / found["threads"]["waited"]
            print(
                f"{load:<27}{way:<9}{row['stall_ms']:>9.1f}{row['worked_ms']:>11.1f}{row['mib']:>7.0f}"
                f"{row['waited']:>15.2f}{row['all']:>8.1f}{ratio:>16.3f}"
            )
        worst = max(worst, found["process"]["worked_ms"])
    verdict = "meets" if worst <= STALL_MS else "MISSES"
    print(f"\nThe process {verdict} its target: {worst:.1f} ms of work, at most {STALL_MS:.0f} ms.")
    return int(worst > STALL_MS)


def _in_process(way: str, load: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.uploads", "--measure", way, load]
    done = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def measure(way: str, load: str) -> dict[str, float]:
    """One load in one way."""
    make, count = LOADS[load]
    hostile, small = await asyncio.to_thread(make), _encoded(Image.new("RGB", (64, 64)), "PNG")
    async with PictureDecoder(Limits()) as decoder:
        read = _by(decoder) if way == "process" else _by_threads
        await read(small, OTHER)  # threads and process are there
        with _Watch() as watch:
            ticking = asyncio.create_task(watch.tick())
            begun = time.perf_counter()
            others = [
                asyncio.create_task(read(hostile, 1 + number // A_PERSON))
                for number in range(count)
            ]
            await asyncio.sleep(0.05)
            handed_in = time.perf_counter()
            await read(small, OTHER)
            waited = time.perf_counter() - handed_in
            await asyncio.gather(*others)
            spent = time.perf_counter() - begun
            ticking.cancel()
    return {
        "stall_ms": watch.stall * 1000,
        "worked_ms": watch.worked * 1000,
        "mib": watch.most / MIB,
        "waited": waited,
        "all": spent,
    }


async def _by_threads(data: bytes, _person: int) -> None:
    await asyncio.to_thread(_whole, data)


def _whole(data: bytes) -> bytes:
    """The whole picture as RGB, upright."""
    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    return _encoded(upright, "PNG", compress_level=1)


def _by(decoder: PictureDecoder) -> Read:
    async def read(data: bytes, person: int) -> None:
        async with decoder.turn(person):
            with contextlib.suppress(Refused):
                await decoder.upload(data, "a picture")

    return read


class _Watch:
    """How long the event loop stood still and worked, and how much memory was taken, at most."""

    def __init__(self) -> None:
        self.stall = 0.0
        self.worked = 0.0
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._measure)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    async def tick(self) -> None:
        while True:
            before, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            self.worked = max(self.worked, time.thread_time() - worked)
            self.stall = max(self.stall, time.perf_counter() - before - TICK)

    def _measure(self) -> None:
        bot = psutil.Process()
        while not self._done.wait(0.02):
            self.most = max(self.most, sum(_resident([bot, *bot.children()])))


def _resident(processes: Sequence[psutil.Process]) -> list[int]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(process.memory_info().rss)
    return found


def _encoded(picture: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
