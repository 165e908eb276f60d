"""docs/architecture.md names every part of the bot, and only those that there are."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
TEXT = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_floor_and_every_feature_is_named() -> None:
    floors = TEXT.split("## The floors of `bot/`")[1].split("\n## ")[0]
    for part in (PROJECT / "bot").iterdir():
        if part.name == "py.typed" or (part.name.startswith("__") and part.name != "__main__.py"):
            continue
        name = f"{part.name}/" if part.is_dir() else part.name
        assert f"`{name}`" in floors, name
    for part in (PROJECT / "bot" / "features").iterdir():
        if part.is_dir() and not part.name.startswith("__"):
            assert f"`{part.name}/`" in floors, part.name


def test_every_path_that_is_named_is_there() -> None:
    paths = re.findall(r"`((?:bot|generation|storage|playground|training)/[\w./]*)`", TEXT)
    assert len(paths) > 20
    missing = [path for path in paths if not (PROJECT / path).exists()]
    assert missing == []
