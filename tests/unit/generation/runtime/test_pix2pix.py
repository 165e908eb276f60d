"""InstructPix2Pix against its authors' formula, written down plainly on the same weights."""

import hashlib
import io
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from generation.models import ModelFile
from generation.request_parts import Enlargement
from generation.runtime.noise import Streams
from tests.fixtures import models, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import (
    BOUND,
    HEIGHT,
    STEPS,
    WIDTH,
    Drawing,
    Pixels,
    apart,
    checkpoint,
    start_picture,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
TEXT_SCALE = 5.0
NEGATIVE = "fog"


class Editor(Drawing):
    """A tiny Stable Diffusion 1 whose UNet sees a picture in four further channels."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        base = models.tiny_stable_diffusion(root / "base")
        folder = sdxl.with_unet_channels(base, root / "pix2pix", channels=8)
        self.model: ModelFile = checkpoint(folder, "sd1", variant="instruct-pix2pix")
        self.picture, self.given = start_picture()

    def drawn(self, **changes: Any) -> Pixels:
        return self.draw(
            self.model,
            schedule="Uniform",
            guidance_scale=TEXT_SCALE,
            negative_prompt=NEGATIVE,
            **{**self.given, "denoising_strength": 1.0, **changes},
        )


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Editor:
    return Editor(tmp_path_factory.mktemp("pix2pix"))


def plainly(editor: Editor, image_scale: float) -> Pixels:
    """Brooks et al., "InstructPix2Pix", equation 3, with Euler's steps from the picture in noise,
    as A1111 begins: three calls of the network each step, nothing shared with the runtime.
    """
    folder, request = editor.model.path, a_request()
    parts = diffusers.DiffusionPipeline.from_pretrained(folder, safety_checker=None).components
    tokenizer: transformers.CLIPTokenizer = parts["tokenizer"]
    unet, vae, reader = parts["unet"], parts["vae"], parts["text_encoder"]

    def read(text: str) -> torch.Tensor:
        tokens = tokenizer(text, padding="max_length", max_length=77, return_tensors="pt")
        return torch.as_tensor(reader(tokens.input_ids)[0])

    pixels = torch.tensor(np.asarray(editor.picture), dtype=torch.float32).permute(2, 0, 1)[None]
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    scheduler.set_timesteps(STEPS)
    with torch.no_grad():
        wanted, unwanted = read(request.prompt), read(NEGATIVE)
        seen = vae.encode(pixels / 127.5 - 1).latent_dist
        noise = Streams((request.seed,)).initial(tuple(seen.mean.shape[1:]))
        start = (seen.mean + seen.std * noise) * vae.config.scaling_factor
        x = start + noise * scheduler.sigmas[0]
        levels = zip(scheduler.timesteps, scheduler.sigmas[:-1], scheduler.sigmas[1:], strict=True)
        for timestep, sigma, below in levels:

            def noise_in(text: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
                shown = torch.cat((x / (sigma**2 + 1) ** 0.5, picture), dim=1)  # noqa: B023
                return torch.as_tensor(unet(shown, timestep, text).sample)  # noqa: B023

            nothing = noise_in(unwanted, torch.zeros_like(seen.mean))
            untold = noise_in(unwanted, seen.mean)
            told = noise_in(wanted, seen.mean)
            noise_there = nothing + image_scale * (untold - nothing) + TEXT_SCALE * (told - untold)
            x = x + (below - sigma) * noise_there
        decoded = vae.decode(x / vae.config.scaling_factor).sample
    found = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round()[0].permute(1, 2, 0)
    return np.asarray(found).astype(float)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 4.0])
def test_an_edit_keeps_to_the_picture_by_its_scale(editor: Editor, scale: float) -> None:
    assert apart(editor.drawn(image_guidance_scale=scale), plainly(editor, scale)) <= BOUND


def test_scales_differ_and_the_usual_one_is_a1111s(editor: Editor) -> None:
    usual = editor.drawn()
    assert np.array_equal(usual, editor.drawn(image_guidance_scale=1.5))
    assert apart(usual, editor.drawn(image_guidance_scale=4.0)) > 1
    assert apart(usual, editor.drawn(image_guidance_scale=1.0)) > BOUND


def test_a_second_pass_is_shown_what_was_edited(editor: Editor) -> None:
    """Over the picture itself it is the edit once more; over another it is not one of that."""
    black = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(black, "PNG")
    other = hashlib.sha256(black.getvalue()).hexdigest()
    own = editor.given["init_picture"]
    pictures = {**editor.given["pictures"], other: black.getvalue()}

    def gone_over(before: str) -> Pixels:
        made = Enlargement(
            picture=other,
            upscaler="Lanczos",
            width=WIDTH,
            height=HEIGHT,
            from_width=WIDTH,
            from_height=HEIGHT,
            denoising_strength=0.5,
        )
        more = {"enlargement": made, "edited": before, "pictures": pictures}
        return editor.drawn(denoising_strength=0.5, init_picture=other, **more)

    assert apart(gone_over(own), gone_over(other)) > BOUND
    again = editor.drawn(denoising_strength=0.5, init_picture=other, pictures=pictures)
    assert np.array_equal(gone_over(other), again)
