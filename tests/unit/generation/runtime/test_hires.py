"""A picture drawn in two passes, against A1111's hires. fix written down plainly.

The recipe is that of its `sample_hr_pass`: what of it pictures depend on stands here once more,
with the tiny model's own networks, and torch and diffusers for all that is computed.
"""

import io
import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from generation import hires
from generation.messages import Configure, Failed, Finished, Generate, Picture, Progress
from generation.models import ModelFile, ModelKind
from generation.runtime import recipe
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.hires import enlarged_picture, passes_of
from generation.runtime.parts import Parts
from generation.runtime.schedules import timeline
from generation.runtime.server import Server
from tests.fixtures import models
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends
from tests.unit.generation.runtime.test_recipe import picture
from tests.unit.generation.runtime.test_upscaling import tiny as tiny_upscaler

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

EXACT = 0.05
"""Of 255, on average."""
PROMPT, NEGATIVE = "a lighthouse at dusk", "fog"
Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def whole(folder: Path, seed: int = 0) -> Path:
    """A tiny model whose VAE has as many levels as the published one."""
    models.tiny_stable_diffusion(folder, seed=seed)
    shutil.rmtree(folder / "vae")
    return models.tiny_vae(folder / "vae", seed=seed, levels=(8, 8, 8, 16)).parent


def file(folder: Path) -> ModelFile:
    return ModelFile(kind=ModelKind.CHECKPOINT, name=folder.name, path=folder, family="sd1")


class Bench:
    """A server in this process with a tiny model, another of its kind and an upscaler."""

    def __init__(self, root: Path, of: Callable[..., Path] = whole) -> None:
        self.model, self.other = file(of(root / "one")), file(of(root / "other", seed=5))
        net = root / "net.safetensors"
        save_file(
            {k: v.contiguous() for k, v in tiny_upscaler("Compact").state_dict().items()}, net
        )
        self.upscaler = ModelFile(kind=ModelKind.UPSCALER, name="net", path=net, family="upscaler")
        self.root, self.ends = root, Ends()
        self.server = Server(Configure(SETTINGS, root / "cache"), self.ends, self.ends)  # type: ignore[arg-type]
        self.loaded = Parts(SETTINGS, torch.device("cpu")).checkpoint(self.model)

    def run(self, parts: dict[str, Any] | None = None, **changes: Any) -> list[Image.Image]:
        self.ends.sent.clear()
        self.server.run(Generate("1", asked(**changes), self.model, **(parts or {})))
        assert self.ends.of(Failed) == [], self.ends.of(Failed)[0]
        self.hashes = [one.pixels_sha256 for one in self.ends.of(Picture)]
        return [Image.open(io.BytesIO(one.file)) for one in self.ends.of(Picture)]

    def draw(self, parts: dict[str, Any] | None = None, **changes: Any) -> Image.Image:
        (found,) = self.run(parts, **changes)
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("hires"))


def asked(**changes: Any) -> Any:
    usual = {
        "width": 64,
        "height": 64,
        "steps": 4,
        "guidance_scale": 5,
        "sampler": "Euler",
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "seed": 3,
        "hires": "2",
        "hires_upscaler": "Latent",
        "hires_denoising": 0.7,
    }
    return a_request(**{**usual, **changes})


# A1111's recipe


