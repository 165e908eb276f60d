"""How long the models of a large collection take to be found, and whom that keeps waiting.

    python -m benchmarks.catalogue [--files 10000] [--layouts 200] [--baseline 300]

Files as long in their headers as real ones (2,500 tensors, 230 kB), their weights a hole. Timed
are the first scan, one after a restart, one more; the longest that the event loop stood still
meanwhile, and while nothing was done, which is what the machine itself adds; and what a keystroke
of autocomplete costs. The baseline reads a whole header with `json.loads` and looks at every name,
and ranks every name at each keystroke, on a part of the same files in the same run; its times are
scaled to all of them.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rapidfuzz import fuzz, process

from generation.catalog import Catalog
from generation.models import ModelKind

TENSORS = 2500
TYPED = ("p", "pi", "pixel", "pixl", "watercolour castel", "zzzzqqqq", "dragon_neon", "elf v3")
WORDS = [
    "pixel",
    "art",
    "style",
    "anime",
    "girl",
    "portrait",
    "landscape",
    "detailed",
    "pony",
    "illustrious",
    "ink",
    "sketch",
    "water",
    "color",
    "oil",
    "painting",
    "photo",
    "real",
    "film",
    "grain",
    "neon",
    "cyber",
    "punk",
    "steam",
    "castle",
    "dragon",
    "elf",
    "robot",
]
TICK = 0.001
"""Seconds between two looks at whether the event loop stands still."""
SCAN_MAX, STALL_MAX_MS, KEYSTROKE_MAX_MS = 10.0, 50.0, 5.0
LORA_MARKS = (".lora_down.weight", ".lora_A.weight", "_lora.down.weight")


def main() -> int:
    """Measure and print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--layouts", type=int, default=200, help="how many of them differ")
    parser.add_argument("--baseline", type=int, default=300, help="files that the baseline reads")
    asked = parser.parse_args()
    structlog_off()
    folder = Path(tempfile.mkdtemp(prefix="catalogue-"))
    try:
        make_files(folder / "loras", asked.files, asked.layouts)
        return asyncio.run(measure(folder, asked.files, asked.baseline))
    finally:
        shutil.rmtree(folder)


async def measure(folder: Path, files: int, baseline: int) -> int:
    """Print the table of one collection."""
    models, cache = folder / "loras", folder / "cache" / "models.msgpack"
    old_scan, old_cpu = read_as_before(models, baseline, files)
    catalog = Catalog([models], cache)
    _, _, idle = await timed(lambda: asyncio.sleep(2))
    rows = [("first scan", old_scan, old_cpu, *await timed(catalog.scan))]
    again = Catalog([models], cache)
    rows.append(("scan after a restart", old_scan, old_cpu, *await timed(again.scan)))
    rows.append(("scan once more", old_scan, old_cpu, *await timed(again.scan)))
    assert len(again.loras) == files
    print(f"{files} LoRAs of {TENSORS} tensors; the baseline read {baseline} of them\n")
    print(
        f"{'':<24}{'before s':>10}{'CPU s':>9}{'now s':>9}{'CPU s':>9}{'ratio':>8}{'stall ms':>10}"
    )
    for name, old, cpu_before, now, cpu, stall in rows:
        print(
            f"{name:<24}{old:>10.1f}{cpu_before:>9.1f}{now:>9.2f}{cpu:>9.2f}{old / now:>7.0f}x"
            f"{stall:>10.1f}"
        )
    print(f"{'nothing for 2 s':<70}{idle:>10.1f}")
    before, after = keystrokes(again)
    print(f"\n{'CPU ms a keystroke':<24}{'before':>10}{'now':>9}{'ratio':>8}")
    for typed, old, now in zip(TYPED, before, after, strict=True):
        print(f"{typed:<24}{old:>10.2f}{now:>9.2f}{old / now:>7.0f}x")
    stall = max(row[5] for row in rows)
    missed = [
        *(["first scan"] if rows[0][3] > SCAN_MAX else []),
        *(["event loop"] if stall > STALL_MAX_MS else []),
        *(["keystroke"] if max(after) > KEYSTROKE_MAX_MS else []),
    ]
    print(
        f"\ntargets: first scan {SCAN_MAX:.0f} s, event loop {STALL_MAX_MS:.0f} ms,"
        f" keystroke {KEYSTROKE_MAX_MS:.0f} ms; missed: {', '.join(missed) or 'none'}"
    )
    return int(bool(missed))


