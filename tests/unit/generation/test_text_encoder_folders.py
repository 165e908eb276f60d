"""Text encoders in folders: alone, as transformers saves them, and within diffusers' models."""

import json
from collections.abc import Iterable
from pathlib import Path

from generation import diffusers_folder
from generation.models import ModelKind
from tests.fixtures import headers
from tests.unit.generation.test_catalog import scan, write

KNOWN = {header.name: header for header in headers.read()}
T5 = {"architectures": ["T5EncoderModel"], "model_type": "t5"}


def shards(folder: Path, header: str, count: int) -> Iterable[str]:
    """A known header in several files, with the index that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: shape for name, (_, shape) in KNOWN[header].tensors.items()}
    tensors = {name: tuple(min(side, 8) if name != "shared.weight" else side for side in shape)
               for name, shape in tensors.items()}  # fmt: skip
    names = list(tensors)
    where: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        write(folder / file, {name: tensors[name] for name in names[number::count]})
        where |= dict.fromkeys(names[number::count], file)
    index = json.dumps({"weight_map": where})
    (folder / "model.safetensors.index.json").write_text(index)
    return sorted(set(where.values()))


async def test_one_alone_in_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "text_encoders" / "t5-v1_1-xxl"
    files = shards(folder, "t5xxl-one-name", 2)
    (folder / "config.json").write_text(json.dumps(T5))
    [found] = (await scan(tmp_path)).text_encoders
    assert (found.name, found.family, found.is_folder) == ("t5-v1_1-xxl", "t5xxl", True)
    assert found.size == sum((folder / file).stat().st_size for file in files)


async def test_one_of_a_hub_is_called_by_its_repository(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--google--t5-v1_1-xxl" / "snapshots" / "abc"
    shards(snapshot, "t5xxl-one-name", 1)
    (snapshot / "config.json").write_text(json.dumps(T5))
    [found] = (await scan(tmp_path)).text_encoders
    assert found.name == "google/t5-v1_1-xxl"


async def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "t5"
    shards(folder, "t5xxl-one-name", 2)
    (folder / "config.json").write_text(json.dumps(T5))
    (folder / "model-00002-of-00002.safetensors").unlink()
    [problem] = (await scan(tmp_path)).problems
    assert problem.code == "model_broken"
    assert "model-00002-of-00002.safetensors, which it names, is not there" in problem.params["why"]


async def test_a_config_that_was_left_beside_other_files_hides_none(tmp_path: Path) -> None:
    folder = tmp_path / "text_encoders"
    KNOWN["clip-l"].write(folder / "clip_l.safetensors")
    KNOWN["t5xxl-one-name"].write(folder / "t5xxl_fp16.safetensors")
    (folder / "config.json").write_text(json.dumps(T5))
    found = (await scan(tmp_path)).text_encoders
    assert [(one.name, one.family) for one in found] == [
        ("clip_l", "clip_l"),
        ("t5xxl_fp16", "t5xxl"),
    ]


async def test_a_language_model_is_named_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a-language-model"
    KNOWN["llm-llama2"].write(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    [problem] = (await scan(tmp_path)).problems
    assert (problem.code, problem.params["what"]) == ("model_other", "a language model")


async def test_what_a_diffusers_folder_carries(tmp_path: Path) -> None:
    folder = tmp_path / "flux"
    for part in ("transformer", "text_encoder", "vae"):
        write(folder / part / "model.safetensors", {"a.weight": (1,)})
    config = json.dumps({"_class_name": "FluxTransformer2DModel"})
    (folder / "transformer" / "config.json").write_text(config)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    [found] = (await scan(tmp_path)).checkpoints
    assert (found.kind, found.carries) == (ModelKind.CHECKPOINT, ("clip_l", "vae"))
    assert diffusers_folder.carried_by("sd1", ("vae/a.safetensors",), ".safetensors") == ()
