"""`python -m bot convert`: pickles of every make, in the process that imports torch."""

import argparse
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bot.cli import convert
from generation.runtime.convert import FORGOTTEN, NoTensorsError, read
from tests.fixtures import sdxl
from tests.fixtures.models import tiny_stable_diffusion


async def converted(*files: Path) -> int:
    parser = argparse.ArgumentParser()
    convert.add_flags(parser)
    return await convert.convert(parser.parse_args([str(file) for file in files]))


async def test_a_checkpoint_becomes_a_file_that_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_stable_diffusion(tmp_path / "folder")
    whole = load_file(sdxl.single_file(folder, tmp_path / "whole.safetensors"))
    torch.save({"state_dict": whole, "epoch": 3}, tmp_path / "dream.ckpt")
    assert await converted(tmp_path / "dream.ckpt") == 0
    out = capsys.readouterr().out
    assert "dream.safetensors: checkpoint, Stable Diffusion 1.x" in out
    back = load_file(tmp_path / "dream.safetensors")
    assert back.keys() == whole.keys()
    assert all(torch.equal(back[name], whole[name]) for name in whole)
    assert (tmp_path / "dream.ckpt").exists()
    assert [file.name for file in tmp_path.glob(".*")] == []


@pytest.mark.slow
async def test_nothing_is_written_over_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"<cat>": torch.ones(768)}, tmp_path / "one.bin")
    torch.save({"<cat>": torch.ones(768)}, tmp_path / "two.bin")
    (tmp_path / "one.safetensors").write_bytes(b"mine")
    missing, text = tmp_path / "none.pt", tmp_path / "text.txt"
    assert await converted(tmp_path / "one.bin", missing, text, tmp_path / "two.bin") == 1
    assert (tmp_path / "one.safetensors").read_bytes() == b"mine"
    said = capsys.readouterr()
    assert "one.safetensors is there already" in said.err
    assert "no such file" in said.err
    assert "two.safetensors: embedding, Stable Diffusion 1.x" in said.out
    assert load_file(tmp_path / "two.safetensors")["<cat>"].shape == (768,)


async def test_what_came_meanwhile_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.pt").touch()
    into = tmp_path / "one.safetensors"

    async def in_child(_file: Path, part: Path) -> dict[str, Any]:
        part.write_bytes(b"new")
        into.write_bytes(b"mine")
        return {"tensors": 1}

    for link in (os.link, _no_links):
        into.unlink(missing_ok=True)
        monkeypatch.setattr(convert, "_in_child", in_child)
        monkeypatch.setattr(os, "link", link)
        assert await converted(tmp_path / "one.pt") == 1
        assert into.read_bytes() == b"mine"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["one.pt", "one.safetensors"]


def _no_links(*_: Any) -> None:
    raise PermissionError


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


@pytest.mark.slow
async def test_no_code_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Evil(tmp_path / "ran")}, tmp_path / "evil.ckpt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    assert await converted(tmp_path / "evil.ckpt", tmp_path / "bare.pt") == 1
    assert not (tmp_path / "ran").exists()
    assert list(tmp_path.glob("*.safetensors")) == []
    assert "would run code of posix.mkdir" in capsys.readouterr().err


@pytest.mark.parametrize("legacy", [False, True])
def test_where_the_tensors_lie(tmp_path: Path, legacy: bool) -> None:
    weight = torch.ones(2, 2)
    # two names for one memory
    for number, content in enumerate(
        (
            {"a": weight, "b": weight},
            {"state_dict": {"a": weight, "b": weight.T}, "global_step": 5},
            {"params_ema": {"a": weight, "b": weight}, "params": {"a": weight * 2}},
        )
    ):
        file = tmp_path / f"{number}.pth"
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
        assert {name: float(t.sum()) for name, t in read(file).items()} == {"a": 4.0, "b": 4.0}


def test_embeddings_of_a1111(tmp_path: Path) -> None:
    words = {"string_to_token": {"*": 265}, "name": "mine", "step": 9}
    torch.save(words | {"string_to_param": {"*": torch.ones(3, 768)}}, tmp_path / "mine.pt")
    assert {name: tuple(t.shape) for name, t in read(tmp_path / "mine.pt").items()} == {
        "emb_params": (3, 768)
    }
    torch.save({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, tmp_path / "xl.pt")
    assert set(read(tmp_path / "xl.pt")) == {"clip_l", "clip_g"}


@pytest.mark.parametrize(
    "content",
    [
        {},
        [torch.ones(1)],
        {"a": {"b": torch.ones(1)}},
        {"a": torch.ones(1), "b": [1]},
        {"a": torch.ones(1).to_sparse()},
        {"string_to_param": {"a": torch.ones(1, 8), "b": torch.ones(1, 8)}},
    ],
)
def test_what_is_no_plain_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(NoTensorsError):
        read(tmp_path / "a.pt")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(99)}, tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:200])
    with pytest.raises(NoTensorsError, match="cut off"):
        read(tmp_path / "a.pt")


def test_checkpoints_of_2022_name_a_class_of_their_trainer(tmp_path: Path) -> None:
    (name,) = FORGOTTEN
    module, _, class_ = name.rpartition(".")
    torch.save({"state_dict": {"a": torch.ones(1)}, "callbacks": {"KEY": 1}}, tmp_path / "a.ckpt")
    # the protocol's own way to say "this class"
    content = (tmp_path / "a.ckpt").read_bytes()
    assert b"KEY" in content
    out = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "a.ckpt") as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry.endswith("data.pkl"):
                key = b"X\x03\x00\x00\x00KEY"
                assert key in data
                data = data.replace(key, f"c{module}\n{class_}\n".encode())
            new.writestr(entry, data)
    (tmp_path / "a.ckpt").write_bytes(out.getvalue())
    assert set(read(tmp_path / "a.ckpt")) == {"a"}
