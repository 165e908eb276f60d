"""Weights that lie channels-last, and compiled denoisers: what acts, is told, and is undone."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image, ImageChops

from generation import memory_plan
from generation.memory_plan import MemoryBounds
from generation.memory_settings import BOUNDS
from generation.messages import Configure, Finished, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.numerics import Numerics
from generation.runtime import tuning
from generation.runtime.parts import Parts
from generation.runtime.residency import Residency
from generation.runtime.server import Server
from tests.fixtures import models
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.conftest import checkpoint
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Bench:
    """A server with these settings, and what it drew."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.ends = Ends()
        configure = Configure(msgspec.structs.replace(SETTINGS, **settings), folder)
        self.server = Server(configure, self.ends, self.ends)  # type: ignore[arg-type]

    def draw(
        self,
        model: ModelFile,
        *,
        first: Numerics | None = None,
        loras: tuple[ModelFile, ...] = (),
        **changes: Any,
    ) -> tuple[list[str], Numerics]:
        self.ends.sent.clear()
        changes = {"width": 64, "height": 64, "steps": 3, **changes}
        if loras:
            changes["loras"] = [{"name": lora.name} for lora in loras]
        work = Generate("1", a_request(**changes), model, loras=loras, numerics=first)
        self.server.run(work)
        assert isinstance(self.ends.sent[-1], Finished), self.ends.sent[-1]
        assert self.finished.numerics is not None
        pixels = [picture.pixels_sha256 for picture in self.ends.of(Picture)]
        return pixels, self.finished.numerics

    @property
    def finished(self) -> Finished:
        (finished,) = self.ends.of(Finished)
        assert isinstance(finished, Finished)
        return finished


def convolutions(bench: Bench, model: ModelFile) -> set[bool]:
    """Whether their weights lie channels-last."""
    loaded = bench.server._parts.checkpoint(model)
    weights = [w for part in (loaded.denoiser, loaded.vae) for w in part.parameters()]
    return {
        weight.is_contiguous(memory_format=torch.channels_last)
        for weight in weights
        if weight.ndim == 4 and min(weight.shape[1:]) > 1
    }


def test_weights_lie_channels_last_where_that_is_set(tiny: ModelFile, tmp_path: Path) -> None:
    plain, other = Bench(tmp_path), Bench(tmp_path, channels_last=True)
    assert not plain.server.ready.channels_last
    assert other.server.ready.channels_last
    before, now = plain.draw(tiny), other.draw(tiny)
    assert (before[1].channels_last, now[1].channels_last) == (False, True)
    assert convolutions(plain, tiny) == {False}
    assert convolutions(other, tiny) == {True}
    # what is drawn again is drawn as it was, under either setting, and that is no lesson for others
    assert plain.draw(tiny, first=now[1]) == now
    assert other.draw(tiny, first=before[1]) == before
    assert convolutions(other, tiny) == {False}
    assert other.draw(tiny) == now


def test_weights_that_stream_through_a_device_stay_as_they_are(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Residency, "one_memory", False)
    monkeypatch.setattr(memory_plan, "SMALL", 0)
    bench = Bench(tmp_path, channels_last=True)
    assert bench.draw(tiny)[1].channels_last
    bench.server._planner._bounds = MemoryBounds(denoiser=("leaves",))
    assert not bench.draw(tiny)[1].channels_last
    assert convolutions(bench, tiny) == {False}