def make_files(folder: Path, files: int, layouts: int) -> None:
    """LoRAs whose headers differ in their metadata, and of which each layout is used by several."""
    folder.mkdir(parents=True)
    shapes = [tensors(rank=8 + number) for number in range(layouts)]
    for number in range(files):
        text, end = shapes[number % layouts]
        metadata = json.dumps({"format": "pt", "ss_output_name": f"lora {number}"})
        header = f'{{"__metadata__":{metadata},{text}}}'.encode()
        words = (WORDS[number * step % len(WORDS)] for step in (1, 7, 31))
        with (folder / f"{'_'.join(words)}-v{number}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + end)


def tensors(rank: int) -> tuple[str, int]:
    """The tensors of a header, as text, and where their weights end."""
    entries, end = [], 0
    for number in range(TENSORS):
        part = ("alpha", "lora_down.weight", "lora_up.weight")[number % 3]
        shape = ([], [rank, 640], [640, rank])[number % 3]
        size = 2 * (shape[0] * shape[1] if shape else 1)
        name = f"lora_unet_down_blocks_{number // 3}_attn2_to_k.{part}"
        entries.append(
            f'"{name}":{{"dtype":"F16","shape":{json.dumps(shape, separators=(",", ":"))},'
            f'"data_offsets":[{end},{end + size}]}}'
        )
        end += size
    return ",".join(entries), end


def read_as_before(folder: Path, sample: int, files: int) -> tuple[float, float]:
    """Seconds and seconds of CPU for all, by reading some of the files whole with `json.loads`."""
    began, cpu = time.perf_counter(), time.process_time()
    for path in sorted(folder.iterdir())[:sample]:
        size = path.stat().st_size
        with path.open("rb") as file:
            text = file.read(int.from_bytes(file.read(8), "little"))
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        assert max(entry["data_offsets"][1] for entry in entries.values()) <= size
        assert any(mark in name for name in shapes for mark in LORA_MARKS)
    scale = files / sample
    return (time.perf_counter() - began) * scale, (time.process_time() - cpu) * scale


async def timed(scan: object) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, and the longest stall of the event loop in milliseconds."""
    began, cpu = time.perf_counter(), time.process_time()
    async with watched() as stalls:
        await scan()  # type: ignore[operator]
    return time.perf_counter() - began, time.process_time() - cpu, max(stalls, default=0.0) * 1000


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """How much later than asked for the event loop woke, in seconds, again and again."""
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            stalls.append(time.perf_counter() - due)

    task = asyncio.create_task(watch())
    await asyncio.sleep(TICK * 2)
    stalls.clear()
    try:
        yield stalls
    finally:
        task.cancel()


def keystrokes(catalog: Catalog) -> tuple[list[float], list[float]]:
    """Milliseconds of CPU for each text typed, before and now; each is asked for the first time."""
    names = [lora.name for lora in catalog.loras]
    before, now = [], []
    for typed in TYPED:
        began = time.process_time()
        folded = typed.casefold()
        inside = [name for name in names if folded in name.casefold()]
        inside.sort(key=lambda name: (not name.casefold().startswith(folded), name.casefold()))
        process.extract(typed, names, scorer=fuzz.WRatio, limit=25, score_cutoff=55)
        before.append((time.process_time() - began) * 1000)
    catalog.names(ModelKind.LORA)
    for typed in TYPED:
        began = time.process_time()
        catalog.names(ModelKind.LORA).matching(typed, 25)
        now.append((time.process_time() - began) * 1000)
    return before, now


def structlog_off() -> None:
    """No log lines between the table's."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


if __name__ == "__main__":
    sys.exit(main())
