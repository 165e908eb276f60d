"""Every kind of file that people name as a picture on the command line."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.acceptance.test_bad_pictures import DRAWN, READ, SAID
from tests.fixtures import handed_in

BAD = [kind for kind, said in SAID.items() if said != DRAWN]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """With the limits that the sentences name."""
    file = tmp_path / "config.toml"
    text = "[limits]\nupload_mib = 1\nupload_megapixels = 2\nside = 512\nupscaled_side = 2048\n"
    file.write_text(text, encoding="utf-8")
    return file


def written(folder: Path, kinds: Sequence[str]) -> list[str]:
    """The files of those kinds, by path."""
    paths = []
    for kind in kinds:
        name, data = handed_in.files()[kind]
        (folder / name).write_bytes(data)
        paths.append(str(folder / name))
    return paths


async def ran(config: Path, *arguments: str) -> int:
    return await asyncio.to_thread(main, ["--config", str(config), *arguments])


@pytest.mark.slow
async def test_describe_says_of_each_what_is_wrong(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(tmp_path, BAD)
    assert await ran(config, "describe", *files) == 1
    shown = capsys.readouterr()
    assert (shown.out, "Traceback" in shown.err) == ("", False)
    lines = [line for line in shown.err.splitlines() if line.startswith(str(tmp_path))]
    assert len(lines) == len(BAD)
    for kind, line in zip(BAD, lines, strict=True):
        assert SAID[kind] in line, kind


@pytest.mark.slow
async def test_info_says_of_each_what_is_wrong(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = list(handed_in.files())
    files = written(tmp_path, kinds)
    assert await ran(config, "info", *files) == 1
    shown = capsys.readouterr()
    assert (shown.out, "Traceback" in shown.err) == ("", False)
    lines = [line for line in shown.err.splitlines() if "[" not in line]
    assert len(lines) == len(kinds)
    for kind, line in zip(kinds, lines, strict=True):
        assert READ[kind] in line, kind


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--init-picture", "--mask", "--control-picture"])
async def test_imagine_is_given_none_of_them(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    kinds = BAD if option == "--init-picture" else ["one pixel", "GIF that moves", "no picture"]
    out = str(tmp_path / "out")
    more = [] if option == "--init-picture" else ["--init-picture", *written(tmp_path, ["plain"])]
    for kind, file in zip(kinds, written(tmp_path, kinds), strict=True):
        assert await ran(config, "imagine", "a fox", *more, option, file, "--out", out) == 1
        shown = capsys.readouterr()
        assert (shown.out, "Traceback" in shown.err) == ("", False), kind
        assert SAID[kind] in shown.err, kind
    assert not any(Path(out).iterdir())
