"""What follows a control picture with Z-Image, against diffusers' pipeline on the same weights."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from generation.models import ModelFile, ModelKind
from generation.runtime.networks.z_image_control import LENT
from generation.runtime.residency import place_of
from tests.fixtures import flux, sdxl, z_image
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
from tests.unit.generation.runtime.test_memory import Card

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
]
KINDS = {"1.0": None, "2.0": "control_layers", "2.1": "control_noise_refiner"}
SCALE = 0.7


def net_file(path: Path) -> ModelFile:
    return ModelFile(kind=ModelKind.CONTROLNET, name=path.stem, path=path, family="z-image")


def drawn_by_diffusers(parts: dict[str, Any], net: Path) -> Pixels:
    """Its guidance is counted from 0, not from 1."""
    steered = diffusers.ZImageControlNetModel.from_pretrained(net)
    pipe = diffusers.ZImageControlNetPipeline(**parts, controlnet=steered)
    pipe.set_progress_bar_config(disable=True)
    found = pipe(
        a_request().prompt,
        negative_prompt="fog",
        control_image=start_picture()[0],
        controlnet_conditioning_scale=SCALE,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=3.0,
        generator=torch.Generator("cpu").manual_seed(a_request().seed),
    )
    return np.asarray(found.images[0]).astype(float)


class ControlModels:
    """A checkpoint of four layers, and each version of ControlNet as a folder and as a file, which
    does not say where its layers stand.
    """

    def __init__(self, root: Path) -> None:
        folder = z_image.tiny_z_image(root / "base", layers=4)
        self.model = checkpoint(folder, "z-image", carries=("qwen3-4b", "vae"))
        self.nets = {name: z_image.tiny_controlnet(root / name, how) for name, how in KINDS.items()}
        weights = {name: sdxl.weights(net) for name, net in self.nets.items()}
        # published with what it does not use
        weights["2.0"] |= {
            tensor: torch.zeros_like(value)
            for tensor, value in weights["2.1"].items()
            if tensor.startswith("control_noise_refiner.")
        }
        self.files = {name: root / f"{name}-file.safetensors" for name in self.nets}
        for name, tensors in weights.items():
            flux.save(tensors, self.files[name])

    def drawn(self, drawing: Drawing, *nets: Path) -> Pixels:
        """By a worker, along a grey ramp."""
        begun = start_picture()[1]
        shown = begun["init_picture"]
        uses = [{"name": path.stem, "picture": shown, "scale": SCALE} for path in nets]
        return drawing.draw(
            self.model,
            negative_prompt="fog",
            guidance_scale=4.0,
            controls=uses,
            controlnets=tuple(net_file(path) for path in nets),
            pictures=begun["pictures"] if nets else {},
        )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ControlModels:
    return ControlModels(tmp_path_factory.mktemp("z-image-control"))


def test_every_version_draws_diffusers_picture(models: ControlModels, tmp_path: Path) -> None:
    drawing = Drawing(tmp_path / "cache")
    parts = diffusers.ZImagePipeline.from_pretrained(
        models.model.path, tokenizer=z_image.tokenizer()
    ).components
    plain = models.drawn(drawing)
    for name, net in models.nets.items():
        expected = drawn_by_diffusers(parts, net)
        for path in (net, models.files[name]):
            assert apart(models.drawn(drawing, path), expected) <= BOUND
            # what it was lent stays in memory no longer than the checkpoint
            net = drawing.server._parts.controlnet(net_file(path))
            assert all(getattr(net, name) is None for name in LENT)
            assert not any(name.startswith(("noise_refiner.", "cap_")) for name in net.state_dict())
        assert apart(expected, plain) > BOUND


def test_what_lends_its_layers_is_not_streamed(
    models: ControlModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed, they would be wherever nobody expects them."""
    usual = Drawing(tmp_path / "cache")
    expected = [models.drawn(usual), models.drawn(usual, models.files["2.1"])]
    card = Card(tmp_path / "card", monkeypatch, memory="low")
    drawing = Drawing(tmp_path / "cache")
    drawing.server, drawing.ends = card.server, card
    denoiser = card.parts.checkpoint(models.model).denoiser
    for nets, places in (((), ("blocks", "leaves")), ((models.files["2.1"],), ("aside",))):
        assert np.array_equal(models.drawn(drawing, *nets), expected[len(nets)])
        assert place_of(denoiser) in places
