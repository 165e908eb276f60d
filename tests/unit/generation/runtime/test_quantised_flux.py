"""Flux.1 with quantised parts: a denoiser and a T5 in fp8 and GGUF, each in the layouts that people
have.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from generation.assembly import quantised as quantised_to
from generation.gguf_header import read_gguf
from generation.model_settings import Quantise
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime import quantised as layers
from generation.runtime.quantised import unpacked_bytes
from tests.fixtures import flux, quantised, sdxl
from tests.fixtures.gguf_files import as_llama_cpp
from tests.unit.generation.runtime.test_flux import _lora as lora_of_flux
from tests.unit.generation.runtime.test_quantised_pictures import Pixels, apart, listed, pixels
from tests.unit.generation.runtime.test_tuning import Bench

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
slow = pytest.mark.slow
EULER = {"sampler": "Euler", "schedule": "Simple"}
T5 = "t5xxl"


class Parts:
    """A tiny Flux.1 in ComfyUI's files, and what it draws."""

    def __init__(self, root: Path) -> None:
        self.folder = flux.tiny_flux(root / "folder")
        self.root = root / "split"
        self.file = flux.split(self.folder, self.root)
        self.configs = sdxl.configs_of("flux", self.folder, root / "configs")
        self.benches = {kept: Bench(root, quantised=kept) for kept in ("keep", "unpack")}

    def model(self, denoiser: Path | None = None, t5: Path | None = None) -> ModelFile:
        """With these files in the place of the whole ones."""
        parts = flux.parts_of(self.root)
        if t5 is not None:
            parts[T5] = ModelFile(kind=ModelKind.TEXT_ENCODER, name="t5", path=t5, family=T5)
        path = denoiser or self.file
        return ModelFile(
            kind=ModelKind.CHECKPOINT, name=path.stem, path=path, family="flux", parts=parts
        )

    def drawn(self, model: ModelFile, kept: str = "keep", **changes: Any) -> Pixels:
        """Its picture."""
        return pixels(self.benches[kept], model, **EULER, **changes)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    made = Parts(tmp_path_factory.mktemp("flux"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CONFIGS", made.configs)
        yield made


@pytest.fixture(scope="module")
def whole(parts: Parts) -> Pixels:
    """The picture of the model that is not quantised."""
    return parts.drawn(parts.model())


Maker = Callable[[Path, Path], Path]
FORMATS: tuple[tuple[str, float, Maker], ...] = (
    ("scaled fp8", 0.8, lambda a, b: quantised.scaled_fp8(a, b, quantised.of_all)),
    ("fp8 by rows", 0.8, lambda a, b: quantised.comfy_quant(a, b, quantised.of_rows)),
    ("fp8", 0.8, quantised.plain_fp8),
    ("NF4", 2.3, quantised.nf4),
    ("Q8_0", 0.15, lambda a, b: quantised.gguf_of(a, b, "Q8_0", "flux")),
    ("Q5_0", 1.3, lambda a, b: quantised.gguf_of(a, b, "Q5_0", "flux")),
    ("Q4_0", 2.3, lambda a, b: quantised.gguf_of(a, b, "Q4_0", "flux")),
)
"""How far a picture may be from the whole model's with such a denoiser, of 255."""


@pytest.mark.parametrize(
    ("kind", "bound", "make"),
    [pytest.param(*row, marks=() if row[0] == "Q4_0" else slow, id=row[0]) for row in FORMATS],
)
def test_a_quantised_denoiser_draws_nearly_the_same(
    kind: str, bound: float, make: Maker, parts: Parts, whole: Pixels, tmp_path: Path
) -> None:
    ending = "gguf" if kind.startswith("Q") else "safetensors"
    file = make(parts.file, tmp_path / f"model.{ending}")
    assert listed(file).family == "flux"
    model = parts.model(file)
    found = parts.drawn(model)
    assert 0 < apart(found, whole) < bound
    kept = parts.benches["keep"].server._parts.checkpoint(model)
    # every matrix of the blocks, those that diffusers has in pieces among them
    assert unpacked_bytes(kept.denoiser) == 1671168
    assert apart(parts.drawn(model, "unpack"), found) == 0


@pytest.mark.parametrize(
    ("to", "bound"),
    [("nf4", 2.3), pytest.param("int8", 0.2, marks=slow), pytest.param("fp8", 0.8, marks=slow)],
)
def test_a_model_that_is_quantised_when_it_is_loaded_draws_nearly_the_same(
    to: Quantise, bound: float, parts: Parts, whole: Pixels
) -> None:
    """Its denoiser and its T5, and neither CLIP nor the VAE."""
    model = quantised_to(parts.model(), to)
    found = parts.drawn(model)
    assert 0 < apart(found, whole) < bound
    bench = parts.benches["keep"]
    assert bench.finished.numerics is not None
    assert bench.finished.numerics.quantised == to
    kept = bench.server._parts.checkpoint(model)
    assert unpacked_bytes(kept.denoiser) == 1671168
    # rows of the tiny T5 are no whole blocks of NF4
    kept_small = [bool(unpacked_bytes(part)) for part in kept.text_encoders]
    assert kept_small == [False, to != "nf4"]
    assert unpacked_bytes(kept.vae) == 0
    assert apart(parts.drawn(model, "unpack"), found) == 0
    assert apart(parts.drawn(parts.model()), whole) == 0


@pytest.mark.parametrize(
    ("kind", "bound"), [pytest.param("scaled fp8", 0.4, marks=slow), ("Q8_0", 0.1)]
)
def test_a_quantised_t5_draws_nearly_the_same(
    kind: str,
    bound: float,
    parts: Parts,
    whole: Pixels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In ComfyUI's layout, and as llama.cpp names it; its table of words too."""
    plain = parts.root / "text_encoders" / "t5xxl.safetensors"
    if kind == "Q8_0":
        t5 = quantised.gguf_of(plain, tmp_path / "t5.gguf", kind, "t5encoder", as_llama_cpp)
        assert read_gguf(t5).shapes == {n: tuple(t.shape) for n, t in load_file(plain).items()}
    else:
        t5 = quantised.scaled_fp8(plain, tmp_path / "t5.safetensors", quantised.of_rows)
    monkeypatch.setattr(layers, "EMBEDDING_MIN", 0)
    model = parts.model(None, t5)
    found = parts.drawn(model)
    assert 0 < apart(found, whole) < bound
    kept = parts.benches["keep"].server._parts.checkpoint(model)
    assert sum(map(unpacked_bytes, kept.text_encoders)) > 0


@slow
@pytest.mark.parametrize("kind", ["Q8_0", "NF4", "nf4"])
def test_loras_come_and_go(kind: str, parts: Parts, tmp_path: Path) -> None:
    """A, B, A: to the bit, and what they are where the weights are unpacked."""
    if kind == "Q8_0":
        model = parts.model(quantised.gguf_of(parts.file, tmp_path / "model.gguf", kind, "flux"))
    elif kind == "NF4":
        model = parts.model(quantised.nf4(parts.file, tmp_path / "model.safetensors"))
    else:
        model = quantised_to(parts.model(), "nf4")
    a = lora_of_flux(tmp_path, "kohya")
    b = tmp_path / "b.safetensors"
    save_file({name: tensor * -0.5 for name, tensor in load_file(a.path).items()}, b)
    loras = {"": (), "a": (a,), "b": (ModelFile(kind=a.kind, name="b", path=b, family="flux"),)}
    seen: dict[str, set[bytes]] = {}
    for kept in ("keep", "unpack"):
        for name in ("", "a", "b", "a", ""):
            found = parts.drawn(model, kept, loras=loras[name])
            seen.setdefault(name, set()).add(found.tobytes())
    assert [len(found) for found in seen.values()] == [1, 1, 1]
    assert len(set.union(*seen.values())) == 3
