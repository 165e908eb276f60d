"""Two checkpoints that share the steps of a picture."""

import contextlib
import io
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from generation.memory_settings import BOUNDS
from generation.messages import Configure, Failed, Finished, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import latents, recipe
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.conditioning import Scheduled
from generation.runtime.lessons import Lessons
from generation.runtime.noise import Streams
from generation.runtime.residency import Residency
from generation.runtime.server import Server
from generation.samplers import SAMPLERS
from tests.fixtures import layouts, models, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends
from tests.unit.generation.runtime.test_recipe import picture

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
SIZES = (64.0, 64.0, 0.0, 0.0)
"""Original height and width, and the crop."""
REMEMBER = ("DPM++ 2M", "DPM++ SDE", "Heun", "LMS", "UniPC", "DDIM CFG++")
"""Samplers that have a state each of another kind."""


def file(path: Path, family: str, kind: ModelKind = ModelKind.CHECKPOINT, **more: Any) -> ModelFile:
    return ModelFile(
        kind=kind, name=path.stem, path=path, family=family, v_prediction=False, **more
    )


class Bench:
    """A server in this process with a base, its refiner and a copy of the base."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = file(sdxl.tiny_sdxl(root / "base"), "sdxl")
        self.refiner = file(sdxl.tiny_refiner(root / "refiner"), "sdxl-refiner")
        self.twin = file(Path(shutil.copytree(self.base.path, root / "twin")), "sdxl")
        self.ends = Ends()
        self.server = Server(Configure(SETTINGS, root / "cache"), self.ends, self.ends)  # type: ignore[arg-type]
        self.parts = self.server._parts

    def run(
        self,
        refiner: ModelFile | None = None,
        base: ModelFile | None = None,
        parts: dict[str, Any] | None = None,
        **changes: Any,
    ) -> list[Any]:
        self.ends.sent.clear()
        base = base or self.base
        if refiner is not None:
            changes["refiner"] = refiner.name
        settings = {"width": 64, "height": 64, "steps": 5, "guidance_scale": 5, "sampler": "Euler"}
        request = a_request(**{**settings, "model": base.name, **changes})
        self.server.run(Generate("1", request, base, refiner=refiner, **(parts or {})))
        return self.ends.sent

    def draw(self, refiner: ModelFile | None = None, **changes: Any) -> str:
        self.run(refiner, **changes)
        assert self.ends.of(Failed) == [], self.ends.of(Failed)[0]
        self.pictures = self.ends.of(Picture)
        return " ".join(picture.pixels_sha256 for picture in self.pictures)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("refiner"))


def guided(
    model: Checkpoint, x: torch.Tensor, sigma: torch.Tensor, ids: tuple[list[float], list[float]]
) -> torch.Tensor:
    """What a checkpoint makes of x: guided, of what it predicts, told these sizes."""
    prompts = model.conditioner.prompts("a lighthouse", "fog", 5)
    sampling = model.sampling("a1111", (64, 64), 20)
    ((_, wanted),) = prompts.parts
    answers = []
    for said, told in ((wanted, ids[0]), (prompts.negative, ids[1])):
        assert isinstance(said, Scheduled)
        text = said.at(0)
        with torch.no_grad():
            answers.append(
                model.denoiser(
                    x / (sigma**2 + 1) ** 0.5,
                    sampling.timestep(sigma),
                    encoder_hidden_states=text.cross,
                    added_cond_kwargs={
                        "text_embeds": text.pooled,
                        "time_ids": torch.tensor([told]),
                    },
                ).sample
            )
    noise: torch.Tensor = answers[1] + 5 * (answers[0] - answers[1])
    return x - sigma * noise


@pytest.mark.parametrize(("switch", "by_base"), [(0.6, 3), (0.5, 3), (0.8, 4), (0.0, 0)])
def test_the_last_steps_are_the_refiners(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, switch: float, by_base: int
) -> None:
    """Against Euler written by hand: the base's steps, then the refiner's, told its own score."""
    found = []
    decode = latents.decode

    def seen(model: Checkpoint, latent: torch.Tensor, *more: Any, **named: Any) -> Any:
        found.append(latent)
        assert model.file.name == "refiner"
        return decode(model, latent, *more, **named)

    monkeypatch.setattr(recipe, "decode", seen)
    bench.draw(
        bench.refiner, refiner_switch=switch, prompt="a lighthouse", negative_prompt="fog", seed=3
    )
    base, refiner = bench.parts.checkpoint(bench.base), bench.parts.checkpoint(bench.refiner)
    sampling = base.sampling("a1111", (64, 64), 20)
    times = torch.linspace(len(sampling.sigmas) - 1, 0, 5)
    sigmas = torch.cat((sampling.sigma_of(times), torch.zeros(1)))
    x = Streams((3,), ((),), "a1111", sigmas).initial((4, 8, 8)) * sigmas[0]
    for step, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
        if step < by_base:
            told = [*SIZES, 64.0, 64.0]
            denoised = guided(base, x, sigma, (told, told))
        else:
            denoised = guided(refiner, x, sigma, ([*SIZES, 6.0], [*SIZES, 2.5]))
        x = x + (x - denoised) / sigma * (after - sigma)
    (drawn,) = found
    assert (drawn - x[0]).abs().max() < 1e-5 * x.abs().max()


def test_a_switch_at_the_end_is_the_base_alone(bench: Bench) -> None:
    alone = bench.draw()
    assert bench.draw(bench.refiner, refiner_switch=1.0) == alone
    # the last of five calls is at four fifths
    assert bench.draw(bench.refiner, refiner_switch=0.81) == alone
    assert bench.draw(bench.refiner, refiner_switch=0.8) != alone


def test_a_switch_at_once_is_the_refiner_alone(bench: Bench) -> None:
    assert bench.draw(bench.refiner, refiner_switch=0.0) == bench.draw(base=bench.refiner)


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(name, marks=[] if name in REMEMBER else [pytest.mark.slow])
        for name in sorted(SAMPLERS)
    ],
)
def test_a_sampler_does_not_notice(bench: Bench, sampler: str) -> None:
    """A refiner of the same weights makes the same picture: noise, state, prompts go on."""
    changes: dict[str, Any] = {
        "sampler": sampler,
        "prompt": "a [lighthouse:cat:0.7] at dusk AND fog",
        "count": 2,
    }
    assert bench.draw(bench.twin, refiner_switch=0.5, **changes) == bench.draw(**changes)


def test_a_start_picture_is_gone_on_with(bench: Bench) -> None:
    shown, pictures = picture()
    changes: dict[str, Any] = {
        "init_picture": shown,
        "denoising_strength": 0.7,
        "parts": {"pictures": pictures},
    }
    alone = bench.draw(**changes)
    assert bench.draw(bench.twin, refiner_switch=0.5, **changes) == alone
    assert bench.draw(bench.refiner, refiner_switch=0.5, **changes) != alone
    # nothing is drawn anew: nobody takes over
    nothing = changes | {"denoising_strength": 0.0}
    assert bench.draw(bench.refiner, refiner_switch=0.0, **nothing) == bench.draw(**nothing)


def test_the_hashes_of_both_are_told(bench: Bench) -> None:
    bench.draw(bench.refiner)
    (finished,) = bench.ends.of(Finished)
    assert {"checkpoint:base", "checkpoint:refiner"} <= finished.hashes.keys()


@pytest.mark.slow
def test_who_draws_last_decodes_unless_a_vae_is_named(bench: Bench, tmp_path: Path) -> None:
    """As A1111, which has the refiner's checkpoint loaded by then."""
    other = Path(shutil.copytree(bench.twin.path, tmp_path / "other"))
    shutil.rmtree(other / "vae")
    sdxl.tiny_xl_vae(seed=9).save_pretrained(other / "vae")
    twin = file(other, "sdxl")
    alone = bench.draw()
    assert bench.draw(twin, refiner_switch=0.5) != alone
    vae = file(Path(shutil.copytree(other / "vae", tmp_path / "fine")), "sdxl", ModelKind.VAE)
    named: dict[str, Any] = {"vae": vae.name, "parts": {"vae": vae}}
    assert bench.draw(twin, refiner_switch=0.5, **named) == bench.draw(**named)


def test_latents_of_another_size_are_refused(bench: Bench, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bench.twin.path, tmp_path / "other"))
    shutil.rmtree(other / "vae")
    models.tiny_vae(other / "vae")
    bench.run(file(other, "sdxl"))
    (failed,) = bench.ends.of(Failed)
    assert failed.code == "refiner_mismatch"
    assert failed.params == {"name": "other", "model": "base"}


@pytest.mark.slow
def test_loras_go_to_the_checkpoint_of_their_family(bench: Bench, tmp_path: Path) -> None:
    pairs = layouts.lora_pairs(bench.base.path)
    save_file(layouts.kohya(pairs), tmp_path / "style.safetensors")
    style = file(tmp_path / "style.safetensors", "sdxl", ModelKind.LORA)
    save_file(
        layouts.kohya(layouts.lora_pairs(bench.refiner.path)), tmp_path / "detail.safetensors"
    )
    detail = file(tmp_path / "detail.safetensors", "sdxl-refiner", ModelKind.LORA)

    def drawn(*loras: ModelFile, refiner: ModelFile | None = bench.refiner) -> str:
        uses = [{"name": lora.name, "weight": 0.7} for lora in loras]
        return bench.draw(refiner, refiner_switch=0.5, loras=uses, parts={"loras": loras})

    assert len({drawn(), drawn(style), drawn(detail), drawn(style, detail)}) == 4
    # one that fits both acts in both
    assert drawn(style, refiner=bench.twin) == drawn(style, refiner=None)
    assert drawn() == drawn()


@pytest.mark.slow
def test_controlnets_steer_the_checkpoint_that_they_fit(bench: Bench, tmp_path: Path) -> None:
    net = file(
        sdxl.tiny_xl_controlnet(tmp_path / "net", bench.base.path), "sdxl", ModelKind.CONTROLNET
    )
    shown, pictures = picture()
    changes: dict[str, Any] = {
        "controls": [{"name": net.name, "picture": shown}],
        "parts": {"controlnets": (net,), "pictures": pictures},
    }
    assert bench.draw(bench.twin, refiner_switch=0.5, **changes) == bench.draw(**changes)
    steered = bench.draw(bench.refiner, refiner_switch=0.5, **changes)
    assert steered != bench.draw(bench.refiner, refiner_switch=0.5)
    alone = bench.draw(bench.refiner, refiner_switch=0.0, **changes)
    assert alone == bench.draw(bench.refiner, refiner_switch=0.0)


def test_two_models_of_stable_diffusion_1(bench: Bench, tmp_path: Path, tiny: ModelFile) -> None:
    first = msgspec.structs.replace(tiny, v_prediction=False)
    second = file(models.tiny_stable_diffusion(tmp_path / "other", seed=5), "sd1")
    both = bench.draw(second, base=first, refiner_switch=0.5)
    assert both not in (bench.draw(base=first), bench.draw(base=second))


@pytest.mark.slow
def test_where_there_is_no_room_for_both_the_base_steps_aside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = bench.draw(bench.refiner, refiner_switch=0.5, count=2)
    base, refiner = (bench.parts.checkpoint(each) for each in (bench.base, bench.refiner))
    names = {id(base.denoiser): "base", id(refiner.denoiser): "refiner"}
    moves: list[tuple[str, str]] = []
    at_work = Residency.at_work

    @contextlib.contextmanager
    def watched(self: Residency, *parts: Any) -> Iterator[None]:
        found = [names[id(part)] for part in parts if id(part) in names]
        moves.extend((name, "comes") for name in found)
        with at_work(self, *parts):
            assert all(part.residency == "aside" for part in parts)
            yield
        moves.extend((name, "leaves") for name in found)

    monkeypatch.setattr(Residency, "at_work", watched)
    monkeypatch.setattr(Residency, "one_memory", False)
    monkeypatch.setattr(bench.server._planner, "_bounds", BOUNDS["medium"])
    assert bench.draw(bench.refiner, refiner_switch=0.5, count=2) == usual
    assert moves[-4:] == [
        ("base", "comes"),
        ("base", "leaves"),
        ("refiner", "comes"),
        ("refiner", "leaves"),
    ]
    # with room again, both stay
    monkeypatch.undo()
    assert bench.draw(bench.refiner, refiner_switch=0.5, count=2) == usual
    assert {part.residency for part in (base.denoiser, refiner.denoiser)} == {"device"}
    bench.parts.free()


def test_the_picture_is_one(bench: Bench) -> None:
    bench.draw(bench.refiner, refiner_switch=0.5)
    with Image.open(io.BytesIO(bench.pictures[0].file)) as image:
        assert len(set(image.convert("L").tobytes())) > 20


def test_what_overflowed_in_one_of_two_is_no_lesson_for_one_alone(bench: Bench) -> None:
    lessons = Lessons()
    lessons.needs_wider(bench.base, bench.refiner, dtype=torch.float32)
    assert lessons.wider(bench.base, bench.refiner) == torch.float32
    assert lessons.wider(bench.base) is None
    assert lessons.wider(bench.refiner) is None
    lessons.needs_wider(bench.twin, dtype=torch.bfloat16)
    assert lessons.wider(bench.base, bench.twin) == torch.bfloat16
