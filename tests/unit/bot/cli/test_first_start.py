"""The first start of an installed program: what is written, and that nothing is written over."""

from pathlib import Path

import pytest

from bot import config_file, shipped
from bot.cli import first_start
from bot.config_file import load_config
from bot.storage_folder import StartError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to start in, of a program that is installed and no checkout."""
    monkeypatch.setattr(shipped, "INSTALLED", True)
    monkeypatch.setattr(config_file, "INSTALLED", True)
    return tmp_path


def test_it_writes_every_setting_with_its_comment_and_says_what_comes_next(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first_start.begin(installed / "config.toml")
    assert (installed / "config.toml").read_bytes() == shipped.TEMPLATE.read_bytes()
    assert {folder.name for folder in (installed / "models").iterdir()} == set(first_start.KINDS)
    assert f"A new Darkroom in {installed}" in capsys.readouterr().out
    found = load_config(installed / "config.toml", {})
    assert found.model_folders == (installed / "models", shipped.SHIPPED_MODELS)
    assert found.huggingface.folder == installed / "models" / "huggingface"


def test_what_is_there_is_not_written_over(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (installed / "config.toml").write_text("# mine\n", encoding="utf-8")
    first_start.begin(installed / "config.toml")
    assert (installed / "config.toml").read_text(encoding="utf-8") == "# mine\n"
    assert [file.name for file in installed.iterdir()] == ["config.toml"]
    assert capsys.readouterr().out == ""


def test_a_folder_that_can_not_be_written_to_is_said(installed: Path) -> None:
    (installed / "models").write_text("a file", encoding="utf-8")
    with pytest.raises(StartError, match=r"Run darkroom in a folder of its own"):
        first_start.begin(installed / "config.toml")
    assert not (installed / "config.toml").exists()


def test_without_settings_the_defaults_hold_where_none_are_needed(installed: Path) -> None:
    found = load_config(installed / "config.toml", {}, needed=False)
    assert found.storage.folder == installed / "data"
    assert found.model_folders == (shipped.SHIPPED_MODELS,), "its own is not there yet"
    assert list(installed.iterdir()) == []
