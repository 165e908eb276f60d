"""`python -m bot models`: all that is there, as a table and as JSON."""

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.cli import models
from bot.config import Config, ModelsSettings, StorageSettings
from tests.unit.generation.test_catalog import SD1, SDXL, VAE, kohya, write


@pytest.fixture
def without_log() -> Iterator[None]:
    """What an earlier test may have had written to stderr as well."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    write(tmp_path / "models" / "dream [v2].safetensors", SD1)
    write(tmp_path / "models" / "large.safetensors", SDXL)
    write(tmp_path / "models" / "ink.safetensors", kohya(768))
    write(tmp_path / "models" / "fine.safetensors", VAE)
    (tmp_path / "models" / "old.ckpt").touch()
    monkeypatch.setenv("COLUMNS", "200")
    settings = ModelsSettings(folders=(tmp_path / "models",))
    storage = StorageSettings(folder=tmp_path / "data")
    return Config(file=tmp_path / "config.toml", models=settings, storage=storage)


async def printed(config: Config, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    parser = argparse.ArgumentParser()
    models.add_flags(parser)
    assert await models.models(config, parser.parse_args(flags)) == 0
    return capsys.readouterr().out


async def test_the_table(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    out = await printed(config, capsys)
    (dream,) = [line for line in out.splitlines() if "dream" in line]
    assert "dream [v2]" in dream
    assert "checkpoint" in dream
    assert "Stable Diffusion 1.x" in dream
    assert "can't run it" not in dream
    assert "python -m bot convert" in out
    assert "old.ckpt" in out


async def test_json(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads((await printed(config, capsys, "--json")).splitlines()[-1])
    by_name = {model["name"]: model for model in found["models"]}
    assert by_name["ink"]["kind"] == "lora"
    assert by_name["fine"]["family"] == "sd"
    assert by_name["dream [v2]"]["problem"] == ""
    assert by_name["dream [v2]"]["file"].endswith("dream [v2].safetensors")
    (problem,) = found["problems"]
    assert problem["code"] == "model_pickle"


async def test_long_names_are_shown_whole(
    config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a-name-" + "of-many-words-" * 12
    write(config.models.folders[0] / f"{name}.safetensors", SD1)
    monkeypatch.setenv("COLUMNS", "100")
    out = await printed(config, capsys)
    assert name in "".join(out.split("│")[2].strip() for out in out.splitlines() if "│" in out)


@pytest.mark.usefixtures("without_log")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("drem [v2]", "There is no model “drem [v2]”. Nearest: dream [v2], "),
        ("-h", "There is no model “-h”."),
        ("odd", "odd is a Hunyuan-DiT model, which this bot can't run yet. Choose another model."),
        ("cut", "The model file cut.safetensors can't be loaded: "),
        ("old", "old.ckpt can run code when it is opened. Convert it to .safetensors first: "),
    ],
)
async def test_what_can_t_be_checked_gets_one_sentence(
    config: Config, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, said: str
) -> None:
    folder = config.models.folders[0]
    write(folder / "odd.safetensors", {"mlp_t5.0.weight": (8, 8)})
    cut = write(folder / "cut.safetensors", SD1)
    with cut.open("r+b") as file:
        file.truncate(cut.stat().st_size - 1)
    parser = argparse.ArgumentParser()
    models.add_flags(parser)
    flags = parser.parse_args([f"--check={name}", "--out", str(tmp_path / "out")])
    assert await models.models(config, flags) == 1
    printed = capsys.readouterr()
    assert '"file"' not in printed.out
    (line,) = printed.err.splitlines()
    assert line.startswith(said)
    assert str(tmp_path) not in line
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("flag", ["--check=", "--out= "])
def test_an_argument_that_names_nothing(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", flag])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ": name a " in line


@pytest.mark.parametrize("arguments", [["models", "--json"], ["convert", "nowhere.ckpt"]])
def test_neither_command_imports_torch(arguments: list[str]) -> None:
    code = (
        f"import sys; from bot.__main__ import main; status = main({arguments!r});"
        "heavy = {'torch', 'diffusers', 'generation.runtime'} & {*sys.modules};"
        "sys.exit(str(heavy) if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if arguments[0] == "models":
        assert (done.returncode, done.stderr) == (0, "")
        assert "demo" in [model["name"] for model in json.loads(done.stdout)["models"]]
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.strip() == "nowhere.ckpt: there is no such file."
