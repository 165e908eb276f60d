"""`darkroom backup` and `darkroom restore`, as whoever runs the bot sees them."""

import asyncio
import contextlib
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.cli.config_copy import LEFT_OUT, without_secrets
from bot.config_file import load_config
from bot.storage_folder import open_store, owning
from storage.history import Query
from tests import object_store
from tests.unit.storage.test_personal_data import drawn

PROJECT = Path(__file__).parents[4]


def place(folder: Path, more: str = "") -> Path:
    """A config.toml in a folder of its own."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'[storage]\nfolder = "data"\n{more}', encoding="utf-8")
    return folder / "config.toml"


def draw(config: Path, count: int, size: int = 8) -> None:
    """So many pictures in its store."""

    async def act() -> None:
        async with open_store(load_config(config, {})) as store:
            for number in range(count):
                await drawn(store, png=number.to_bytes(4, "big") * (size // 4), prompt=f"{number}")

    asyncio.run(act())


def found(config: Path) -> dict[str, bytes]:
    """Prompts and their pictures."""

    async def look() -> dict[str, bytes]:
        async with open_store(load_config(config, {})) as store:
            jobs = (await store.history.page(1, Query())).jobs
            return {j.request.prompt: await store.jobs.read_picture(j.pictures[0]) for j in jobs}

    return asyncio.run(look())


def test_a_backup_is_made_beside_a_bot_that_runs_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (
        place(tmp_path / "old", '[nats]\nurl = ""\ntoken = "hush"\n'),
        place(tmp_path / "new"),
    )
    draw(old, 3)
    backups = f"{tmp_path / 'backups'}/"
    assert main(["--config", str(old), "backup", backups]) == 2
    assert capsys.readouterr().err.startswith(f"{backups}: there is no such folder.")
    assert not (tmp_path / "backups").exists()
    (tmp_path / "backups").mkdir()
    with owning(load_config(old, {})):
        assert main(["--config", str(old), "backup", str(tmp_path / "backups")]) == 0
    [file] = (tmp_path / "backups").iterdir()
    assert "3 requests, 3 pictures" in capsys.readouterr().out
    assert main(["--config", str(new), "restore", str(file)]) == 0
    assert found(new) == found(old)
    assert "hush" not in (new.parent / "data" / "config-of-backup.toml").read_text()
    said = capsys.readouterr().out
    assert "Restored as it was at" in said
    assert f"{new} holds" in said

    # nothing is written over
    assert main(["--config", str(old), "backup", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["--config", str(new), "restore", str(file)]) == 2
    assert "is not empty" in capsys.readouterr().err
    # nor is what only looks empty
    third = place(tmp_path / "third")
    (third.parent / "data").mkdir()
    (third.parent / "data" / "mine.txt").touch()
    assert main(["--config", str(third), "restore", str(file)]) == 2
    assert "is not empty" in capsys.readouterr().err
    file.write_bytes(b"no backup")
    assert main(["--config", str(place(tmp_path / "fourth")), "restore", str(file)]) == 2
    assert "is refused" in capsys.readouterr().err


def test_missing_pictures_are_named_on_both_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = place(tmp_path / "old")
    draw(old, 25)
    lost = list((old.parent / "data" / "pictures").glob("*/*.png"))[:22]
    for path in lost:
        path.unlink()
    file = str(tmp_path / "b.zip")
    assert main(["--config", str(old), "backup", file]) == 1
    said = capsys.readouterr()
    assert said.err.count("is not there.") == 20
    assert "and 2 more" in said.err
    assert main(["--config", str(place(tmp_path / "new")), "restore", file]) == 1
    assert "is not in the backup" in capsys.readouterr().err


def test_what_was_taken_out_of_a_backup_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = place(tmp_path / "old"), place(tmp_path / "new")
    draw(old, 2)
    assert main(["--config", str(old), "backup", str(tmp_path / "b.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "b.zip") as whole:
        kept = {name: whole.read(name) for name in whole.namelist()}
    kept.pop(next(name for name in kept if name.startswith("pictures/")))
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_STORED) as less:
        for name, data in kept.items():
            less.writestr(name, data)
    assert main(["--config", str(new), "restore", str(tmp_path / "c.zip")]) == 1
    assert "pictures, 1 in all" in capsys.readouterr().err


def test_a_restore_that_was_cut_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = place(tmp_path / "old"), place(tmp_path / "new")
    draw(old, 3)
    file = str(tmp_path / "b.zip")
    assert main(["--config", str(old), "backup", file]) == 0

    with monkeypatch.context() as patch:

        async def stop(*_: object) -> str:
            raise KeyboardInterrupt

        patch.setattr("storage.restore._restore_rows", stop)
        assert main(["--config", str(new), "restore", file]) == 130
    assert not (new.parent / "data" / "darkroom.sqlite3").exists()
    assert main(["--config", str(new), "restore", file]) == 0
    assert found(new) == found(old)


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_no_half_file(tmp_path: Path) -> None:
    config = place(tmp_path / "old")
    draw(config, 60, size=400_000)
    command = [sys.executable, "-m", "bot", "--config", str(config), "backup"]
    whole = tmp_path / "whole.zip"
    begun = time.monotonic()
    assert subprocess.run([*command, str(whole)], cwd=PROJECT, check=False).returncode == 0
    took = time.monotonic() - begun
    cut = 0
    for number in range(4):
        file = tmp_path / f"{number}.zip"
        process = subprocess.Popen([*command, str(file)], cwd=PROJECT, stdout=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(took * (0.4 + 0.14 * number))
        process.kill()
        process.wait()
        if file.exists():
            assert zipfile.ZipFile(file).testzip() is None
        else:
            cut += 1
    assert cut


@pytest.fixture
def address() -> Iterator[str]:
    with object_store.running() as started:
        yield started


@pytest.mark.slow
def test_from_a_folder_to_an_object_store_and_back(tmp_path: Path, address: str) -> None:
    object_store.make_bucket(address, "pictures")
    options = {**object_store.SECRETS, "endpoint": address}
    shown = ", ".join(f'{key} = "{value}"' for key, value in options.items())
    old, last = place(tmp_path / "old"), place(tmp_path / "last")
    between = place(
        tmp_path / "between",
        f'pictures = "s3://pictures/here"\npicture_options = {{ {shown} }}\n',
    )
    draw(old, 20)
    assert main(["--config", str(old), "backup", str(tmp_path / "1.zip")]) == 0
    assert main(["--config", str(between), "restore", str(tmp_path / "1.zip")]) == 0
    assert main(["--config", str(between), "backup", str(tmp_path / "2.zip")]) == 0
    assert main(["--config", str(last), "restore", str(tmp_path / "2.zip")]) == 0
    assert found(last) == found(between) == found(old)


SECRETIVE = """
[storage]
database = "postgresql+asyncpg://darkroom:s3cret@host/db"   # mine
picture_options = { endpoint = "http://here", access_key_id = "AKIA1", secret_access_key = 'x/y' }
[nats]
url = "nats://me:other@host:4222"
password = "hush"
[huggingface]
token = "hf_abc"
[worker]
webui_flags = "--medvram --gradio-auth ada:pass --xformers"
"""


def test_a_token_in_an_address_of_nats_is_not_in_it() -> None:
    text = '[nats]\nurl = "nats://t0ken@one:4222,tls://t1ken@two"  # of the attic\n'
    kept = without_secrets(text)
    assert kept == text.replace("t0ken", LEFT_OUT).replace("t1ken", LEFT_OUT)
    assert without_secrets(f"# t0ken\n{text}") is None


def test_no_secret_of_the_settings_is_in_it() -> None:
    kept = without_secrets(SECRETIVE)
    assert kept is not None
    for secret in ("s3cret", "AKIA1", "x/y", "other", "hush", "hf_abc", "ada:pass"):
        assert secret not in kept, secret
    assert kept.count(LEFT_OUT) == 7
    for plain in ("# mine", "http://here", "darkroom:", "--xformers"):
        assert plain in kept
    assert without_secrets(kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        '[nats]\npassword = "h\\u0075sh"\n',
        '# was "hush1"\n[nats]\npassword = "hush1" # hush1\n',
        "[nats\n",
    ],
)
def test_settings_are_left_out_where_a_secret_would_stay(text: str) -> None:
    assert without_secrets(text) is None