class Backend:
    """Of torch.compile: runs what it is given as it is, and counts how often that was."""

    def __init__(self) -> None:
        self.graphs = 0
        self.calls = 0
        self.fails = False

    def __call__(self, graph: Any, _inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        if self.fails:
            raise RuntimeError("no kernel for that\nand many lines more")

        def run(*inputs: Any) -> Any:
            self.calls += 1
            return graph.forward(*inputs)

        return run


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    torch._dynamo.reset()
    found = Backend()
    monkeypatch.setattr(tuning, "BACKEND", found)
    monkeypatch.setattr(tuning, "_why_not", lambda _device: "")
    return found


@pytest.mark.slow
def test_a_denoiser_is_compiled_for_all_sizes_where_that_is_set(
    tiny: ModelFile, tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.runtime.recipe.BEAT_EVERY", 0.0)
    bench, plain = Bench(tmp_path, compile=True), Bench(tmp_path)
    assert bench.server.ready.compiled
    # not as many tokens as the network is wide, which torch would take for the same number
    drawn = bench.draw(tiny, width=96)
    assert drawn[1].compiled
    assert bench.finished.remark == ""
    graphs, calls = backend.graphs, backend.calls
    assert graphs
    assert calls
    bench.draw(tiny, width=128, height=64)
    assert backend.graphs == graphs, "another size needs nothing compiled"
    assert backend.calls > calls
    # what is drawn again is drawn as it was, under either setting
    calls = backend.calls
    before = plain.draw(tiny, width=96)
    assert not before[1].compiled
    assert bench.draw(tiny, width=96, first=before[1]) == before
    assert backend.calls == calls
    assert plain.draw(tiny, width=96, first=drawn[1]) == drawn
    assert backend.calls > calls


@pytest.mark.slow
def test_loras_act_on_a_compiled_denoiser_and_go(
    tiny: ModelFile, tmp_path: Path, backend: Backend
) -> None:
    file = models.tiny_lora(tmp_path / "ink.safetensors", tiny.path)
    ink = ModelFile(kind=ModelKind.LORA, name="ink", path=file, family="sd1")
    bench, plain = Bench(tmp_path, compile=True), Bench(tmp_path)
    bare, with_lora = bench.draw(tiny)[0], bench.draw(tiny, loras=(ink,))[0]
    assert bare != with_lora
    assert bench.draw(tiny)[0] == bare
    assert [bare, with_lora] == [plain.draw(tiny)[0], plain.draw(tiny, loras=(ink,))[0]]
    assert backend.calls


@pytest.mark.slow
def test_what_can_not_be_compiled_is_drawn_without(
    tiny: ModelFile, tmp_path: Path, backend: Backend
) -> None:
    backend.fails = True
    bench, plain = Bench(tmp_path, compile=True), Bench(tmp_path)
    drawn, numerics = bench.draw(tiny, count=2)
    assert not numerics.compiled
    assert bench.finished.remark.startswith("compile = true in [worker] does nothing: ")
    assert "no kernel for that" in bench.finished.remark
    assert "\n" not in bench.finished.remark
    assert drawn == plain.draw(tiny, count=2)[0]
    # what was compiled elsewhere is drawn all the same, and nobody here asked for that
    again, now = plain.draw(tiny, count=2, first=msgspec.structs.replace(numerics, compiled=True))
    assert (again, now, plain.finished.remark) == (drawn, numerics, "")
    # said once, tried once
    tries = backend.graphs
    assert not bench.draw(tiny)[1].compiled
    assert bench.finished.remark == ""
    assert backend.graphs == tries


def test_several_denoisers_of_a_picture_compute_alike(
    tiny: ModelFile, tmp_path: Path, backend: Backend
) -> None:
    """A refiner's and the first one's."""
    settings = msgspec.structs.replace(SETTINGS, compile=True, channels_last=True)
    parts = Parts(settings, torch.device("cpu"))
    refiner = checkpoint(models.tiny_stable_diffusion(tmp_path / "refiner"))
    both = [parts.checkpoint(file).denoiser for file in (tiny, refiner)]
    with parts.tuning.tuned(both, [], None) as tuned:
        assert tuned.channels_last
        for denoiser in both:
            assert {*denoiser.modules()} & {*tuned.blocks}
            weight = denoiser.conv_in.weight
            assert weight.is_contiguous(memory_format=torch.channels_last)
    both[1].residency = "blocks"
    with parts.tuning.tuned(both, [], None) as tuned:
        assert tuned == (False, ())
        assert all(denoiser.conv_in.weight.is_contiguous() for denoiser in both)


def test_where_weights_move_nothing_is_compiled(
    tiny: ModelFile, tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Residency, "one_memory", False)
    bench = Bench(tmp_path, compile=True)
    bench.server._planner._bounds = BOUNDS["medium"]
    assert not bench.draw(tiny)[1].compiled
    assert backend.graphs == 0


def test_a_machine_without_a_compiler_draws_all_the_same(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    bench = Bench(tmp_path, compile=True)
    assert not bench.server.ready.compiled
    assert bench.server.ready.remark == (
        "compile = true in [worker] does nothing: it needs a C++ compiler, and no-such-compiler is"
        " not found; pictures are drawn without"
    )
    # also what was drawn on another one
    compiled = msgspec.structs.replace(bench.draw(tiny)[1], compiled=True)
    assert not bench.draw(tiny, first=compiled)[1].compiled
    assert bench.finished.remark == ""
    assert Bench(tmp_path).server.ready.remark == ""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_what_torch_compiles_draws_the_same_picture(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    monkeypatch.delenv("CXX", raising=False)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"):
        monkeypatch.delenv(name, raising=False)
    tuning.keep_compiled_in(tmp_path / "compiled")
    bench, plain = Bench(tmp_path, compile=True), Bench(tmp_path)
    (drawn, numerics), (other, _) = bench.draw(tiny), plain.draw(tiny)
    assert bench.finished.remark == ""
    assert numerics.compiled
    assert len(drawn) == len(other) == 1
    assert list((tmp_path / "compiled").rglob("*.cpp"))
    one, two = (each.ends.of(Picture)[0].file for each in (bench, plain))
    images = [Image.open(io.BytesIO(png)) for png in (one, two)]
    assert max(ImageChops.difference(*images).tobytes()) <= 2
