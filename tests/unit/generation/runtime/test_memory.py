"""Plans of memory as the worker process follows them; the processor stands in for a card."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import msgspec
import pytest
import torch

from generation import memory_plan
from generation.memory_notes import MemoryNotes, job_key, model_key
from generation.memory_plan import GIB, Kept, MemoryBounds, PartPlace, Phase, PlannedPart, Room
from generation.messages import (
    Configure,
    Failed,
    Finished,
    Finishing,
    Generate,
    Picture,
    RuntimeSettings,
)
from generation.models import ModelFile, ModelKind
from generation.runtime import read_ahead, residency, streaming
from generation.runtime.finishing import Finisher
from generation.runtime.memory import Meter
from generation.runtime.residency import Residency, place_of
from generation.runtime.server import Server
from generation.runtime.streaming import beside_blocks, need_of, roots, size_of
from tests.fixtures import annotators, flux, flux2, models
from tests.fixtures.removers import remover, write_remover
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.conftest import checkpoint
from tests.unit.generation.runtime.ends import SETTINGS, Ends
from tests.unit.generation.runtime.test_recipe import picture

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


class Card(Ends):
    """A server in this process that takes main memory for a card with so much room."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        super().__init__()
        self.free = 2**40
        monkeypatch.setattr(Residency, "one_memory", False)
        monkeypatch.setattr(memory_plan, "SMALL", 0)
        monkeypatch.setattr(Residency, "_device_memory", lambda _: (self.free, 2**40))
        configure = Configure(msgspec.structs.replace(SETTINGS, **settings), folder)
        self.server = Server(configure, self, self)  # type: ignore[arg-type]
        self.parts = self.server._parts

    def draw(self, model: ModelFile, **changes: Any) -> str:
        self.sent.clear()
        request = a_request(**{"width": 64, "height": 64, "steps": 1, **changes})
        self.server.run(Generate("1", request, model))
        assert self.of(Failed) == []
        return " ".join(picture.pixels_sha256 for picture in self.of(Picture))

    def places(self, model: ModelFile) -> list[PartPlace]:
        return [place_of(part) for part in self.parts.checkpoint(model).parts]


