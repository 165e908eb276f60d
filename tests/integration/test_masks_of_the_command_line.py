"""Masks on the command line: what is wrong with one is a sentence, and nothing is drawn."""

import argparse
from pathlib import Path

import pytest
from PIL import Image

from bot.__main__ import main
from bot.cli.imagine import add_flags
from tests.integration.test_command_line import config as config

Size = tuple[int, int]


def picture(
    path: Path, size: Size = (64, 64), white: tuple[int, int, int, int] | None = None
) -> str:
    """A black picture with a white part."""
    found = Image.new("RGB", size)
    if white is not None:
        found.paste("white", white)
    found.save(path)
    return str(path)


def moving(path: Path) -> str:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "white")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return str(path)


def said_of(config: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What is written, of what is drawn nothing."""
    out = ["--out", str(config.parent / "out")]
    assert main(["--config", str(config), "imagine", "a cat", *options, *out]) == 1
    found = capsys.readouterr()
    assert found.out == ""
    return " ".join(found.err.split())


@pytest.mark.slow
def test_what_is_no_mask_is_said(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--init-picture", picture(tmp_path / "start.png"))
    text = tmp_path / "text.png"
    text.write_text("no picture")
    half = (0, 0, 32, 64)
    for file, said in (
        (picture(tmp_path / "black.png"), "black.png is no mask: nothing in it is white"),
        (picture(tmp_path / "wide.png", (128, 32), half), "quite another shape than its picture"),
        (picture(tmp_path / "pixel.png", (1, 1), (0, 0, 1, 1)), "pixel.png has only 1 × 1 pixels"),
        (picture(tmp_path / "line.png", white=(30, 0, 31, 64)), "The mask is too fine"),
        (moving(tmp_path / "party.gif"), "party.gif moves"),
        (str(text), "text.png"),
        (str(tmp_path / "nowhere.png"), "nowhere.png"),
    ):
        assert said in said_of(config, capsys, *start, "--mask", file), file


def test_what_is_erased_of_what_can_not_be_drawn_over_is_said(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hole = Image.new("RGBA", (64, 64), "red")
    hole.putpixel((30, 30), (0, 0, 0, 0))
    hole.save(tmp_path / "hole.png")
    said = said_of(config, capsys, "--init-picture", str(tmp_path / "hole.png"))
    assert "The mask is too fine" in said
    tiny = Image.new("RGBA", (1, 1))
    tiny.save(tmp_path / "tiny.png")
    said = said_of(config, capsys, "--init-picture", str(tmp_path / "tiny.png"))
    assert "only 1 × 1 pixels" in said


def test_words_that_can_not_be_are_said(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--init-picture", picture(tmp_path / "start.png"))
    for options, said in (
        (("--mask-words", "hat"), "mask_words only makes sense together with init_picture"),
        ((*start, "--mask-words", "hat"), "CIDAS/clipseg-rd64-refined"),
        ((*start, "--mask-words", " "), "--mask-words needs a value"),
        ((*start, "--mask-words", "!"), "Say in words what of the picture is drawn anew"),
        ((*start, "--mask-growth", "4"), "together with mask_words"),
    ):
        assert said in said_of(config, capsys, *options), options


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ((), None),
        (("--differential",), "on"),
        (("--differential", "on"), "on"),
        (("--differential", "off"), "off"),
        (("--differential", "--seed", "5"), "on"),
    ],
)
def test_differential_is_on_with_and_without_a_value(
    written: tuple[str, ...], means: str | None
) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    found = parser.parse_args(["a cat", "--mask", "m.png", *written])
    assert (found.prompt, found.differential) == ("a cat", means)
    # as of all that means something alone
    found = parser.parse_args(["a cat", "--faces", "--cutout"])
    assert (found.faces, found.cutout) == ("all", "auto")
