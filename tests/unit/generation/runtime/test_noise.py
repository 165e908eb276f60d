"""A seed is the same noise in every precision and on every device."""

import pytest
import torch
from diffusers.schedulers import scheduling_dpmsolver_sde
from diffusers.utils import torch_utils

from generation.runtime import noise

SHAPE = (2, 4, 8, 8)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed for one test; what was there comes back."""
    for owner, name in (
        (torch_utils, "randn_tensor"),
        (scheduling_dpmsolver_sde, "BrownianTreeNoiseSampler"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    noise.install()


def test_half_precision_gets_the_same_numbers() -> None:
    exact, half = [
        torch_utils.randn_tensor(SHAPE, noise.generators((7, 8)), torch.device("cpu"), dtype)
        for dtype in (torch.float32, torch.float16)
    ]
    assert half.dtype == torch.float16
    assert torch.equal(exact.half(), half)


def test_each_picture_has_a_stream_of_its_own() -> None:
    batch = torch_utils.randn_tensor(SHAPE, noise.generators((7, 8)))
    alone = torch_utils.randn_tensor((1, *SHAPE[1:]), noise.generators((8,)))
    assert torch.equal(batch[1:], alone)
    # as ComfyUI draws it
    expected = torch.randn((1, *SHAPE[1:]), generator=torch.manual_seed(8))
    assert torch.equal(alone, expected)


def test_brownian_noise_too() -> None:
    exact, half = [
        scheduling_dpmsolver_sde.BrownianTreeNoiseSampler(
            torch.zeros(SHAPE, dtype=dtype), 0.03, 14.6, [7, 8]
        )(torch.tensor(10.0), torch.tensor(9.0))
        for dtype in (torch.float32, torch.float16)
    ]
    assert half.dtype == torch.float16
    assert torch.equal(exact.half(), half)
    assert abs(float(exact.std()) - 1) < 0.2