def sigmas_of(steps: int) -> torch.Tensor:
    """k-diffusion's of Stable Diffusion, in as many steps, and 0."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    logs = (((1 - alphas) / alphas) ** 0.5).log().float()
    times = torch.linspace(999, 0, steps)
    low, high, share = times.floor().long(), times.ceil().long(), times.frac()
    return torch.cat((((1 - share) * logs[low] + share * logs[high]).exp(), torch.zeros(1)))


def karras_of(steps: int) -> torch.Tensor:
    ends = sigmas_of(2)
    low, high = ends[1] ** (1 / 7), ends[0] ** (1 / 7)
    return torch.cat(((high + torch.linspace(0, 1, steps) * (low - high)) ** 7, torch.zeros(1)))


def denoiser(model: Checkpoint, scale: float = 5, prompt: str = PROMPT) -> Denoise:
    """k-diffusion's wrapper around the network, guided; at each call as the prompt says then."""
    prompts = model.conditioner.prompts(prompt, NEGATIVE, 1)
    wanted, unwanted = prompts.parts[0][1].at(0).cross, prompts.negative.at(0).cross
    levels = sigmas_of(1000)[:-1].flip(0).log()

    def denoised(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        place = int((sigma.log() - levels >= 0).sum().clamp(1, 999)) - 1
        share = ((levels[place] - sigma.log()) / (levels[place] - levels[place + 1])).clamp(0, 1)
        told = (1 - share) * place + share * (place + 1)
        with torch.no_grad():
            answers = [
                model.denoiser(x / (sigma**2 + 1) ** 0.5, told, encoder_hidden_states=text).sample
                for text in (wanted, unwanted)
            ]
        found_: torch.Tensor = x - sigma * (answers[1] + scale * (answers[0] - answers[1]))
        return found_

    return denoised


def euler(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, _: Any) -> torch.Tensor:
    x = x.clone()
    for sigma, after in itertools.pairwise(sigmas):
        x.add_((x - denoise(x, sigma)) / sigma * (after - sigma))
    return x


def ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    for sigma, after in itertools.pairwise(sigmas):
        up = min(after, (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5)
        down = (after**2 - up**2) ** 0.5
        x = x + (x - denoise(x, sigma)) / sigma * (down - sigma)
        if after > 0:
            x = x + torch.randn(x.shape[1:], generator=generator)[None] * up
    return x


def dpmpp_2m(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, _: Any) -> torch.Tensor:
    times, before = -sigmas.log(), None
    for place, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
        found = said = denoise(x, sigma)
        step = times[place + 1] - times[place]
        if before is not None and after > 0:
            ratio = (times[place] - times[place - 1]) / step
            said = (1 + 1 / (2 * ratio)) * found - before / (2 * ratio)
        x = after / sigma * x - torch.expm1(-step) * said
        before = found
    return x


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first_latents(
    model: Checkpoint,
    width: int = 64,
    height: int = 64,
    seed: int = 3,
    sample: Any = euler,
    sigmas: Any = sigmas_of,
    steps: int = 4,
) -> torch.Tensor:
    generator, falling = seeded(seed), sigmas(steps)
    noise = torch.randn((4, height // 8, width // 8), generator=generator)[None]
    found_: torch.Tensor = sample(denoiser(model), noise * falling[0], falling, generator)
    return found_


def second_latents(
    model: Checkpoint,
    latents: torch.Tensor,
    *,
    seed: int = 3,
    steps: int = 4,
    strength: float = 0.7,
    sample: Any = euler,
    sigmas: Any = sigmas_of,
    scale: float = 5,
    prompt: str = PROMPT,
) -> torch.Tensor:
    """`sample_img2img` with as many steps as were asked for, and noise that begins anew."""
    whole = sigmas(int(steps / min(strength, 0.999)))
    done = steps - 1
    falling = whole[len(whole) - 1 - done - 1 :]
    generator = seeded(seed)
    noise = torch.randn(latents.shape[1:], generator=generator)[None]
    found_: torch.Tensor = sample(
        denoiser(model, scale, prompt), latents + noise * falling[0], falling, generator
    )
    return found_


def decoded(model: Checkpoint, latents: torch.Tensor) -> np.ndarray[Any, Any]:
    """(H, W, 3), from 0 to 255, with what is behind the point."""
    with torch.no_grad():
        pixels = model.vae.decode(latents / model.vae.config.scaling_factor).sample
    found_: np.ndarray[Any, Any] = ((pixels[0] + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy() * 255
    return found_


def encoded(model: Checkpoint, shown: Image.Image, seed: int) -> torch.Tensor:
    values = torch.from_numpy(np.array(shown).astype(np.float32) / 255)
    with torch.no_grad():
        found = model.vae.encode(values.permute(2, 0, 1)[None] * 2 - 1).latent_dist
    noise = torch.randn(found.mean.shape, generator=seeded(seed))
    found_: torch.Tensor = (found.mean + found.std * noise) * model.vae.config.scaling_factor
    return found_


def apart(found: Image.Image, expected: np.ndarray[Any, Any]) -> float:
    """Of 255, on average; finished values are rounded to the nearest here (docs/exactness.md)."""
    shown = np.array(found).astype(np.float64)
    assert shown.shape == expected.shape
    return float(np.abs(shown - np.round(expected)).mean())


MODES = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}


@pytest.mark.parametrize("name", MODES)
def test_each_latent_upscaler_is_a1111s(bench: Bench, name: str) -> None:
    mode, antialias = MODES[name]
    latents = first_latents(bench.loaded)
    # an odd size tells the modes apart that are alike at twice the size
    larger = functional.interpolate(latents, size=(13, 13), mode=mode, antialias=antialias)
    expected = decoded(bench.loaded, second_latents(bench.loaded, larger))
    found = bench.draw(hires="104x104", hires_upscaler=name)
    assert apart(found, expected) <= EXACT


def test_the_latent_upscalers_differ(bench: Bench) -> None:
    found = {bench.draw(hires="104x104", hires_upscaler=n).tobytes() for n in MODES}
    # larger, bilinear interpolation is the same with and without
    assert len(found) == len(MODES) - 1
    assert tuple(MODES) == tuple(hires.LATENT_UPSCALERS)


SAMPLES = {
    "Euler": ("Euler", "Uniform", euler, sigmas_of),
    "Euler a": ("Euler a", "Uniform", ancestral, sigmas_of),
    "DPM++ 2M": ("DPM++ 2M", "Karras", dpmpp_2m, karras_of),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(("steps", "strength"), [(0, 0.7), (3, 0.45), (6, 1.0)])
def test_the_second_pass_is_a1111s(bench: Bench, name: str, steps: int, strength: float) -> None:
    """All of its steps, over the last of so many more; noise of the same seed, begun anew."""
    sampler, schedule, sample, sigmas = SAMPLES[name]
    latents = first_latents(bench.loaded, sample=sample, sigmas=sigmas)
    larger = functional.interpolate(latents, size=(16, 16), mode="bilinear")
    expected = second_latents(
        *(bench.loaded, larger), steps=steps or 4, strength=strength, sample=sample, sigmas=sigmas
    )
    found = bench.draw(
        sampler=sampler, schedule=schedule, hires_steps=steps or None, hires_denoising=strength
    )
    assert apart(found, decoded(bench.loaded, expected)) <= EXACT


def test_what_is_its_own_acts_in_the_second_pass_alone(bench: Bench) -> None:
    latents = first_latents(bench.loaded)
    larger = functional.interpolate(latents, size=(16, 16), mode="bilinear")
    expected = second_latents(
        *(bench.loaded, larger), sample=dpmpp_2m, sigmas=karras_of, scale=2, prompt="a cat"
    )
    found = bench.draw(
        hires_sampler="DPM++ 2M", hires_schedule="Karras", hires_guidance=2, hires_prompt="a cat"
    )
    assert apart(found, decoded(bench.loaded, expected)) <= EXACT
    without = bench.draw(hires_negative_prompt="")
    assert without.tobytes() != bench.draw().tobytes() != bench.draw(hires=None).tobytes()


def test_a_schedule_that_drops_its_next_to_last_level_does_so_of_the_longer_one(
    bench: Bench,
) -> None:
    """DPM2: one more is computed of so many more, and then left out."""
    whole = karras_of(int(3 / 0.6) + 1)
    whole = torch.cat((whole[:-2], whole[-1:]))
    sampling = bench.loaded.sampling("a1111", (64, 64), 3)
    seen = timeline("Karras", "DPM2", sampling, 3, 0.6, whole=True)
    assert len(seen.sigmas) == 4
    assert torch.allclose(seen.sigmas, whole[-4:], rtol=1e-5)
    assert seen.span is not None
    assert torch.allclose(seen.span, whole, rtol=1e-5)


@pytest.mark.parametrize("sampler", ["DDIM", "UniPC"])
def test_over_timesteps_too_all_of_its_steps_are_of_so_many_more(
    bench: Bench, sampler: str
) -> None:
    sampling = bench.loaded.sampling("a1111", (64, 64), 3)
    found = timeline("Uniform", sampler, sampling, 5, 0.5, whole=True)
    times = [min(t + 1, 999) for t in range(0, 1000, 1000 // 10)]
    assert float(found.noise) == pytest.approx(float(sampling.sigmas[times[4]]))
    # a tiny strength asks for more steps than there are timesteps
    assert len(timeline("Uniform", sampler, sampling, 60, 0.01, whole=True).sigmas) > 1


@pytest.mark.parametrize("upscaler", ["Lanczos", "Nearest"])
@pytest.mark.parametrize("hires_", ["2", "1.7", "100x140"])
def test_between_pictures_it_is_decoded_enlarged_and_encoded(
    bench: Bench, upscaler: str, hires_: str
) -> None:
    """A1111 cuts off what is behind the point, resizes by way of multiples of eight, and draws the
    latents with what its seed gives.
    """
    how = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}[upscaler]
    width, height = 64, 72
    small = decoded(bench.loaded, first_latents(bench.loaded, width, height)).astype(np.uint8)
    target, made = {
        "2": ((128, 144), (128, 144)),
        "1.7": ((108, 122), (104, 120)),
        "100x140": ((124, 140), (96, 136)),
    }[hires_]
    scale = max(target[0] / width, target[1] / height)
    large = Image.fromarray(small).resize((int(width * scale), int(height * scale)), how)
    eighths = (int(width * scale) // 8 * 8, int(height * scale) // 8 * 8)
    for size in (eighths, target):
        if large.size != size:
            large = large.resize(size, Image.Resampling.LANCZOS)
    latents = encoded(bench.loaded, large, 3)
    cut = [latents.shape[3] - made[0] // 8, latents.shape[2] - made[1] // 8]
    latents = latents[
        *(slice(None), slice(None)),
        cut[1] // 2 : latents.shape[2] - (cut[1] + 1) // 2,
        cut[0] // 2 : latents.shape[3] - (cut[0] + 1) // 2,
    ]
    expected = decoded(bench.loaded, second_latents(bench.loaded, latents))
    found = bench.draw(width=width, height=height, hires=hires_, hires_upscaler=upscaler)
    assert found.size == made
    assert apart(found, expected) <= EXACT


def test_what_is_enlarged_is_cut_off_behind_the_point(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By half a step of 255, which an encoding hides."""
    seen: list[Image.Image] = []

    def noting(*given: Any) -> Image.Image:
        seen.append(given[3])
        return enlarged_picture(*given)

    monkeypatch.setattr(recipe, "enlarged_picture", noting)
    bench.draw(hires_upscaler="Lanczos")
    expected = np.floor(decoded(bench.loaded, first_latents(bench.loaded)))
    # but for what lies on the edge between two
    assert float(np.abs(np.array(seen[0]).astype(np.float64) - expected).mean()) < 0.01


def test_latents_are_cut_out_where_the_shape_is_another(bench: Bench) -> None:
    """The first is square, the second is not: what covers it is enlarged, its middle drawn anew."""
    latents = first_latents(bench.loaded)
    larger = functional.interpolate(latents, size=(17, 17), mode="bilinear")
    larger = larger[:, :, 2:-3, :]
    expected = decoded(bench.loaded, second_latents(bench.loaded, larger))
    found = bench.draw(hires="136x96")
    assert found.size == (136, 96)
    assert apart(found, expected) <= EXACT


def test_a_network_enlarges(bench: Bench) -> None:
    parts = {"upscaler": bench.upscaler}
    by_net = bench.draw(parts, hires_upscaler="net")
    assert by_net.size == (128, 128)
    assert by_net.tobytes() != bench.draw(hires_upscaler="Lanczos").tobytes()
    (finished,) = bench.ends.of(Finished)
    bench.draw(parts, hires_upscaler="net")
    (finished,) = bench.ends.of(Finished)
    assert "upscaler:net" in finished.hashes


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_each_picture_of_several_is_the_one_that_is_drawn_alone(
    bench: Bench, upscaler: str
) -> None:
    both = bench.run(count=2, sampler="Euler a", hires_upscaler=upscaler)
    for number, one in enumerate(both):
        alone = bench.draw(seed=3 + number, sampler="Euler a", hires_upscaler=upscaler)
        assert apart(one, np.array(alone).astype(np.float64)) <= EXACT


def test_another_checkpoint_draws_the_second_pass(bench: Bench) -> None:
    other = Parts(SETTINGS, torch.device("cpu")).checkpoint(bench.other)
    larger = functional.interpolate(first_latents(bench.loaded), size=(16, 16), mode="bilinear")
    expected = decoded(other, second_latents(other, larger))
    found = bench.draw({"hires_checkpoint": bench.other}, hires_model="other")
    assert apart(found, expected) <= EXACT
    (finished,) = bench.ends.of(Finished)
    assert {"checkpoint:one", "checkpoint:other"} <= finished.hashes.keys()


def test_a_refiner_ends_the_second_pass_and_not_the_first(bench: Bench) -> None:
    """As A1111 has it where nobody sets it otherwise."""
    other = Parts(SETTINGS, torch.device("cpu")).checkpoint(bench.other)
    larger = functional.interpolate(first_latents(bench.loaded), size=(16, 16), mode="bilinear")
    base, refiner, calls = denoiser(bench.loaded), denoiser(other), itertools.count()

    def both(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return (refiner if next(calls) >= 2 else base)(x, sigma)

    falling = sigmas_of(int(4 / 0.7))[-5:]
    noise = torch.randn((4, 16, 16), generator=seeded(3))[None]
    expected = decoded(other, euler(both, larger + noise * falling[0], falling, None))
    found = bench.draw({"refiner": bench.other}, refiner="other", refiner_switch=0.5)
    assert apart(found, expected) <= EXACT


def test_numbers_in_prompts_count_through_both_passes(bench: Bench) -> None:
    """Four steps, then four: the sixth is the second of the second pass."""
    assert (
        bench.draw(prompt="a [lighthouse:cat:6]").tobytes()
        != bench.draw(prompt="a lighthouse").tobytes()
    )
    plain = bench.draw(prompt="a lighthouse", hires=None)
    assert bench.draw(prompt="a [lighthouse:cat:6]", hires=None).tobytes() == plain.tobytes()
    # at the end of the first pass: another prompt in the whole of the second
    assert (
        bench.draw(prompt="a [lighthouse:cat:4]").tobytes()
        == bench.draw(prompt="a lighthouse", hires_prompt="a cat").tobytes()
        == bench.draw(prompt="a [lighthouse:cat:1.0]").tobytes()
    )


@pytest.mark.slow
def test_controlnets_steer_both_passes(tmp_path: Path) -> None:
    """The control picture is scaled to the size of each."""
    bench = Bench(tmp_path, of=models.tiny_stable_diffusion)
    net = ModelFile(
        kind=ModelKind.CONTROLNET,
        name="net",
        path=models.tiny_controlnet(tmp_path / "net", bench.model.path),
        family="sd1",
    )
    shown, pictures = picture()
    parts = {"controlnets": (net,), "pictures": pictures}

    def drawn(**span: float) -> bytes:
        control = {"name": "net", "picture": shown, **span}
        return bench.draw(parts, controls=[control]).tobytes()

    spans = {drawn(), drawn(end=0.5), drawn(start=0.5), bench.draw().tobytes()}
    assert len(spans) == 4


@pytest.mark.slow
def test_the_second_pass_in_tiles(bench: Bench) -> None:
    whole = bench.draw(hires="3")
    tiled = bench.draw(hires="3", hires_tile=64)
    assert whole.size == tiled.size == (192, 192)
    assert whole.tobytes() != tiled.tobytes()
    assert max(e.steps for e in bench.ends.of(Progress)) == 4 + 4 * 16
    assert bench.draw(hires="3", hires_tile=64, hires_upscaler="Lanczos").size == (192, 192)


def test_nothing_is_drawn_anew_at_strength_0(bench: Bench) -> None:
    larger = functional.interpolate(first_latents(bench.loaded), size=(16, 16), mode="bilinear")
    found = bench.draw(hires_denoising=0)
    assert apart(found, decoded(bench.loaded, larger)) <= EXACT


def test_comfyuis_two_samplers(bench: Bench) -> None:
    """Latents enlarged, and a second KSampler with the same seed and its denoise."""
    found = bench.draw(
        conventions="comfyui", hires_upscaler="Latent (nearest-exact)", hires_denoising=0.5
    )
    sampling = bench.loaded.sampling("comfyui", (64, 64), 4)
    whole = sampling.sigma_of(torch.linspace(999, 0, 4))
    first = torch.cat((whole, torch.zeros(1)))
    noise = torch.randn((1, 4, 8, 8), generator=seeded(3))
    levels = sampling.sigmas

    def nearest(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        place = (sigma.log() - levels.log()).abs().argmin()
        prompts = bench.loaded.conditioner.prompts(PROMPT, NEGATIVE, 1, conventions="comfyui")
        texts = (prompts.parts[0][1].at(0).cross, prompts.negative.at(0).cross)
        with torch.no_grad():
            yes, no = [
                bench.loaded.denoiser(
                    x / (sigma**2 + 1) ** 0.5, place, encoder_hidden_states=text
                ).sample
                for text in texts
            ]
        found_: torch.Tensor = x - sigma * (no + 5 * (yes - no))
        return found_

    x = euler(nearest, noise * (1 + first[0] ** 2) ** 0.5, first, None)
    x = functional.interpolate(x, size=(16, 16), mode="nearest-exact")
    later = torch.cat((sampling.sigma_of(torch.linspace(999, 0, 8)), torch.zeros(1)))[-5:]
    again = torch.randn((1, 4, 16, 16), generator=seeded(3))
    x = euler(nearest, x + again * later[0], later, None)
    assert np.abs(np.array(found) - np.floor(decoded(bench.loaded, x))).mean() <= EXACT


def test_its_progress_runs_once_and_names_the_second_pass(bench: Bench) -> None:
    bench.run(count=2, hires_upscaler="Lanczos")
    events = bench.ends.of(Progress)
    steps = [event.step for event in events]
    assert steps == sorted(steps)
    stages = [stage for stage, _ in itertools.groupby(event.stage for event in events)]
    assert stages[-4:] == ["denoising", "enlarging", "hires", "decoding"]
    assert events[-1].step == events[-1].steps == 2 * (4 + 4 * 4)
    small, large = passes_of(Generate("1", asked(), bench.model), bench.loaded.family)
    assert (small.units, large.units) == (4, 16)
    assert math.prod((small.request.width, small.request.height)) == 64 * 64


def test_a_job_is_cancelled_within_the_second_pass(bench: Bench) -> None:
    seen = []

    class Cancelling(Ends):
        def send(self, message: Any) -> None:
            super().send(message)
            if isinstance(message, Progress) and message.stage == "hires":
                seen.append(message)
                self.cancelled = True

    ends = Cancelling()
    server = Server(Configure(SETTINGS, bench.root / "cache"), ends, ends)  # type: ignore[arg-type]
    server.run(Generate("1", asked(), bench.model))
    assert len(seen) == 1
    (failed,) = ends.of(Failed)
    assert failed.code == "cancelled"
    assert ends.of(Picture) == []


def test_the_same_request_is_the_same_picture(bench: Bench) -> None:
    changes: dict[str, Any] = {"sampler": "DPM++ SDE", "hires_upscaler": "Lanczos", "count": 2}
    bench.run(**changes)
    first = bench.hashes
    bench.run(**changes)
    assert bench.hashes == first
