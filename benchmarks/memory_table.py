"""What the planner of memory chooses: `python -m benchmarks.memory_table` writes docs/memory.md's
tables anew, `--check` only tells whether they are up to date.

Sizes of weights are those of files as published; what is needed beside them is reckoned, as
`python -m benchmarks.activations` shows.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import msgspec

from generation.families.family import Beside, Family
from generation.families.flux2 import KLEIN_4B, KLEIN_9B
from generation.families.qwen_image import QWEN_IMAGE
from generation.families.z_image import Z_IMAGE
from generation.memory_needs import LOOSE, WORKSPACE
from generation.memory_plan import GIB, MemoryBounds, NoRoom, PlannedPart, PlannedTask, Room, plan
from generation.memory_words import in_words

PAGE: Final = Path("docs/memory.md")
BEGIN: Final = "<!-- tables: python -m benchmarks.memory_table -->"
END: Final = "<!-- end of tables -->"
CARDS: Final = (4, 6, 8, 10, 12, 16, 24)
"""GiB."""
DESKTOP: Final = 0.5
"""GiB of a card that a desktop and the driver hold."""
RESERVE: Final = 0.5
SYSTEM: Final = 4
"""GiB of main memory that the system and other programs hold."""
COUNT, BATCH, STEPS = 4, 4, 20
T5: Final = 9_525_000_000
CLIP_L: Final = 247_000_000
CLIP_G: Final = 1_389_000_000
VAE: Final = 168_000_000


class Model(msgspec.Struct, frozen=True):
    """A model as people have it."""

    title: str
    denoiser: int
    blocks: int
    leaves: int
    text: tuple[tuple[int, int, int], ...]
    """Of each text encoder its weights, and streamed by blocks and by leaves."""
    beside: Beside
    side: int = 1024
    rows: int = 2


SD1: Final = Beside(denoise=260, denoise_fixed=0)
SDXL: Final = Beside(denoise=158, denoise_fixed=0)
SD35_MEDIUM: Final = Beside(denoise=168, denoise_fixed=7_200_000)
SD35_LARGE: Final = Beside(denoise=248, denoise_fixed=9_400_000)
FLUX: Final = Beside(denoise=413, denoise_fixed=58_000_000)


def _clip(size: int) -> tuple[int, int, int]:
    return size, size // 4, size // 8


def _t5(share: float) -> tuple[int, int, int]:
    return int(T5 * share), int(1_035_000_000 * share), int(347_000_000 * share)


def _flux(title: str, share: float, t5: float) -> Model:
    return Model(
        title,
        int(23_803_000_000 * share),
        int(1_488_000_000 * share),
        int(227_000_000 * share),
        text=(_clip(CLIP_L), _t5(t5)),
        beside=FLUX,
        rows=1,
    )


def _of_two(title: str, of: Family, share: float, rows: int = 1) -> Model:
    """A denoiser and one text encoder, both at the same share of half precision; without guidance,
    or with two rows.
    """

    def sizes(part: str) -> tuple[int, int, int]:
        whole, blocks, leaves = (of.bytes_at_half[part], *of.streamed[part])
        return int(whole * share), int(blocks * share), int(leaves * share)

    text = (sizes("text_encoder"),)
    return Model(title, *sizes("transformer"), text=text, beside=of.beside, rows=rows)


def _sd35(title: str, sizes: tuple[int, int, int], share: float, beside: Beside) -> Model:
    text = (_clip(CLIP_L), _clip(CLIP_G), _t5(0.5))
    whole, blocks, leaves = (int(size * share) for size in sizes)
    return Model(title, whole, blocks, leaves, text=text, beside=beside)


LARGE: Final = (16_293_000_000, 1_110_000_000, 250_000_000)
MODELS: Final = (
    Model(
        "SD 1.5 fp16, 512²",
        1_719_000_000,
        1_039_000_000,
        118_000_000,
        text=(_clip(CLIP_L),),
        beside=SD1,
        side=512,
    ),
    Model(
        "SDXL fp16",
        5_135_000_000,
        1_418_000_000,
        118_000_000,
        text=(_clip(CLIP_L), _clip(CLIP_G)),
        beside=SDXL,
    ),
    _sd35(
        "SD3.5 medium fp16, T5 fp8",
        (4_939_000_000, 898_000_000, 495_000_000),
        1,
        SD35_MEDIUM,
    ),
    _sd35("SD3.5 large fp16, T5 fp8", LARGE, 1, SD35_LARGE),
    _sd35("SD3.5 large fp8, T5 fp8", LARGE, 0.5, SD35_LARGE),
    _flux("Flux.1 fp16, T5 fp16", 1, 1),
    _flux("Flux.1 fp8, T5 fp8", 0.5, 0.5),
    _flux("Flux.1 Q8_0, T5 fp8", 8.5 / 16, 0.5),
    _flux("Flux.1 Q4_K_S, T5 Q5_K_M", 4.6 / 16, 5.7 / 16),
    _of_two("Flux.2 Klein 4B bf16", KLEIN_4B, 1),
    _of_two("Flux.2 Klein 4B fp8, Qwen3 fp8", KLEIN_4B, 0.5),
    _of_two("Flux.2 Klein 9B fp8, Qwen3 fp8", KLEIN_9B, 0.5),
    _of_two("Z-Image Turbo bf16", Z_IMAGE, 1),
    _of_two("Qwen-Image fp8, Qwen2.5 fp8", QWEN_IMAGE, 0.5, rows=2),
)


def task_of(model: Model, count: int = COUNT, batch: int = BATCH, side: int = 0) -> PlannedTask:
    """Some pictures of that model."""
    pixels = (side or model.side) ** 2
    denoise = model.rows * (model.beside.denoise * pixels + model.beside.denoise_fixed)
    decode = model.beside.decode
    text = [
        PlannedPart(
            name=f"text_encoder_{number}",
            role="text",
            bytes=size,
            block=blocks,
            leaf=leaves,
            reread=True,
        )
        for number, (size, blocks, leaves) in enumerate(model.text, 1)
    ]
    return PlannedTask(
        parts=(
            PlannedPart(
                name="denoiser",
                role="denoiser",
                bytes=model.denoiser,
                block=model.blocks,
                leaf=model.leaves,
            ),
            *text,
            PlannedPart(name="vae", role="vae", bytes=VAE),
        ),
        count=count,
        batch=batch,
        steps=STEPS,
        fixed=WORKSPACE,
        encode=int(model.beside.encode * LOOSE),
        denoise=int(denoise * LOOSE),
        decode=int(decode * pixels * LOOSE),
        tiled=int(decode * min(pixels, 512**2) * LOOSE),
    )


def room_of(card: float, memory: float, beside: float = 0.0) -> Room:
    """A card of so many GiB in a computer of so much memory, other programs on it."""
    free = max(0.0, card - DESKTOP - RESERVE - beside)
    ram = int(max(0.0, memory - SYSTEM) * GIB)
    return Room(device=int(free * GIB), ram=ram, total=int(card * GIB), pinned=ram // 2)


def chosen(model: Model, room: Room) -> str:
    """What the planner says of it, as a cell of a table."""
    found = plan(task_of(model), room, MemoryBounds())
    if isinstance(found, NoRoom):
        return f"no: {in_words(found)}"
    batch = f"; {found.batch} at a time" if 1 < found.batch < COUNT else ""
    return in_words(found) + batch


def tables() -> str:
    """All tables in Markdown."""
    found = []
    for title, memory, beside in (
        ("With 32 GiB of main memory, nothing else on the card", 32, 0.0),
        ("With 32 GiB of main memory, beside a program that holds 3 GiB of the card", 32, 3.0),
        ("With 16 GiB of main memory, nothing else on the card", 16, 0.0),
    ):
        found += ["", f"### {title}", ""]
        found.append("| model | " + " | ".join(f"{card} GB" for card in CARDS) + " |")
        found.append("|---" * (len(CARDS) + 1) + "|")
        for model in MODELS:
            cells = (chosen(model, room_of(card, memory, beside)) for card in CARDS)
            found.append(f"| {model.title} | " + " | ".join(cells) + " |")
    return "\n".join([*found[1:], ""])


def with_tables(page: str) -> str:
    """The page with its tables anew."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main() -> None:
    """Write them, or look whether they are as written."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory_table")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where out of date")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    new = with_tables(page)
    if arguments.check:
        sys.exit(int(new != page))
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
