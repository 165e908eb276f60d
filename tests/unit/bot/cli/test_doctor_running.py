"""What doctor says of how models will run."""

from pathlib import Path

import msgspec
import pytest

from bot.cli.doctor.running import how_models_run
from bot.config import Config, ModelsSettings, StorageSettings, WorkerSettings
from generation.memory_plan import GIB
from generation.messages import Memory, Ready
from tests.fixtures.removers import write_remover
from tests.unit.generation.test_catalog import SD1, write


def on(device: str, free: float, total: float = 8) -> Ready:
    return Ready(
        device=device,
        device_name="a card",
        memory_total=int(total * GIB),
        precision="float16",
        versions={},
        memory_free=int(free * GIB),
    )


async def said(
    folder: Path, ready: Ready, memory: Memory = "auto", flags: str = ""
) -> dict[str, tuple[str, str]]:
    config = Config(
        file=folder / "config.toml",
        models=ModelsSettings(folders=(folder,)),
        storage=StorageSettings(folder=folder / "data"),
        worker=WorkerSettings(memory=memory, webui_flags=flags),
    )
    lines = [finding async for finding in how_models_run(config, config.worker, ready)]
    assert not any(line.fatal and line.mend for line in lines)
    return {line.found.split(":")[0]: (line.found, line.mend) for line in lines}


async def test_each_model_is_told_by_what_is_free(tmp_path: Path) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    found, mend = (await said(tmp_path, on("cuda:0", 7.5)))["dream"]
    assert found.startswith("dream: all on the card (needs ")
    assert "of 7.0 GiB that are free" in found
    assert mend == ""
    found, _ = (await said(tmp_path, on("cpu", 8)))["dream"]
    assert found.startswith("dream: all in main memory")
    found, mend = (await said(tmp_path, on("cuda:0", 0.6)))["dream"]
    assert found.endswith("of the card's memory, 0.1 GiB are there")
    assert mend


async def test_what_may_work_beside_is_told_where_it_changes_something(tmp_path: Path) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    write_remover(tmp_path / "background_removal" / "birefnet.onnx")
    card = msgspec.structs.replace(on("cuda:0", 3.9), onnx_on_device=True)
    found, mend = (await said(tmp_path, card))["dream beside birefnet"]
    assert found.startswith("dream beside birefnet: needs 3.9 GiB")
    assert found.endswith("of the card's memory, 3.4 GiB are there")
    assert mend == "It is tried all the same; without them it has room."
    # where it changes nothing, nothing is said: on a larger card, or on the processor
    card = msgspec.structs.replace(on("cuda:0", 23.5, 24), onnx_on_device=True)
    assert "dream beside birefnet" not in await said(tmp_path, card)
    assert "dream beside birefnet" not in await said(tmp_path, on("cuda:0", 3.9))


@pytest.mark.parametrize("settings", [{"memory": "medium"}, {"flags": "--medvram"}])
async def test_settings_and_flags_bind_it(tmp_path: Path, settings: dict[str, str]) -> None:
    write(tmp_path / "dream.safetensors", SD1)
    found, _ = (await said(tmp_path, on("cuda:0", 7.5), **settings))["dream"]  # type: ignore[arg-type]
    assert "each part on the card only while it works" in found