def test_free_memory_is_looked_at_before_each_job(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(tmp_path, monkeypatch)
    alone = card.draw(tiny)
    assert set(card.places(tiny)) == {"device"}
    # another program took nearly all of it: 256 MiB are for libraries
    card.free = 2**28 + 2**20
    assert card.draw(tiny) == alone
    assert "device" not in card.places(tiny)
    card.free = 2**40
    assert card.draw(tiny) == alone
    assert set(card.places(tiny)) == {"device"}


@pytest.mark.slow
def test_what_was_learned_outlives_the_process(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(tmp_path, monkeypatch)

    def short(module: Any, _inputs: Any) -> None:
        if type(module).__name__ == "Decoder" and place_of(unet()) == "device":
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def unet() -> Any:
        return card.parts.checkpoint(tiny).denoiser

    card.free = GIB
    hook = torch.nn.modules.module.register_module_forward_pre_hook(short)
    try:
        card.draw(tiny)
        (finished,) = card.of(Finished)
        assert finished.spared
        assert set(finished.spared) <= {"plan_denoiser_aside", "plan_tiled", "plan_text_aside"}
        assert "memory ran out" in finished.remark
        card.draw(tiny, seed=3)
        assert card.of(Finished)[0].spared == ()
        again = Card(tmp_path, monkeypatch)
        again.free = GIB
        card = again
        card.draw(tiny)
        assert card.of(Finished)[0].spared == ()
    finally:
        hook.remove()


@pytest.mark.slow
def test_what_ran_out_is_not_tried_again_though_more_is_free_meanwhile(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, asked = Card(tmp_path, monkeypatch), 0

    def more_each_time(_: Any) -> tuple[int, int]:
        nonlocal asked
        asked += 1
        return GIB * asked**2, 2**60

    monkeypatch.setattr(Residency, "_device_memory", more_each_time)

    def short(_module: Any, inputs: Any) -> None:
        if any(
            isinstance(each, torch.Tensor) and each.ndim == 4 and len(each) > 2 for each in inputs
        ):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = torch.nn.modules.module.register_module_forward_pre_hook(short)
    try:
        card.draw(tiny, count=4)
    finally:
        hook.remove()
    assert card.of(Finished)[0].batch_size == 1
    assert "plan_batch" in card.of(Finished)[0].spared


@pytest.mark.parametrize("place", ["aside", "blocks", "leaves"])
def test_a_transformer_and_its_t5_draw_the_same_wherever_they_lie(
    flux_model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: PartPlace
) -> None:
    card = Card(tmp_path, monkeypatch)
    usual = card.draw(flux_model)
    assert set(card.places(flux_model)) == {"device"}
    card.server._planner._bounds = MemoryBounds(denoiser=(place,), others=(place,), disk=False)
    assert card.draw(flux_model) == usual
    model = card.parts.checkpoint(flux_model)
    assert place_of(model.denoiser) == place
    # of two blocks nothing is spared
    assert {place_of(part) for part in model.text_encoders} <= {place, "aside"}


@pytest.mark.parametrize("place", ["aside", "leaves"])
def test_text_encoders_that_rest_on_disk_are_read_anew_for_new_words_only(
    flux_model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: PartPlace
) -> None:
    card = Card(tmp_path, monkeypatch)
    usual = card.draw(flux_model)
    other = card.draw(flux_model, prompt="a dog")
    model = card.parts.checkpoint(flux_model)
    model.conditioner._kept.clear()
    read: list[str] = []

    def reading(reload: Any, name: str) -> Any:
        read.append(name)
        return reload()

    for encoder in model.encoders:
        again = partial(reading, encoder.module.reload, encoder.row.part)
        monkeypatch.setattr(encoder.module, "reload", again)
    card.server._planner._bounds = MemoryBounds(others=(place,))
    # main memory has no room for what rests
    monkeypatch.setattr(residency, "RAM_RESERVE", 2**50)
    monkeypatch.setattr(memory_plan, "_ram", lambda placings: sum(o.in_ram for o in placings))
    assert card.draw(flux_model) == usual
    first = list(read)
    assert all(size_of(part) == 0 for part in model.text_encoders)
    assert card.draw(flux_model, seed=9) != usual
    assert read == first
    assert card.draw(flux_model, prompt="a dog") == other
    assert set(read) == {"text_encoder", "text_encoder_2"}
    # with room again they stay
    monkeypatch.undo()
    monkeypatch.setattr(Residency, "one_memory", False)
    monkeypatch.setattr(Residency, "_device_memory", lambda _: (2**40, 2**40))
    card.server._planner._bounds = MemoryBounds()
    model.conditioner._kept.clear()
    assert card.draw(flux_model) == usual
    assert set(card.places(flux_model)) == {"device"}


@pytest.fixture(scope="module")
def flux_model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    folder = flux.tiny_flux(tmp_path_factory.mktemp("flux") / "dev")
    carried = ("vae", "clip_l", "t5xxl")
    return ModelFile(
        kind=ModelKind.CHECKPOINT, name="dev", path=folder, family="flux", carries=carried
    )


@pytest.mark.slow
def test_other_models_make_room(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = checkpoint(models.tiny_stable_diffusion(tmp_path / "other"))
    card = Card(tmp_path, monkeypatch, models_kept=2)
    first = card.draw(other)
    # what the first has is not free, and the second needs as much
    size = sum(map(size_of, card.parts.checkpoint(other).parts))
    card.draw(tiny)
    assert set(card.places(other)) == {"device"}
    card.parts.free()
    card.draw(other)
    task_room = 2**28 + 2**21 + size // 2
    card.free = task_room
    card.draw(tiny)
    assert "device" not in card.places(other) or other.path not in _loaded(card)
    card.free = 2**40
    assert card.draw(other) == first


def _loaded(card: Card) -> list[Path]:
    return [stamp[0] for stamp in card.parts._checkpoints]


def test_what_is_kept_of_a_model_is_read_back(tiny: ModelFile, tmp_path: Path) -> None:
    ends = Ends()
    server = Server(Configure(SETTINGS, tmp_path), ends, ends)  # type: ignore[arg-type]
    server.run(Generate("1", a_request(width=64, height=64), tiny))
    found = MemoryNotes(tmp_path).parts(model_key(tiny, "float32"))
    parts = server._parts.checkpoint(tiny).parts
    assert sum(part.bytes for part in found) == sum(map(size_of, parts))
    assert {part.role for part in found} == {"denoiser", "text", "vae"}
    request = a_request(width=64, height=64)
    other = request.with_(width=128)
    assert job_key(tiny, request, "float32") != job_key(tiny, other, "float32")
    assert MemoryNotes(tmp_path).measured(job_key(tiny, request, "float32")) is None


def test_notes_of_another_version_are_none(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text('{"a": {"decode": "much"}, "b": [1]}')
    notes = MemoryNotes(tmp_path)
    assert (notes.measured("a"), notes.parts("b")) == (None, ())
    notes.load("b", [PlannedPart(name="unet", role="denoiser", bytes=5)])
    assert MemoryNotes(tmp_path).parts("b")[0].bytes == 5


def test_the_phase_in_which_an_error_comes_stays() -> None:
    meter = Meter(torch.device("cpu"))
    phases: list[Phase | None] = []
    with contextlib.suppress(ValueError), meter.during("denoise"):
        raise ValueError
    phases.append(meter.phase)
    meter.begin()
    with meter.during("encode"):
        phases.append(meter.phase)
    assert [*phases, meter.phase] == ["denoise", "encode", None]
    assert meter.peaks == {}


def test_the_limit_of_main_memory_is_the_settings() -> None:
    here = Residency(RuntimeSettings(ram_limit=1.5), torch.device("cpu"))
    assert here.room([], []).kept_ram == int(1.5 * GIB)
    room = Room(device=GIB, ram=GIB, kept=(Kept(name="a", device=1),))
    assert room.kept_ram is None


@pytest.fixture(scope="module")
def unet() -> Any:
    """Deep enough for blocks in blocks."""
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).eval()


@pytest.mark.parametrize("limit", [0, 10_000, 2**40])
@pytest.mark.parametrize("division", ["blocks", "leaves"])
def test_streamed_weights_give_the_same_answer_to_the_bit(
    unet: Any, division: Any, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BLOCK_MAX", limit)
    latents, words = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 8)
    with torch.no_grad():
        plain = unet(latents, 5, encoder_hidden_states=words).sample
        streaming.start(unet, torch.device("cpu"), division, stream=False, pinned=False)
        for _ in range(2):
            assert torch.equal(unet(latents, 5, encoder_hidden_states=words).sample, plain)
        streaming.stop(unet)
        assert torch.equal(unet(latents, 5, encoder_hidden_states=words).sample, plain)
    assert not any(
        "forward" in vars(module) and module._diffusers_hook.hooks
        for module in unet.modules()
        if hasattr(module, "_diffusers_hook")
    )


@pytest.mark.parametrize("division", ["blocks", "leaves"])
def test_a_text_encoder_whose_words_are_shared_streams(division: Any) -> None:
    encoder, ids = flux.tiny_t5().eval(), torch.arange(6)[None]
    blocks, leaves = need_of(encoder)
    assert leaves < blocks <= size_of(encoder)
    with torch.no_grad():
        plain = encoder(input_ids=ids)[0]
        streaming.start(encoder, torch.device("cpu"), division, stream=False, pinned=False)
        assert torch.equal(encoder(input_ids=ids)[0], plain)
        streaming.stop(encoder)
        assert torch.equal(encoder(input_ids=ids)[0], plain)


@pytest.mark.parametrize("limit", [0, 10_000, 2**40])
def test_every_weight_is_streamed_or_beside(
    unet: Any, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BLOCK_MAX", limit)
    streamed = sum(size_of(module) for module in roots(unet))
    beside = sum(tensor.nbytes for tensor in beside_blocks(unet))
    assert streamed + beside == size_of(unet)
    blocks, leaves = need_of(unet)
    assert 0 < leaves < blocks < size_of(unet)


def test_a_block_with_a_small_list_in_it_is_streamed_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those of Flux.2 are, whose last layer of attention lies in a list."""
    monkeypatch.setattr(streaming, "BLOCK_MAX", 0)
    network = flux2.tiny_transformer()
    assert roots(network) == [network]
    assert need_of(network)[0] < size_of(network)


def test_a_file_on_a_slow_disk_is_read_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "SAMPLE", 8)
    monkeypatch.setattr(read_ahead, "CHUNK", 4)
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes(40))
    model = ModelFile(kind=ModelKind.CHECKPOINT, name="a", path=path, family="sd1")
    told: list[Any] = []
    monkeypatch.setattr(read_ahead.log, "info", lambda *_, **said: told.append(said["file"]))
    for slow, always, read in ((0.0, False, 0), (1e30, False, 1), (0.0, True, 1)):
        told.clear()
        monkeypatch.setattr(read_ahead, "SLOW", slow)
        read_ahead.read_ahead(model, always=always)
        assert len(told) == read
    path.unlink()
    read_ahead.read_ahead(model, always=True)


class WithHelpers(Card):
    """A card that draws along soft edges with a tiny network, and cuts out with another."""

    def __init__(self, folder: Path, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder / "cache", monkeypatch)
        self.tiny = tiny
        net = models.tiny_controlnet(folder / "softedge", tiny.path)
        self.net = ModelFile(kind=ModelKind.CONTROLNET, name="softedge", path=net, family="sd1")
        path = annotators.write_hed(folder / "ControlNetHED.safetensors")
        size = path.stat().st_size
        self.hed = ModelFile(
            kind=ModelKind.ANNOTATOR, name="hed", path=path, family="softedge", size=size
        )
        self.remover = remover(write_remover(folder / "u2net.onnx"))

    def make(self) -> str:
        self.sent.clear()
        shown, pictures = picture()
        control = {"name": "softedge", "picture": shown, "preprocessor": "softedge"}
        request = a_request(width=64, height=64, steps=1, controls=[control], cutout="u2net")
        self.server.run(
            Generate(
                "1",
                request,
                self.tiny,
                controlnets=(self.net,),
                pictures=pictures,
                annotators={"softedge": self.hed},
                finishing=Finishing(remover=self.remover),
            )
        )
        assert self.of(Failed) == [], self.of(Failed)
        return str(self.of(Picture)[0].pixels_sha256)

    @property
    def there(self) -> int:
        return len(self.parts.loaded((self.hed, self.remover)))


@pytest.mark.slow
def test_what_sees_pictures_leaves_once_it_has_where_memory_is_short(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = WithHelpers(tmp_path, tiny, monkeypatch)
    usual = card.make()
    assert card.there == 1
    # main memory has no room for what rests, the card has for all else
    monkeypatch.setattr(residency, "RAM_RESERVE", 2**50)
    monkeypatch.setattr(memory_plan, "_ram", lambda _placings: 0)
    monkeypatch.setattr(memory_plan, "_helped_ram", lambda _task, *, leave: 0 if leave else 2**40)
    monkeypatch.setattr(Residency, "has_ram_for", lambda *_: True)
    assert card.make() == usual
    assert card.there == 0
    # what another job has no use for makes room for it
    monkeypatch.undo()
    card.make()
    card.draw(tiny)
    assert card.parts.unload_others(card.parts.checkpoint(tiny).parts)
    assert card.there == 0


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "layer"), [("prepare", "Conv2d"), ("finish", "")])
def test_running_out_there_is_planned_anew_and_learned(
    tiny: ModelFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phase: Phase,
    layer: str,
) -> None:
    """Where the denoiser has left the card, there is room."""
    card = WithHelpers(tmp_path, tiny, monkeypatch)
    usual = card.make()
    card.free = GIB

    def short() -> None:
        if place_of(card.parts.checkpoint(tiny).denoiser) == "device":
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def before(module: Any, _inputs: Any) -> None:
        if type(module).__module__.endswith("annotators.edges"):
            short()

    finish = Finisher.finish

    def finishing(*told: Any) -> Any:
        short()
        return finish(*told)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(before) if layer else None
    if not layer:
        monkeypatch.setattr(Finisher, "finish", finishing)
    try:
        assert card.make() == usual
        (finished,) = card.of(Finished)
        assert finished.spared
        # it is known the next time
        assert card.make() == usual
        assert card.of(Finished)[0].spared == ()
    finally:
        if hook is not None:
            hook.remove()
    notes = MemoryNotes(tmp_path / "cache")
    [measured] = [
        found
        for key in notes._kept.found
        if "softedge" in key and (found := notes.measured(key)) is not None
    ]
    assert getattr(measured, phase) > 0
