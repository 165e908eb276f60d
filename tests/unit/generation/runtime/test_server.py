"""Jobs in the worker itself, where a test can make memory run out and time pass."""

import contextlib
import hashlib
import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bot.locales import Texts
from generation import memory_plan
from generation.memory_plan import MemoryBounds, PartPlace
from generation.messages import (
    Configure,
    Failed,
    Finished,
    Generate,
    Picture,
    Preview,
    Progress,
)
from generation.models import ModelFile, ModelKind
from generation.runtime import latents, recipe, report, residency
from generation.runtime.faults import NotFiniteError, is_fatal, is_out_of_memory
from generation.runtime.hashes import Hashes
from generation.runtime.liveness import beating
from generation.runtime.server import Server
from tests.fixtures import models
from tests.fixtures.requests import a_request
from tests.patience import PATIENCE
from tests.unit.generation.runtime.conftest import checkpoint
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def server(ends: Ends, tmp_path: Path) -> Server:
    configure = Configure(SETTINGS, tmp_path / "cache")
    return Server(configure, ends, ends)  # type: ignore[arg-type]


def work(tiny: ModelFile, **changes: Any) -> Generate:
    return Generate("1", a_request(width=64, height=64, **changes), tiny)


@contextlib.contextmanager
def memory_for(rows: int) -> Iterator[None]:
    """Networks run out of memory on larger batches, as on a small graphics card."""

    def before(_module: Any, inputs: tuple[Any, ...]) -> None:
        for tensor in inputs:
            if isinstance(tensor, torch.Tensor) and tensor.ndim == 4 and len(tensor) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    hook = torch.nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        hook.remove()


def test_what_does_not_fit_is_drawn_one_by_one(server: Server, ends: Ends, tiny: ModelFile) -> None:
    with memory_for(rows=2):  # guidance doubles the batch
        server.run(work(tiny, count=3))
    assert [picture.index for picture in ends.of(Picture)] == [0, 1, 2]
    (finished,) = ends.of(Finished)
    assert finished.batch_size == 1
    assert finished.spared == ("plan_batch",)
    assert finished.remark == "memory ran out, and it was drawn so: one picture at a time"
    # the next one like it begins where that one came to
    with memory_for(rows=2):
        server.run(work(tiny, count=3, seed=9))
    server.run(Generate("1", a_request(width=96, height=64, count=4), tiny))
    assert [finished.batch_size for finished in ends.of(Finished)] == [1, 1, 4]
    assert [bool(finished.spared) for finished in ends.of(Finished)] == [True, False, False]
    assert ends.of(Failed) == []


def test_one_that_was_cancelled_while_it_waited_is_not_begun(
    server: Server, ends: Ends, tiny: ModelFile
) -> None:
    ends.cancelled = True
    server.run(work(tiny))
    assert [type(message) for message in ends.sent] == [Failed]
    assert ends.of(Failed)[0].code == "cancelled"


