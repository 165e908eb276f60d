"""Hashes of model files, and when they are computed anew."""

import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
import structlog

from generation.runtime.hashes import Hashes

CONTENT = b"weights" * 300_000


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(CONTENT)
    assert Hashes(tmp_path / "cache").of(file) == hashlib.sha256(CONTENT).hexdigest()


def test_another_process_need_not_read_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(CONTENT)
    first = Hashes(tmp_path / "cache").of(file)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("it was read again"))
    assert Hashes(tmp_path / "cache").of(file) == first


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(CONTENT)
    hashes = Hashes(tmp_path / "cache")
    first = hashes.of(file)
    file.write_bytes(CONTENT.upper())
    os.utime(file, ns=(0, 0))
    assert hashes.of(file) == hashlib.sha256(CONTENT.upper()).hexdigest() != first


def test_a_folder_is_its_weights_and_settings_and_not_its_place(tmp_path: Path) -> None:
    hashes = Hashes(tmp_path / "cache")
    for name in ("one", "two"):
        (tmp_path / name / "unet").mkdir(parents=True)
        (tmp_path / name / "unet" / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "model_index.json").write_text("{}")
    (tmp_path / "two" / "README.md").write_text("about it")
    first = hashes.of(tmp_path / "one")
    assert hashes.of(tmp_path / "two") == first
    (tmp_path / "two" / "unet" / "model.safetensors").write_bytes(b"changed weights")
    assert hashes.of(tmp_path / "two") != first


def test_what_nobody_loads_of_a_folder_is_not_read(tmp_path: Path) -> None:
    hashes = Hashes(tmp_path / "cache")
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(b"weights")
    first = hashes.of(tmp_path)
    (tmp_path / "safety_checker").mkdir()
    (tmp_path / "safety_checker" / "model.safetensors").write_bytes(b"more weights")
    (tmp_path / "vocabulary.json").write_text("{}")
    (tmp_path / "v1-5-pruned.safetensors").write_bytes(b"more weights")
    assert hashes.of(tmp_path) == first


def test_of_a_part_alone_the_weights_count(tmp_path: Path) -> None:
    hashes = Hashes(tmp_path / "cache")
    (tmp_path / "config.json").write_text("{}")
    first = hashes.of(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert hashes.of(tmp_path) != first


@pytest.mark.parametrize("content", ["", "[]", '{"a": ', '{"a": 1}'])
def test_a_cache_that_was_damaged_is_only_slow(tmp_path: Path, content: str) -> None:
    (tmp_path / "hashes.json").write_text(content)
    file = tmp_path / "a.safetensors"
    file.write_bytes(CONTENT)
    assert Hashes(tmp_path).of(file) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("taken", ["cache", "cache/hashes.json"])
def test_a_cache_that_can_not_be_written_costs_no_picture(tmp_path: Path, taken: str) -> None:
    """A file lies where the folder would be, or a folder where the file would."""
    if "/" in taken:
        (tmp_path / taken / "x").mkdir(parents=True)
    else:
        (tmp_path / taken).touch()
    file = tmp_path / "a.safetensors"
    file.write_bytes(CONTENT)
    with structlog.testing.capture_logs() as logged:
        assert Hashes(tmp_path / "cache").of(file) == hashlib.sha256(CONTENT).hexdigest()
    assert [line["log_level"] for line in logged] == ["warning"]


def a_lora(file: Path, metadata: dict[str, str]) -> bytes:
    """A small file of tensors; returns what stands behind its header."""
    weights = struct.pack("<4f", 1, 2, 3, 4)
    header = {"__metadata__": metadata} if metadata else {}
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    text = json.dumps(header | {"x": entry}).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + weights)
    return weights


def test_a_lora_is_known_by_its_weights_and_not_by_its_header(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    hashes = Hashes(tmp_path / "cache")
    for metadata in ({}, {"ss_tag": "x"}, {"sshs_model_hash": "no hash"}):
        weights = a_lora(file, metadata)
        assert hashes.of_tensors(file) == hashlib.sha256(weights).hexdigest()
        assert hashes.of(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_lora_that_names_its_hash_is_known_by_that(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    a_lora(file, {"sshs_model_hash": "AB" * 32})
    assert Hashes(tmp_path / "cache").of_tensors(file) == "ab" * 32


@pytest.mark.parametrize("content", [b"", b"\xff" * 9, b"\xff" * 8 + b"{}", b"version https://git"])
def test_what_is_no_file_of_tensors_has_no_such_hash(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    assert Hashes(tmp_path / "cache").of_tensors(file) == ""
