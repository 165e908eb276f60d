"""The art: finds or fetches the emoji pictures and paints scenes with them."""

import json
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.things import COLOURS, THINGS

SIZE = 128  # pixels, both ways
PACKAGES = ("@lobehub/fluent-emoji-3d@1.1.0", "emojibase-data@17.0.0")

Picture = NDArray[np.uint8]  # (height, width, 3), 0..255


class ArtError(Exception):
    """The emoji art is missing, or incomplete."""


@dataclass(frozen=True)
class Placed:
    """One thing in a scene: index into THINGS; centre and width as fractions of the picture."""

    thing: int
    x: float
    y: float
    scale: float
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `layout`, `size` and `colour` index LAYOUTS, SIZES and COLOURS."""

    placed: tuple[Placed, ...]
    colour: int
    layout: int
    size: int
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    slope: float = 0.0  # how much brighter the top is than the bottom, in 0..255


class Art:
    """The sprites of all THINGS as straight-alpha RGBA pictures, 128 px wide.

    Straight alpha, because Pillow premultiplies by itself when it resizes: doing it twice
    leaves white fringes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = find_art(folder)
        codes = hexcodes(self.folder)
        self.paths = [sprite_path(self.folder, codes, thing.label) for thing in THINGS]
        self.sprites = [_load_sprite(path) for path in self.paths]

    def paint(self, scene: Scene) -> Picture:
        """Paint `scene` as (128, 128, 3)."""
        base = np.array(list(COLOURS.values())[scene.colour], np.float32) + scene.tint
        shade = np.linspace(scene.slope, -scene.slope, SIZE, dtype=np.float32)[:, None, None]
        canvas = np.clip(np.broadcast_to(base, (SIZE, SIZE, 3)) + shade, 0, 255)
        picture = Image.fromarray(canvas.round().astype(np.uint8))
        for placed in scene.placed:
            width = round(SIZE * placed.scale)
            sprite = self.sprites[placed.thing].resize((width, width), Image.Resampling.BILINEAR)
            if placed.mirrored:
                sprite = ImageOps.mirror(sprite)
            left = round(placed.x * SIZE - width / 2)
            top = round(placed.y * SIZE - width / 2)
            picture.paste(sprite, (left, top), sprite)
        return np.asarray(picture)


def find_art(folder: Path) -> Path:
    """The `node_modules` folder in (or at) `folder` that holds the art; fetched if absent."""
    for candidate in (folder, folder / "node_modules"):
        if (candidate / "@lobehub" / "fluent-emoji-3d" / "assets").is_dir():
            if not (candidate / "emojibase-data" / "en" / "data.json").is_file():
                raise ArtError(f"{candidate} lacks emojibase-data, which names the pictures")
            return candidate
    _fetch(folder)
    return folder / "node_modules"


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ArtError(
            f"the emoji art is not in {folder} and npm is not installed to fetch it: install "
            "Node.js, or pass --emoji FOLDER with the unpacked packages "
            "@lobehub/fluent-emoji-3d and emojibase-data"
        )
    folder.mkdir(parents=True, exist_ok=True)
    print(f"fetching the emoji art into {folder}", flush=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
    if subprocess.run(command, check=False).returncode:
        raise ArtError("npm could not fetch the emoji art: see its message above")


def hexcodes(folder: Path) -> dict[str, str]:
    """The code points of every emoji of the art in `folder`, as in file names, by its label."""
    data = json.loads((folder / "emojibase-data/en/data.json").read_text(encoding="utf-8"))
    return {entry["label"]: entry["hexcode"].lower() for entry in data}


def sprite_path(folder: Path, codes: dict[str, str], label: str) -> Path:
    """The picture of the emoji called `label`. Raises ArtError."""
    code = codes.get(label)
    if code is None:
        raise ArtError(f"emojibase-data has no emoji called '{label}'")
    assets = folder / "@lobehub/fluent-emoji-3d/assets"
    for name in (code, code.replace("-fe0f", ""), f"{code}-fe0f"):
        path = assets / f"{name}.webp"
        if path.is_file():
            return path
    raise ArtError(f"the emoji art has no picture of '{label}' ({code}.webp)")


def _load_sprite(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        square = picture.convert("RGBA")
    return square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def random_for(*parts: object) -> random.Random:
    """A generator fixed by `parts` alone, so that a resumed run sees the same pictures."""
    return random.Random("/".join(map(str, parts)))
