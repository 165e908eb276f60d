"""Stand-in art: coloured shapes under the names of the emoji, so that no test needs a network."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from training.things import THINGS


@pytest.fixture(scope="session")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as npm unpacks the two packages."""
    folder = tmp_path_factory.mktemp("emoji")
    assets = folder / "node_modules/@lobehub/fluent-emoji-3d/assets"
    names = folder / "node_modules/emojibase-data/en"
    assets.mkdir(parents=True)
    names.mkdir(parents=True)
    entries = []
    for i, thing in enumerate(THINGS):
        code = f"{0x1F300 + i:04x}"
        entries.append({"label": thing.label, "hexcode": code.upper()})
        picture = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
        colour = (37 * i % 256, 91 * i % 256, 151 * i % 256, 255)
        ImageDraw.Draw(picture).regular_polygon((128, 128, 110), 3 + i % 6, i * 7, fill=colour)
        picture.save(assets / f"{code}.webp", lossless=True)
    (names / "data.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder
