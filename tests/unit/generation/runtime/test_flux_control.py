"""What follows a control picture with Flux.1, against diffusers' pipelines on the same weights."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from generation.messages import Configure, Failed
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.server import Server
from generation.runtime.tokenizers import VOCABULARY, load_t5_tokenizer, load_tokenizer
from tests.fixtures import flux, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends
from tests.unit.generation.runtime.test_flux import (
    ALL,
    BOUND,
    HEIGHT,
    STEPS,
    WIDTH,
    Drawing,
)

Pixels = np.ndarray[Any, Any]
EDGES = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
"""A control picture of the size that is drawn."""


class ControlModels(Drawing):
    """Flux.1 dev, and the same with a denoiser that follows a picture itself."""

    usual: ClassVar[dict[str, Any]] = {"schedule": "Simple"}

    def __init__(self, root: Path) -> None:
        self.folder = flux.tiny_flux(root / "dev")
        self.following = flux.tiny_control(root / "following", self.folder)
        self.split = flux.split(self.following, root / "split")
        self.configs = sdxl.configs_of("flux", self.folder, root / "configs")
        self.ends = Ends()
        settings = Configure(SETTINGS, root / "cache")
        self.server = Server(settings, self.ends, self.ends)  # type: ignore[arg-type]
        own = {"variant": "control"}
        self.files = {
            "dev": _checkpoint(self.folder, carries=ALL),
            "folder": _checkpoint(self.following, carries=ALL, **own),
            "split": _checkpoint(self.split, parts=flux.parts_of(root / "split"), **own),
        }


def _checkpoint(path: Path, **fields: Any) -> ModelFile:
    return ModelFile(kind=ModelKind.CHECKPOINT, name=path.stem, path=path, family="flux", **fields)


def control(picture: Image.Image = EDGES) -> tuple[str, dict[str, bytes]]:
    """A control picture's hash, and what a job is handed of it."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return sha256, {sha256: file.getvalue()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlModels]:
    found = ControlModels(tmp_path_factory.mktemp("flux-control"))
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE and of CLIP
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


def drawn_by_diffusers(pipeline: Any, folder: Path, picture: Any, **options: Any) -> Pixels:
    """What one of its pipelines draws along a picture, of which it takes the latents' mean."""
    parts = {name: options.pop(name) for name in ("controlnet",) if name in options}
    words = {"tokenizer": load_tokenizer(VOCABULARY), "tokenizer_2": load_t5_tokenizer()}
    pipe = pipeline.from_pretrained(folder, **words, **parts)
    pipe.set_progress_bar_config(disable=True)
    last = pipe.vae.encoder.conv_out
    with torch.no_grad():
        # it draws latents around their mean: here all are the mean
        last.weight[flux.LATENTS :] = 0
        last.bias[flux.LATENTS :] = -100
    request = a_request()
    generator = torch.Generator("cpu").manual_seed(request.seed)
    noise = torch.randn(1, flux.LATENTS, HEIGHT // 8, WIDTH // 8, generator=generator)
    found = pipe(
        request.prompt,
        control_image=picture,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        latents=pipe._pack_latents(noise, 1, flux.LATENTS, HEIGHT // 8, WIDTH // 8),
        **options,
    )
    return np.asarray(found.images[0]).astype(float)


@pytest.fixture(scope="module")
def followed(models: ControlModels) -> Pixels:
    """What diffusers draws with a model that follows a picture itself."""
    pipeline = diffusers.FluxControlPipeline
    return drawn_by_diffusers(pipeline, models.following, EDGES, guidance_scale=10.0)


@pytest.mark.parametrize("layout", ["folder", "split"])
def test_a_model_that_follows_a_picture_itself_draws_diffusers_picture(
    layout: str, models: ControlModels, followed: Pixels
) -> None:
    model, (sha256, pictures) = models.files[layout], control()
    uses = [{"name": model.name, "picture": sha256}]
    found = models.draw(model, controls=uses, pictures=pictures, guidance_scale=10.0)
    assert followed.std() > 20
    assert np.abs(found - followed).mean() <= BOUND
    # whatever its size, it is fitted to what is drawn
    sha256, pictures = control(EDGES.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    other = models.draw(
        model,
        controls=[{"name": model.name, "picture": sha256}],
        pictures=pictures,
        guidance_scale=10.0,
    )
    assert np.abs(other - followed).mean() > BOUND


def test_it_draws_nothing_without_a_picture(models: ControlModels) -> None:
    answer = models.answer(models.files["folder"])
    assert isinstance(answer, Failed)
    assert (answer.code, answer.params) == ("control_picture_needed", {"model": "following"})
