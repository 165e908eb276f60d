"""Trigger words and base models in the files that other programs lay beside models."""

import json
from pathlib import Path

import pytest

from generation.catalog import Catalog
from generation.side_notes import FILE_MAX, SideNotes, read_notes
from tests.unit.generation.test_catalog import SD1, VAE, kohya, only, scan, write

CIVITAI = {"trainedWords": ["pixel art, ", "8bit", "8bit"], "baseModel": "SDXL 1.0", "id": 5}
CONV = {"lora_unet_up_blocks_0_conv.lora_down.weight": (8, 320)}
"""Of some Stable Diffusion: its tensors don't tell which."""


async def test_the_helper_of_civitai(tmp_path: Path) -> None:
    write(tmp_path / "ink.safetensors", CONV)
    (tmp_path / "ink.civitai.info").write_text(json.dumps(CIVITAI))
    lora = await only(tmp_path)
    assert (lora.family, lora.trigger_words) == ("sdxl", ("pixel art", "8bit"))


async def test_what_the_owner_wrote_goes_first(tmp_path: Path) -> None:
    phrase = {"modelspec.trigger_phrase": "of the trainer"}
    write(tmp_path / "ink.safetensors", kohya(768), **phrase)
    assert (await only(tmp_path)).trigger_words == ("of the trainer",)
    (tmp_path / "ink.metadata.json").write_text(
        json.dumps({"base_model": "SD 1.5", "civitai": {"trainedWords": ["of the manager"]}})
    )
    assert (await only(tmp_path)).trigger_words == ("of the manager",)
    (tmp_path / "ink.civitai.info").write_text(json.dumps(CIVITAI))
    assert (await only(tmp_path)).trigger_words == ("pixel art", "8bit")
    own = {"sd version": "SD1", "activation text": "mine, and mine", "preferred weight": 0.7}
    (tmp_path / "ink.json").write_text(json.dumps(own))
    lora = await only(tmp_path)
    # a note never goes before the tensors
    assert (lora.family, lora.trigger_words) == ("sd1", ("mine", "and mine"))


@pytest.mark.parametrize(
    ("base", "family"), [("SDXL 1.0", "sdxl"), ("SD 1.5", "sd1"), ("Flux.1 D", "sd"), ("?", "sd")]
)
async def test_a_vae_is_told_by_its_note(tmp_path: Path, base: str, family: str) -> None:
    write(tmp_path / "fine.safetensors", VAE)
    (tmp_path / "fine.civitai.info").write_text(json.dumps({"baseModel": base}))
    assert (await only(tmp_path)).family == family


async def test_notes_that_come_change_and_go_are_seen(tmp_path: Path) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    catalog = Catalog([tmp_path])
    seen = []
    note = tmp_path / "dream.civitai.info"
    for words in ([], ["one"], ["two"], None):
        if words is None:
            note.unlink()
        elif words:
            note.write_text(json.dumps({"trainedWords": words}))
        await catalog.scan()
        seen.append(catalog.checkpoints[0].trigger_words)
    assert seen == [(), ("one",), ("two",), ()]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"trainedWords": 5, "baseModel": [1], "civitai": "x", "activation text": {}}',
        b'{"trainedWords": [null, {}, "", "a\\nb", "' + b"x" * 500 + b'"]}',
        b" " * (FILE_MAX + 1),
    ],
)
async def test_what_is_no_such_note_is_passed_over(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    for ending in (".json", ".civitai.info", ".metadata.json"):
        (tmp_path / f"dream{ending}").write_bytes(content)
    found = await scan(tmp_path)
    assert found.problems == ()
    assert found.checkpoints[0].trigger_words == ()
    assert read_notes([tmp_path / "dream.json", tmp_path / "nowhere"]) == SideNotes()


async def test_what_civitai_has_of_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ink.safetensors"
    write(file, kohya(2048), **{"modelspec.title": "Ink", "sshs_model_hash": "c" * 64})
    size = file.stat().st_size
    own = {"SHA256": "A" * 64, "AutoV2": "AAAAAAAAAA", "AutoV3": "B" * 12, "CRC32": "12345678"}
    note = {
        "name": "4 steps",
        "baseModel": "SDXL Lightning",
        "model": {"name": "Lightning"},
        "files": [
            {"sizeKB": size / 1024, "hashes": own},
            {"sizeKB": size / 512, "hashes": {"SHA256": "d" * 64}},
            {"hashes": {"SHA256": "e" * 64}},
            "x",
        ],
    }
    (tmp_path / "ink.civitai.info").write_text(json.dumps(note))
    lora = await only(tmp_path)
    assert (lora.base, lora.titles) == ("SDXL Lightning", ("Ink", "Lightning", "4 steps"))
    # those of a file of another size are another file's
    assert lora.hashes == ("a" * 64, "a" * 10, "b" * 12, "c" * 64)
    # so does ComfyUI's LoRA manager
    (tmp_path / "ink.civitai.info").unlink()
    manager = {"sha256": "F" * 64, "model_name": "Ink of old", "civitai": {"name": "v2"}}
    (tmp_path / "ink.metadata.json").write_text(json.dumps(manager))
    lora = await only(tmp_path)
    assert (lora.titles, lora.hashes) == (("Ink", "Ink of old", "v2"), ("f" * 64, "c" * 64))


@pytest.mark.parametrize(
    "note",
    [
        {"files": 5, "model": [], "name": {}, "sha256": 7},
        {"files": [{"sizeKB": "x", "hashes": 3}, {"sizeKB": 1e308, "hashes": {"SHA256": 1}}]},
        {"sha256": "not one", "civitai": {"files": "x", "model": 1, "name": 2}},
    ],
)
def test_notes_of_other_types_say_nothing(note: object, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(note))
    assert read_notes([file], 5) == SideNotes()