def test_what_fits_without_the_models_of_others_is_drawn_at_once(
    server: Server, ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    other = checkpoint(models.tiny_stable_diffusion(tmp_path / "other"))
    server.run(work(other))
    kept = server._parts._checkpoints

    def before(_module: Any, _inputs: Any) -> None:
        if len(kept) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    hook = torch.nn.modules.module.register_module_forward_pre_hook(before)
    try:
        server.run(work(tiny, count=3))
    finally:
        hook.remove()
    assert [stamp[0] for stamp in kept] == [tiny.path]
    assert ends.of(Finished)[1].batch_size == 3
    assert ends.of(Finished)[1].spared == ()


def test_a_job_that_may_have_died_of_its_size_is_drawn_one_by_one(
    server: Server, ends: Ends, tiny: ModelFile
) -> None:
    with memory_for(rows=2):
        server.run(msgspec.structs.replace(work(tiny, count=3), one_by_one=True))
    assert [picture.index for picture in ends.of(Picture)] == [0, 1, 2]
    assert ends.of(Finished)[0].batch_size == 1


def test_a_large_file_on_a_slow_disk_is_hashed_with_signs_of_life(
    ends: Ends, tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, stuck = threading.Event(), threading.Event()

    def slow(*_: Any) -> str:
        stuck.wait()
        return "0" * 64

    def send(message: Any) -> None:
        ends.sent.append(message)
        if len(ends.sent) > 100:
            arrived.set()

    monkeypatch.setattr(report, "WAIT_STEP", 0.001)
    monkeypatch.setattr(Hashes, "of", slow)
    monkeypatch.setattr(ends, "send", send)
    server = Server(Configure(SETTINGS, tmp_path), ends, ends)  # type: ignore[arg-type]
    running = threading.Thread(target=server.run, args=(work(tiny),))
    running.start()
    try:
        assert arrived.wait(PATIENCE)
        assert ends.of(Picture) == []
        ends.cancelled = True
        running.join(PATIENCE)
        assert [failed.code for failed in ends.of(Failed)] == ["cancelled"]
    finally:
        stuck.set()


def test_what_does_not_fit_at_all_fails(server: Server, ends: Ends, tiny: ModelFile) -> None:
    with memory_for(rows=0):
        server.run(work(tiny))
    (failed,) = ends.of(Failed)
    assert failed.code == "out_of_memory"
    assert "20.00 GiB" in failed.detail
    server.run(work(tiny))
    assert len(ends.of(Finished)) == 1


def test_pictures_that_were_sent_are_not_made_again(
    server: Server, ends: Ends, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    decode = latents.decode

    def short_of_memory(*given: Any, **said: Any) -> Any:
        tries.append(1)
        if len(tries) == 2:
            raise torch.OutOfMemoryError
        return decode(*given, **said)

    monkeypatch.setattr(recipe, "decode", short_of_memory)
    server.run(work(tiny, count=3))
    assert [picture.index for picture in ends.of(Picture)] == [0, 1, 2]


def test_a_cancelled_job_says_so_and_leaves_the_model_as_it_was(
    server: Server, ends: Ends, tiny: ModelFile
) -> None:
    server.run(work(tiny))
    ends.cancelled = True
    server.run(work(tiny))
    ends.cancelled = False
    server.run(work(tiny))
    assert ends.of(Failed)[0].code == "cancelled"
    first, last = ends.of(Picture)
    assert first.pixels_sha256 == last.pixels_sha256


def test_what_nobody_foresaw_is_an_internal_error(
    server: Server, ends: Ends, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "timeline", lambda *_, **__: 1 / 0)
    server.run(work(tiny))
    (failed,) = ends.of(Failed)
    assert failed.code == "internal_error"
    assert "ZeroDivisionError" in failed.detail


def test_a_lost_device_ends_the_process(
    server: Server, ends: Ends, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any, **__: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(recipe, "timeline", fault)
    with pytest.raises(torch.AcceleratorError):
        server.run(work(tiny))
    assert ends.of(Failed) == []


def test_a_vae_that_overflows_in_half_precision_decodes_in_float32(
    ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(SETTINGS, precision="float16")
    server = Server(Configure(settings, str(tmp_path)), ends, ends)  # type: ignore[arg-type]

    def overflow(module: Any, _inputs: Any, outputs: Any) -> Any:
        is_decoder = type(module).__name__ == "Decoder"
        return outputs * torch.inf if is_decoder and outputs.dtype == torch.float16 else outputs

    hook = torch.nn.modules.module.register_module_forward_hook(overflow)
    try:
        server.run(work(tiny))
    finally:
        hook.remove()
    assert len(ends.of(Picture)) == 1
    assert ends.of(Failed) == []


def overflowing_in_half(module: Any, _inputs: Any, outputs: Any) -> Any:
    """A hook: the denoiser gives infinities in float16, as that of Stable Diffusion 2.1 can."""
    if type(module).__name__ != "UNet2DConditionModel" or outputs[0].dtype != torch.float16:
        return outputs
    return (outputs[0] * torch.inf,)


@pytest.mark.slow
def test_a_denoiser_that_overflows_in_half_precision_draws_in_a_wider_one(
    server: Server, ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    server.run(work(tiny, count=2))
    exact = [picture.pixels_sha256 for picture in ends.of(Picture)]
    ends.sent.clear()
    settings = msgspec.structs.replace(SETTINGS, precision="float16")
    halved = Server(Configure(settings, str(tmp_path)), ends, ends)  # type: ignore[arg-type]
    halved.run(work(tiny, count=2))
    assert ends.of(Finished)[-1].batch_size == 2
    half = [picture.pixels_sha256 for picture in ends.of(Picture)]
    assert half != exact
    ends.sent.clear()
    hook = torch.nn.modules.module.register_module_forward_hook(overflowing_in_half)
    try:
        halved.run(work(tiny, count=2))
    finally:
        hook.remove()
    assert ends.of(Failed) == []
    assert [picture.pixels_sha256 for picture in ends.of(Picture)] == exact
    ends.sent.clear()
    # what was learned is not learned again
    halved.run(work(tiny, count=2))
    assert [picture.pixels_sha256 for picture in ends.of(Picture)] == exact


def test_a_model_that_gives_nan_in_every_precision_fails(
    ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(SETTINGS, precision="float16")
    server = Server(Configure(settings, str(tmp_path)), ends, ends)  # type: ignore[arg-type]
    poisoned = models.poison_weights(copied(tiny, tmp_path))
    server.run(work(checkpoint(poisoned)))
    (failed,) = ends.of(Failed)
    # one try: in no precision is it a number
    assert (failed.code, server._parts.dtype) == ("nan_weights", torch.float16)
    assert len(server._parts._checkpoints) == 1


@pytest.mark.parametrize(
    ("part", "title"), [("unet", "UNet"), ("vae", "VAE"), ("text_encoder", "text encoder")]
)
def test_of_a_damaged_model_the_part_is_named(
    server: Server, ends: Ends, tiny: ModelFile, tmp_path: Path, part: str, title: str
) -> None:
    poisoned = models.poison_weights(copied(tiny, tmp_path), part)
    server.run(work(checkpoint(poisoned)))
    (failed,) = ends.of(Failed)
    assert (failed.code, failed.params) == ("nan_weights", {"file": poisoned.name, "part": title})


@pytest.mark.parametrize("kind", [ModelKind.VAE, ModelKind.CONTROLNET])
def test_a_damaged_part_is_named_and_not_the_checkpoint(
    server: Server, ends: Ends, tiny: ModelFile, tmp_path: Path, kind: ModelKind
) -> None:
    folder = tmp_path / "part"
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    if kind is ModelKind.VAE:
        models.tiny_vae(folder)
    else:
        models.tiny_controlnet(folder, tiny.path)
    poisoned = models.poison_weights(folder, "")
    part = ModelFile(kind=kind, name="edges", path=poisoned, family="sd1")
    request = a_request(width=64, height=64)
    parts: dict[str, Any] = {"vae": part}
    title = "VAE"
    if kind is ModelKind.CONTROLNET:
        title = "ControlNet"
        request = a_request(width=64, height=64, controls=[{"name": "edges", "picture": sha256}])
        parts = {"controlnets": (part,), "pictures": {sha256: file.getvalue()}}
    server.run(Generate("1", request, tiny, **parts))
    (failed,) = ends.of(Failed)
    assert (failed.code, failed.params) == ("nan_weights", {"file": "edges", "part": title})


def test_what_is_no_picture_with_sound_weights_is_blamed_on_none(
    server: Server, ends: Ends, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise NotFiniteError

    monkeypatch.setattr(recipe, "decode", nowhere)
    server.run(work(tiny))
    (failed,) = ends.of(Failed)
    assert (failed.code, failed.params) == ("nan_pictures", {"model": "demo"})


def test_what_people_read_of_a_broken_file_has_no_path_and_no_library_text(
    server: Server, ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    for damage in (no_config, other_shapes, cut, gone):
        folder = copied(tiny, tmp_path / damage.__name__)
        damage(folder)
        ends.sent.clear()
        server.run(work(checkpoint(folder)))
        (failed,) = ends.of(Failed)
        said = Texts("en-US")(failed.code, **failed.params)
        assert failed.code == "model_broken", damage
        assert str(tmp_path) not in said, said
        assert "Error" not in said, said
        assert "tiny" in said, said


def no_config(folder: Path) -> None:
    (folder / "unet" / "config.json").write_text("{")


def other_shapes(folder: Path) -> None:
    file = next((folder / "text_encoder").glob("*.safetensors"))
    save_file({name: t[:-1] for name, t in load_file(file).items()}, file)


def cut(folder: Path) -> None:
    file = next((folder / "vae").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-10])


def gone(folder: Path) -> None:
    shutil.rmtree(folder / "unet")


def copied(model: ModelFile, folder: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(model.path, folder / "tiny"))


def test_a_clip_skip_beyond_the_encoder_is_refused(
    server: Server, ends: Ends, tiny: ModelFile
) -> None:
    server.run(work(tiny, clip_skip=models.TEXT_LAYERS))
    server.run(work(tiny, clip_skip=models.TEXT_LAYERS + 1))
    assert len(ends.of(Finished)) == 1
    (failed,) = ends.of(Failed)
    assert failed.code == "clip_skip_too_deep"
    assert failed.params == {"high": str(models.TEXT_LAYERS)}


def test_which_errors_mean_that_memory_ran_out() -> None:
    for text in (
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried",
        "data. DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes.",
        "MPS backend out of memory (MPS allocated: 17.9 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ):
        assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_fatal(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_long_step_gives_signs_of_life(
    server: Server, ends: Ends, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run(work(tiny))
    plain = len(ends.of(Progress))
    monkeypatch.setattr(recipe, "BEAT_EVERY", 0.0)
    ends.sent.clear()
    server.run(work(tiny))
    assert len(ends.of(Progress)) > 10 * plain
    steps = [progress.step for progress in ends.of(Progress)]
    assert steps == sorted(steps)


@pytest.mark.parametrize(("every", "asked"), [(0, 0), (60, 1)])
def test_a_vae_is_asked_for_its_colours_before_the_first_step_and_once(
    ends: Ends, tiny: ModelFile, tmp_path: Path, every: int, asked: int
) -> None:
    encoded: list[int] = []

    def counting(module: Any, _inputs: Any, _outputs: Any) -> None:
        if type(module).__name__ == "Encoder":
            encoded.append(sum(sent.stage == "denoising" for sent in ends.of(Progress)))

    settings = msgspec.structs.replace(SETTINGS, preview_every=every)
    hook = torch.nn.modules.module.register_module_forward_hook(counting)
    try:
        for _ in range(2):  # two starts
            server = Server(Configure(settings, tmp_path), ends, ends)  # type: ignore[arg-type]
            server.run(work(tiny))
            server.run(work(tiny, seed=9))
    finally:
        hook.remove()
    assert encoded == [0] * asked
    assert bool(ends.of(Preview)) == bool(every)


def test_only_work_gives_signs_of_life() -> None:
    beats: list[int] = []
    layer = torch.nn.Linear(2, 2)
    with beating([layer], lambda: beats.append(1), every=0.05):
        threading.Event().wait(0.2)
        assert beats == []
        layer(torch.zeros(1, 2))
        layer(torch.zeros(1, 2))
        assert beats == [1]
    layer(torch.zeros(1, 2))
    assert beats == [1]


def pretend_to_have_a_card(
    monkeypatch: pytest.MonkeyPatch, server: Server, place: PartPlace
) -> None:
    """The processor stands in for a graphics card, all parts in one place."""
    monkeypatch.setattr(residency.Residency, "one_memory", False)
    monkeypatch.setattr(memory_plan, "SMALL", 0)
    server._planner._bounds = MemoryBounds(
        denoiser=(place,), others=(place,), disk=False, tiled=(False,), batches=(1,)
    )


@pytest.mark.slow
@pytest.mark.parametrize("place", ["aside", "blocks", "leaves"])
def test_where_the_weights_lie_changes_no_pixel(
    ends: Ends,
    tiny: ModelFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: PartPlace,
) -> None:
    """The processor stands in for a graphics card here; what that saves is not shown."""
    edges = models.tiny_controlnet(tmp_path / "edges", tiny.path)
    controlnet = ModelFile(kind=ModelKind.CONTROLNET, name="edges", path=edges, family="sd1")
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    controls = [{"name": "edges", "picture": sha256}]
    controlled = Generate(
        "2",
        a_request(width=64, height=64, init_picture=sha256, controls=controls),
        tiny,
        controlnets=(controlnet,),
        pictures={sha256: file.getvalue()},
    )
    folder = models.tiny_vae(tmp_path / "other")
    tiles = msgspec.structs.replace(
        controlled,
        request=controlled.request.with_(width=96, tile=64, vae="other", count=2),
        vae=ModelFile(kind=ModelKind.VAE, name="other", path=folder, family="sd1"),
    )

    def drawn(server: Server, *jobs: Generate) -> list[str]:
        ends.sent.clear()
        for job in jobs or (work(tiny), controlled, tiles, work(tiny)):
            server.run(job)
        assert ends.of(Failed) == []
        return [picture.pixels_sha256 for picture in ends.of(Picture)]

    # so that a second batch is drawn after the first has moved the weights
    settings = Configure(msgspec.structs.replace(SETTINGS, batch_size=1), tmp_path)
    plain = drawn(Server(settings, ends, ends))  # type: ignore[arg-type]
    assert plain[0] == plain[-1]
    assert len(set(plain)) == 4
    server = Server(settings, ends, ends)  # type: ignore[arg-type]
    pretend_to_have_a_card(monkeypatch, server, place)
    assert drawn(server) == plain
    used = server._parts.checkpoint(tiny)
    assert {part.residency for part in used.parts} == {place}
    numerics = ends.of(Finished)[-1].numerics
    assert numerics is not None
    assert numerics.memory == {"aside": "medium", "blocks": "blocks", "leaves": "low"}[place]
    # and back: a place is no fate
    pretend_to_have_a_card(monkeypatch, server, "device")
    assert drawn(server, work(tiny)) == plain[:1]
    assert {part.residency for part in used.parts} == {"device"}
    assert not any(hasattr(module, "_hf_hook") for module in used.denoiser.modules())
