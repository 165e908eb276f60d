"""Previews: how often, how large, and that their colours are near the decoded ones."""

import io
from typing import Any

import pytest
import torch
from PIL import Image

from generation.messages import RuntimeSettings
from generation.models import ModelFile
from generation.runtime import previews
from generation.runtime.parts import Parts

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vae(tiny: ModelFile) -> Any:
    return Parts(RuntimeSettings(), CPU).checkpoint(tiny).vae


def shown(latents: torch.Tensor, map_: torch.Tensor) -> Image.Image:
    return Image.open(io.BytesIO(previews.to_jpeg(latents, map_)))


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (1, (128, 256)),
        (2, (256, 256)),
        (3, (256, 512)),
        (4, (256, 512)),
        (5, (384, 512)),
        (10, (192, 512)),
    ],
)
def test_pictures_lie_as_the_finished_ones_do(count: int, size: tuple[int, int]) -> None:
    assert shown(torch.zeros(count, 4, 16, 8), torch.zeros(5, 3)).size == size


@pytest.mark.parametrize("side", [(1, 64), (64, 1)])
def test_pictures_of_any_shape_stay_within_the_sheet(side: tuple[int, int]) -> None:
    picture = shown(torch.zeros(10, 4, *side), torch.zeros(5, 3))
    assert min(picture.size) > 0
    assert max(picture.size) <= previews.SHEET_MAX


def test_four_lie_two_by_two_in_their_order() -> None:
    grey = torch.zeros(5, 3)
    grey[0] = 1.0
    latents = torch.zeros(4, 4, 8, 8)
    latents[:, 0] = torch.tensor([-1.0, -0.4, 0.4, 1.0])[:, None, None]
    picture = shown(latents, grey)
    assert picture.size == (512, 512)
    centres = [(128, 128), (384, 128), (128, 384), (384, 384)]
    pixels = [picture.getpixel(centre) for centre in centres]
    assert [pixel[0] for pixel in pixels] == pytest.approx([0, 76, 178, 255], abs=3)  # type: ignore[index]


class LinearVae:
    """A VAE whose latents are colours, mixed: the map must find them again."""

    dtype = torch.float32
    mixing = torch.tensor([[1.0, 0.2, 0.0], [0.0, 1.0, 0.3], [0.4, 0.0, 1.0], [0.5, 0.5, 0.5]])

    def encode(self, pictures: torch.Tensor) -> Any:
        small = torch.nn.functional.avg_pool2d(pictures, 8)
        mean = torch.einsum("lc,bchw->blhw", self.mixing, small) * 3 + 1
        return type("Out", (), {"latent_dist": type("Dist", (), {"mean": mean})})


def test_the_map_finds_the_colours_of_latents() -> None:
    vae = LinearVae()
    map_ = previews.fit_map(vae, CPU)
    colour = torch.tensor([0.8, -0.4, 0.1])
    picture = colour[None, :, None, None].expand(1, 3, 64, 64)
    latents = vae.encode(picture).latent_dist.mean
    found = shown(latents, map_).resize((1, 1)).getpixel((0, 0))
    assert found == pytest.approx(((colour + 1) * 127.5).tolist(), abs=6)


def test_the_map_of_a_real_vae_is_finite(vae: Any) -> None:
    map_ = previews.fit_map(vae, CPU)
    assert map_.shape == (5, 3)
    assert torch.isfinite(map_).all()


def test_latents_that_are_no_numbers_still_give_a_picture() -> None:
    latents = torch.full((1, 4, 8, 8), torch.nan)
    assert shown(latents, torch.ones(5, 3)).size == (256, 256)


def test_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 101.0, 102.5, 103.0, 104.6))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    every = previews.Previews(2.0)
    assert [every.due() for _ in range(5)] == [True, False, True, False, True]


def test_never() -> None:
    assert not previews.Previews(0).due()
