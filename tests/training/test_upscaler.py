"""The upscaler's training: where it begins, what it sees, and how it is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from training import enlarging
from training.art import Art
from training.upscaler import (
    SCALE,
    LargeArt,
    enlarge,
    held_out_scenes,
    new_network,
    psnr,
    start_as_interpolation,
)


@pytest.fixture(scope="module")
def large(emoji: Path) -> LargeArt:
    return LargeArt(Art(emoji))


def test_it_begins_nearly_as_good_as_bicubic(large: LargeArt) -> None:
    torch.manual_seed(0)
    network = new_network()
    start_as_interpolation(network, large)
    network.eval()
    [scene] = held_out_scenes(large, 1)
    small = scene.reduce(SCALE)
    found = {name: psnr(made, scene) for name, made in enlarging.ways(network, small).items()}
    assert found["upscaler"] > found["bicubic"] - 1
    assert enlarge(network, small).size == scene.size
    # the edges of a plain picture are no darker than its middle
    plain = Image.new("RGB", (24, 24), (200, 120, 40))
    difference = np.asarray(enlarge(network, plain), int) - (200, 120, 40)
    assert np.abs(difference).max() <= 2


def test_what_is_held_out_is_never_trained_on(large: LargeArt) -> None:
    assert large.held_out
    assert not set(large.held_out) & set(large.sprites)
    assert set(large.known) <= set(large.sprites)


def test_similarity_is_one_for_the_same_and_less_for_a_blurred_picture(large: LargeArt) -> None:
    [scene] = held_out_scenes(large, 1)
    assert enlarging.ssim(scene, scene) == pytest.approx(1)
    slightly, much = (scene.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 4))
    assert 1 > enlarging.ssim(slightly, scene) > enlarging.ssim(much, scene)
    assert psnr(slightly, scene) > psnr(much, scene)
    # 1 of 255 everywhere
    grey, next_grey = (Image.new("RGB", (32, 32), (v, v, v)) for v in (100, 101))
    assert psnr(grey, next_grey) == pytest.approx(48.13, abs=0.01)
