"""Pictures of quantised models: close to the whole one's, and the same however weights are kept."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from generation.messages import Picture
from generation.model_folders import Candidate
from generation.model_reader import ModelReader
from generation.models import ModelFile
from generation.runtime import checkpoints
from generation.runtime.quantised import unpacked_bytes
from tests.fixtures import layouts, quantised, sdxl
from tests.unit.generation.runtime.test_tuning import Bench

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
Pixels = np.ndarray


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SDXL in one file, with the configs of its sizes and a LoRA beside it."""
    root = tmp_path_factory.mktemp("large")
    folder = sdxl.tiny_sdxl(root / "folder")
    sdxl.configs_of("sdxl", folder, root / "configs")
    sdxl.single_file(folder, root / "whole.safetensors")
    return root


@pytest.fixture(autouse=True)
def tiny_sizes(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CONFIGS", large / "configs")


def listed(file: Path) -> ModelFile:
    """As the catalogue has it."""
    reading = ModelReader().read(Candidate(file, file.parent, ""))
    assert reading.model is not None, reading.problem
    return reading.model


def pixels(bench: Bench, model: ModelFile, **changes: Any) -> Pixels:
    bench.draw(model, steps=2, **changes)
    (picture,) = bench.ends.of(Picture)
    return np.asarray(Image.open(io.BytesIO(picture.file)).convert("RGB"), np.float32)


def apart(one: Pixels, other: Pixels) -> float:
    """Mean difference, of 255."""
    return float(np.abs(one - other).mean())


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bench]:
    folder = tmp_path_factory.mktemp("caches")
    return {kept: Bench(folder, quantised=kept) for kept in ("keep", "unpack")}


@pytest.fixture(scope="module")
def whole(large: Path, benches: dict[str, Bench]) -> Pixels:
    """The picture of the model that is not quantised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CONFIGS", large / "configs")
        return pixels(benches["unpack"], listed(large / "whole.safetensors"))


Maker = Callable[[Path, Path], Path]
slow = pytest.mark.slow


def gguf_in(kind: str) -> Maker:
    return lambda file, into: quantised.gguf_of(file, into.with_suffix(".gguf"), kind)


FORMATS: tuple[tuple[str, float, Maker], ...] = (
    ("fp8", 1.3, quantised.plain_fp8),
    ("fp8", 1.9, lambda a, b: quantised.plain_fp8(a, b, torch.float8_e5m2)),
    ("scaled fp8", 1.2, lambda a, b: quantised.scaled_fp8(a, b, quantised.of_all)),
    ("scaled fp8", 1.0, lambda a, b: quantised.scaled_fp8(a, b, quantised.of_parts)),
    ("scaled fp8", 1.0, lambda a, b: quantised.comfy_quant(a, b, quantised.of_all)),
    ("scaled fp8", 1.0, lambda a, b: quantised.comfy_quant(a, b, quantised.of_rows)),
    ("scaled fp8", 1.0, lambda a, b: quantised.comfy_quant(a, b, quantised.of_squares)),
    ("F16", 0.02, gguf_in("F16")),
    ("BF16", 0.1, gguf_in("BF16")),
    ("Q8_0", 0.2, gguf_in("Q8_0")),
    ("Q5_1", 1.2, gguf_in("Q5_1")),
    ("Q5_0", 1.4, gguf_in("Q5_0")),
    ("Q4_1", 3.0, gguf_in("Q4_1")),
    ("Q4_0", 3.2, gguf_in("Q4_0")),
    # few rows of a tiny model are long enough for these: the others are Q8_0
    ("Q6_K", 0.2, gguf_in("Q6_K")),
    ("Q4_K", 0.4, gguf_in("Q4_K")),
)
"""What a file is listed as, and how far its picture may be from the whole model's, of 255."""


@pytest.mark.parametrize(
    ("kind", "bound", "make"),
    [
        pytest.param(*row, marks=() if number in (5, 13) else slow, id=f"{number} {row[0]}")
        for number, row in enumerate(FORMATS)
    ],
)
def test_a_quantised_model_draws_nearly_the_same(
    kind: str,
    bound: float,
    make: Maker,
    whole: Pixels,
    large: Path,
    benches: dict[str, Bench],
    tmp_path: Path,
) -> None:
    model = listed(make(large / "whole.safetensors", tmp_path / "model.safetensors"))
    # of a tiny model most bytes lie elsewhere
    shown = {"Q6_K": "Q8_0", "Q4_K": "Q8_0", "F16": "F32", "BF16": "F32"}.get(kind, kind)
    assert model.quantisation == shown
    found = pixels(benches["keep"], model)
    assert 0 < apart(found, whole) < bound
    numerics = benches["keep"].finished.numerics
    assert numerics is not None
    assert numerics.weights == shown


@slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_how_weights_are_kept_changes_no_picture(
    precision: Any, large: Path, tmp_path: Path
) -> None:
    """With LoRAs, which come and go: A, B, A, and none."""
    model = listed(gguf_in("Q8_0")(large / "whole.safetensors", tmp_path / "model"))
    given = layouts.lora_pairs(large / "folder")
    loras = []
    for name, scale in (("a", 1.0), ("b", -0.7)):
        tensors = {key: tensor * scale for key, tensor in layouts.kohya(given).items()}
        save_file(tensors, tmp_path / f"{name}.safetensors")
        loras.append(listed(tmp_path / f"{name}.safetensors"))
    seen: dict[str, list[bytes]] = {}
    for kept in ("keep", "unpack"):
        bench = Bench(tmp_path / "cache", quantised=kept, precision=precision)
        for chosen in ((), loras[:1], loras[1:], loras[:1], ()):
            found = pixels(bench, model, loras=tuple(chosen))
            seen.setdefault("".join(lora.name for lora in chosen), []).append(found.tobytes())
        held = unpacked_bytes(bench.server._parts.checkpoint(model).denoiser)
        assert bool(held) == (kept == "keep")
    assert {name: len(set(found)) for name, found in seen.items()} == {"": 1, "a": 1, "b": 1}
    assert len({found[0] for found in seen.values()}) == 3
