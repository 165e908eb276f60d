"""`python -m bot info`: what pictures say of how they were made, for people and programs."""

import json
from pathlib import Path

import pytest
from PIL import PngImagePlugin

from bot.__main__ import main
from generation.metadata import About, embed
from generation.request import GenerationRequest
from tests.fixtures.pictures import drawn, encoded
from tests.fixtures.requests import a_request

TEXT = """a lighthouse {red|blue}
Negative prompt: fog
Steps: 4, Sampler: Euler a, CFG scale: 3, Seed: 5, Size: 128x128, Model: demo, ENSD: 31337"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text("[storage]\nfolder = 'data'\n", encoding="utf-8")
    return file


def written(folder: Path, name: str, text: str) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    file = folder / name
    file.write_bytes(encoded(drawn(), "PNG", pnginfo=info))
    return file


def run(config: Path, *arguments: object) -> int:
    return main(["--config", str(config), "info", *map(str, arguments)])


def test_each_file_is_a_line_with_the_request_that_it_means(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.png"
    request = a_request(prompt="灯塔", count=2)
    own.write_bytes(embed(encoded(drawn(), "PNG"), About(request=request, index=1, seed=8)))
    other = written(tmp_path, "other.png", TEXT.replace("Model: demo", "Model: gone"))
    assert run(config, "--json", written(tmp_path, "a.png", TEXT), other, own) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, second, third = map(json.loads, out.splitlines())
    assert first["program"] == "AUTOMATIC1111"
    assert first["prompt"] == first["request"]["prompt"] == "a lighthouse {red|blue}"
    assert set(first["request"]) == set(GenerationRequest.__struct_fields__)
    assert first["request"]["guidance_scale"] == 3
    assert (first["missing"], first["ignored"]) == ([], ["ENSD"])
    assert second["request"] is None
    assert [one["name"] for one in second["missing"]] == ["gone"]
    assert "gone" in second["refused"]
    assert second["options"]["seed"] == 5
    assert third["request"]["count"] == 2
    assert third["program"] == "Darkroom"


def test_what_says_nothing_is_one_sentence_and_the_others_are_read(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.png"
    plain.write_bytes(encoded(drawn(), "PNG"))
    files = (plain, tmp_path / "gone.png", tmp_path, written(tmp_path, "a.png", TEXT))
    assert run(config, *files) == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 3
    assert "plain.png carries no generation data" in err
    assert "gone.png can't be read" in err
    assert "prompt: a lighthouse {red|blue}" in out
    assert "Means nothing here: ENSD." in out
