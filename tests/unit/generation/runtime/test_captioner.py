"""Sentences about pictures, by Florence-2 in both layouts; of what is broken, a sentence, too."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generation.catalog import Catalog
from generation.florence2 import renamed
from generation.models import ModelFile
from generation.runtime.captioner import PROMPTS, CaptionWriter
from generation.runtime.faults import CancelledError, JobError
from tests.fixtures.florence import WORDS, write_florence, write_florence_of_microsoft
from tests.fixtures.pictures import drawn

CPU = torch.device("cpu")
LAYOUTS = {"": write_florence, "microsoft": write_florence_of_microsoft}


async def only(folder: Path) -> ModelFile:
    catalog = Catalog([folder])
    await catalog.scan()
    assert catalog.problems == ()
    (found,) = catalog.captioners
    return found


async def caption(folder: Path, detail: str = "short") -> str:
    writer = CaptionWriter(await only(folder), CPU)
    return writer.caption(drawn(90, 60), detail, lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", LAYOUTS)
async def test_the_catalogue_lists_it(variant: str, tmp_path: Path) -> None:
    LAYOUTS[variant](tmp_path / "LLM" / "Florence-2-base")
    found = await only(tmp_path)
    assert (found.name, found.family, found.variant) == ("Florence-2-base", "florence2", variant)
    assert found.size == (found.path / "model.safetensors").stat().st_size


async def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    write_florence(tmp_path / "a" / "florence")
    write_florence_of_microsoft(tmp_path / "b" / "florence")
    first, second = await caption(tmp_path / "a"), await caption(tmp_path / "b")
    assert first == second
    assert first
    assert set(first.split()) <= set(WORDS)


async def test_it_sees_the_picture_and_the_task(tmp_path: Path) -> None:
    write_florence(tmp_path / "florence")
    writer = CaptionWriter(await only(tmp_path), CPU)
    seen: list[torch.Tensor] = []
    generate = writer._model.generate

    def noting(**given: torch.Tensor) -> torch.Tensor:
        seen.append(given["pixel_values"])
        made: torch.Tensor = generate(**given)
        return made

    writer._model.generate = noting
    for colour in ("red", "white"):
        writer.caption(Image.new("RGB", (10, 400), colour), "short", lambda: None)
    assert seen[0].shape == (1, 3, 64, 64)
    # as ImageNet's mean and deviation make it of 1, 0, 0
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx(expected, abs=1e-4)
    assert not torch.equal(seen[0], seen[1])
    assert set(PROMPTS) == {"short", "detailed", "more detailed"}


async def test_it_is_stopped_at_the_next_word(tmp_path: Path) -> None:
    write_florence(tmp_path / "florence")
    writer = CaptionWriter(await only(tmp_path), CPU)
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        raise CancelledError

    with pytest.raises(CancelledError):
        writer.caption(drawn(), "short", stop)
    assert calls == 1


def test_names_of_microsofts_tensors() -> None:
    assert renamed("vision_tower.convs.0.proj.weight") == "model.vision_tower.convs.0.conv.weight"
    block = "vision_tower.blocks.2.8"
    assert renamed(f"{block}.spatial_block.window_attn.fn.qkv.bias") == (
        f"model.{block}.spatial_block.window_attn.qkv.bias"
    )
    assert renamed(f"{block}.channel_block.channel_attn.norm.weight") == (
        f"model.{block}.channel_block.norm1.weight"
    )
    assert renamed(f"{block}.channel_block.ffn.fn.net.fc2.weight") == (
        f"model.{block}.channel_block.ffn.fc2.weight"
    )
    assert renamed(f"{block}.spatial_block.conv2.fn.dw.weight") == (
        f"model.{block}.spatial_block.conv2.weight"
    )


def without(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors")

    return spoil


def with_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.language_model.shared.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


def with_other_sides(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["d_model"] = 24
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (without("model.language_model.decoder.layers.0.fc1.weight"), "model_broken"),
        (with_nan, "nan_weights"),
        (with_other_sides, "model_broken"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "model_broken"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "model_broken"),
    ],
)
async def test_what_is_broken_inside(
    spoil: Callable[[Path], None], code: str, tmp_path: Path
) -> None:
    write_florence(tmp_path / "florence")
    found = await only(tmp_path)
    spoil(tmp_path / "florence")
    with pytest.raises(JobError) as raised:
        CaptionWriter(found, CPU)
    assert raised.value.code == code


async def test_a_folder_without_words_is_told_of(tmp_path: Path) -> None:
    (write_florence(tmp_path / "florence") / "tokenizer.json").unlink()
    catalog = Catalog([tmp_path])
    await catalog.scan()
    (problem,) = catalog.problems
    assert problem.params["why"] == "tokenizer.json is not in it"
