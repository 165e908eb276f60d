"""The same file has the same identity on every machine; another has another."""

import os
from pathlib import Path

import pytest

from generation import file_identity
from generation.file_identity import Identities


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_identity, "WHOLE_UP_TO", 1000)
    monkeypatch.setattr(file_identity, "ENDS", 100)
    monkeypatch.setattr(file_identity, "EVERY", 1000)
    monkeypatch.setattr(file_identity, "SAMPLE", 50)


def write(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_it_is_of_what_is_in_it_and_not_of_where_it_lies(tmp_path: Path) -> None:
    content = os.urandom(5000)
    one, other = write(tmp_path / "a" / "x", content), write(tmp_path / "b" / "y", content)
    assert Identities().of(one) == Identities().of(other) != ""


@pytest.mark.parametrize("at", [0, 99, 1000, 1049, 3020, 4900, 4999])
def test_a_change_within_a_sample_is_seen(tmp_path: Path, at: int) -> None:
    content = bytearray(5000)
    before = Identities().of(write(tmp_path / "x", bytes(content)))
    content[at] ^= 1
    assert Identities().of(write(tmp_path / "y", bytes(content))) != before


def test_of_a_small_file_every_byte_counts_and_of_all_their_length(tmp_path: Path) -> None:
    known = {
        Identities().of(write(tmp_path / str(at), bytes(i == at for i in range(900))))
        for at in range(0, 900, 97)
    }
    assert len(known) == 10
    lengths = {Identities().of(write(tmp_path / "z", bytes(n))) for n in (0, 1, 900, 5000, 5001)}
    assert len(lengths) == 5


def test_it_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    identities = Identities()
    file = write(tmp_path / "x", b"one")
    before = identities.of(file)
    os.utime(file, ns=(1, 1))
    assert identities.of(file) == before
    write(file, b"two")
    assert identities.of(file) != before
    file.unlink()
    assert identities.of(file) == ""


def test_a_folder_is_its_files_and_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "unet" / "weights", b"weights")
        write(tmp_path / name / "model_index.json", b"{}")
    identities = Identities()
    assert identities.of(tmp_path / "a") == identities.of(tmp_path / "b")
    write(tmp_path / "b" / "unet" / "weights", b"others")
    assert identities.of(tmp_path / "a") != identities.of(tmp_path / "b")
    (tmp_path / "b" / "unet" / "weights").rename(tmp_path / "b" / "unet" / "more")
    write(tmp_path / "b" / "unet" / "more", b"weights")
    assert identities.of(tmp_path / "a") != identities.of(tmp_path / "b")
