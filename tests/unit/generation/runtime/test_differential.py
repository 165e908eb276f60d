"""Differential diffusion against a plain implementation of its paper, by diffusers' networks."""

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from generation.masked_pictures import changed
from generation.runtime.masks import DifferentialDenoiser, MaskedLatents
from generation.runtime.model_sampling import FlowSampling
from generation.runtime.noise import Streams
from generation.runtime.samplers import SAMPLING
from generation.runtime.schedules import timeline
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND, HEIGHT, WIDTH, Pixels, apart
from tests.unit.generation.runtime.test_inpainting import (
    CFG,
    KEPT,
    LESS,
    SHAPE,
    STEPS,
    UNIFORM,
    Halving,
    Inpainting,
    euler,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
FACTOR = 4


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Inpainting:
    return Inpainting(tmp_path_factory.mktemp("differential"))


def ramp() -> Image.Image:
    """From black on the left to white on the right, and white at the right edge."""
    row = np.clip(np.linspace(-40, 320, WIDTH), 0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(row[None], HEIGHT, axis=0))


def plainly(inpainting: Inpainting, steps: int, first: int) -> Pixels:
    """Each step keeps the picture's latents, with that step's noise, wherever the mask is below the
    share of the timesteps that is left.
    """
    pipe = euler(diffusers.StableDiffusionInpaintPipeline.from_pretrained(inpainting.sd().path))
    request = a_request()
    values = torch.from_numpy(np.array(inpainting.picture)).permute(2, 0, 1)[None]
    size = (WIDTH // FACTOR, HEIGHT // FACTOR)
    generator = torch.Generator("cpu").manual_seed(request.seed)
    noise = torch.randn((1, 4, size[1], size[0]), generator=generator)
    greys = np.array(ramp().resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255
    mask = torch.from_numpy(greys)[None, None]
    pipe.scheduler.set_timesteps(steps)
    sigmas, times = pipe.scheduler.sigmas[first:], pipe.scheduler.timesteps[first:]
    with torch.no_grad():
        found = pipe.vae.encode(values / 127.5 - 1).latent_dist
        kept = (found.mean + found.std * noise) * pipe.vae.config.scaling_factor
        texts = pipe.encode_prompt(request.prompt, "cpu", 1, True, CFG["negative_prompt"])
        x = kept + noise * sigmas[0]
        for sigma, after, time in zip(sigmas, sigmas[1:], times, strict=False):
            free = mask >= time / times[0]
            x = torch.where(free, x, kept + noise * sigma)
            scaled = x / (sigma**2 + 1) ** 0.5
            wanted, unwanted = (
                pipe.unet(scaled, time, encoder_hidden_states=text).sample for text in texts
            )
            error = unwanted + CFG["guidance_scale"] * (wanted - unwanted)
            clean = torch.where(free, x - sigma * error, kept)
            x = x + (x - clean) / sigma * (after - sigma)
        pixels = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample[0]
    shown = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0)
    return np.asarray(shown).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_greys_say_how_much_each_place_changes(strength: float, inpainting: Inpainting) -> None:
    # A1111's image to image does not begin at the first level at full strength
    first = STEPS - 1 - int(min(strength, 0.999) * STEPS)
    reference = plainly(inpainting, STEPS, first)
    given = inpainting.given(ramp()) | {"denoising_strength": strength}
    found = inpainting.draw(inpainting.sd(), **given, differential="on", **UNIFORM)
    seen = np.asarray(changed(ramp())) == 255
    assert apart(found[seen], reference[seen]) <= BOUND
    black = np.asarray(ramp()) == 0
    original = np.asarray(inpainting.picture).astype(float)
    assert np.array_equal(found[black], original[black])
    hard = inpainting.draw(inpainting.sd(), **given, **UNIFORM)
    assert apart(found, hard) > 1


def test_a_white_mask_is_no_mask(inpainting: Inpainting) -> None:
    white = Image.new("L", (WIDTH, HEIGHT), 255)
    given = inpainting.given(white) | LESS
    found = inpainting.draw(inpainting.sd(), **given, differential="on", **UNIFORM)
    assert np.array_equal(found, inpainting.draw(inpainting.sd(), **given, **UNIFORM))


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "Heun", "Euler a"])
def test_of_flow_models_greys_go_by_the_noise_that_is_left(sampler: str) -> None:
    """Whatever the sampler: a place stays until its grey is the share that is left."""
    sampling = FlowSampling(3.0)
    sigmas = timeline("Uniform", sampler, sampling, 8, 0.7).sigmas
    noise = Streams((7,))
    initial = noise.initial(SHAPE)
    greys = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    masked = MaskedLatents(greys, KEPT)
    asked: list[float] = []

    class Watched(DifferentialDenoiser):
        def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            denoised = super().__call__(x, sigma)
            asked.append(float(sigma))
            low = max(sampling.sigma_min, float(sigmas[-1]))
            left = (float(sigma) - low) / (float(sigmas[0]) - low)
            stays = (greys < left - 1e-6).expand_as(KEPT)
            assert torch.equal(denoised[stays], KEPT[stays])
            assert not torch.isclose(denoised[~stays], KEPT[~stays]).all()
            return denoised

    x = sampling.begin(initial, sigmas[0], KEPT)
    list(
        SAMPLING[sampler](Watched(Halving(), masked, sampling, sigmas), x, sigmas, noise, sampling)
    )
    assert len(asked) >= len(sigmas) - 2


@pytest.mark.parametrize("kind", ["flux", "fill"])
def test_every_kind_of_model_takes_greys(kind: str, inpainting: Inpainting) -> None:
    given = inpainting.given(ramp())
    found = inpainting.draw(getattr(inpainting, kind)(), **given, differential="on")
    original = np.asarray(inpainting.picture).astype(float)
    assert np.array_equal(found[:, :10], original[:, :10])
    hard = inpainting.draw(getattr(inpainting, kind)(), **given)
    assert apart(found, hard) > 1
