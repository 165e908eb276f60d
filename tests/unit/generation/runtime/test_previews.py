"""Previews: how often, how large, and that their colours are near the decoded ones."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from generation.families import FAMILIES
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
        return type("Out", (), {"latent_dist": type("Dist", (), {"mean": mean, "std": mean})})


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


def a_model(vae: Any, family: str, **config: Any) -> Any:
    """A loaded model as far as a preview looks at it."""
    vae.config = SimpleNamespace(**{"latent_channels": 4, "shift_factor": None} | config)
    vae.stamp = ("file", 1)
    return SimpleNamespace(vae=vae, family=FAMILIES[family])


PUBLISHED = (128, 256, 512, 512)


@pytest.mark.parametrize(
    ("family", "scale", "shift"),
    [
        *(("sd1", 0.18215, None), ("sd2", 0.18215, None), ("sdxl", 0.13025, None)),
        ("flux", 0.3611, 0.1159),
    ],
)
def test_a_published_vae_is_asked_nothing(
    tmp_path: Path, family: str, scale: float, shift: float | None
) -> None:
    maps = previews.Maps(tmp_path)
    config = {"scaling_factor": scale, "shift_factor": shift, "block_out_channels": PUBLISHED}
    found = maps.of(a_model(SimpleNamespace(), family, **config), CPU)
    channels = FAMILIES[family].latents.channels
    assert found.shape == (channels + 1, 3)
    grey = shown(torch.zeros(1, channels, 8, 8), found).resize((1, 1)).getpixel((0, 0))
    assert grey == pytest.approx((128, 128, 128), abs=16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "config",
    [
        {"scaling_factor": 1.0, "block_out_channels": PUBLISHED},
        {"scaling_factor": 0.18215, "block_out_channels": (8, 16)},
        {"scaling_factor": 0.5, "shift_factor": 0.7, "block_out_channels": (8, 16)},
    ],
)
def test_any_other_is_asked_once_for_all_starts(tmp_path: Path, config: dict[str, Any]) -> None:
    asked: list[int] = []

    class Counting(LinearVae):
        def encode(self, pictures: torch.Tensor) -> Any:
            asked.append(1)
            return super().encode(pictures)

    vae = Counting()
    model = a_model(vae, "sd1", **config)
    map_ = previews.Maps(tmp_path).of(model, CPU)
    assert torch.allclose(previews.Maps(tmp_path).of(model, CPU), map_)
    assert len(asked) == 1
    colour = torch.tensor([0.8, -0.4, 0.1])
    picture = colour[None, :, None, None].expand(1, 3, 64, 64)
    mean = LinearVae().encode(picture).latent_dist.mean - config.get("shift_factor", 0.0)
    scaled = mean * config["scaling_factor"]
    found = shown(scaled, map_).resize((1, 1)).getpixel((0, 0))
    assert found == pytest.approx(((colour + 1) * 127.5).tolist(), abs=6)
    # a file that was replaced is another VAE
    model.vae.stamp = ("file", 2)
    previews.Maps(tmp_path).of(model, CPU)
    assert len(asked) == 2


@pytest.mark.parametrize("kept", ["[]", '{"file|1": "x"}', '{"file|1": [[1, 2]]}', '{"file|1": nu'])
def test_maps_that_were_damaged_are_fitted_anew(tmp_path: Path, kept: str) -> None:
    (tmp_path / "preview_maps.json").write_text(kept)
    config = {"scaling_factor": 1.0, "block_out_channels": (8, 16)}
    found = previews.Maps(tmp_path).of(a_model(LinearVae(), "sd1", **config), CPU)
    assert found.shape == (5, 3)


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
