"""A seed is the same noise in every precision and on every device."""

import pytest
import torch
from diffusers.schedulers import scheduling_dpmsolver_sde
from diffusers.utils import torch_utils

from generation.request import Variation
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


def test_a_variation_is_some_of_the_way_from_one_seed_to_the_other() -> None:
    one, other = [torch_utils.randn_tensor(SHAPE[1:], s) for s in map(torch.manual_seed, (7, 9))]

    def varied(strength: float) -> torch.Tensor:
        made = noise.generators((7, 7), 2 * [[Variation(9, strength)]])
        drawn: torch.Tensor = torch_utils.randn_tensor(
            SHAPE, made, torch.device("cpu"), torch.float32
        )
        assert torch.equal(drawn[0], drawn[1])
        return drawn[0]

    assert torch.equal(varied(1.0), other)
    nearness = [float(((varied(strength) - one) ** 2).mean()) for strength in (0.1, 0.3, 0.6, 0.9)]
    assert nearness == sorted(nearness)
    # on a sphere: a plain mixture of two noises has less spread than either
    assert abs(float(varied(0.5).std()) - 1) < 0.1
    assert abs(float(((one + other) / 2).std()) - 1) > 0.2


def test_a_variation_of_a_variation_is_nearer_to_it_than_to_the_first() -> None:
    def drawn(*variations: Variation) -> torch.Tensor:
        made = noise.generators((7,), [variations])
        initial: torch.Tensor = torch_utils.randn_tensor((1, *SHAPE[1:]), made)
        return initial

    parent = drawn(Variation(9, 0.45))
    child = drawn(Variation(9, 0.45), Variation(11, 0.15))
    sibling = drawn(Variation(11, 0.15))
    assert float(((child - parent) ** 2).mean()) < float(((child - drawn()) ** 2).mean()) / 3
    assert float(((sibling - parent) ** 2).mean()) > float(((child - parent) ** 2).mean()) * 3


def test_only_the_first_noise_is_varied() -> None:
    (varied,) = noise.generators((7,), [[Variation(9, 0.5)]])
    (plain,) = noise.generators((7,))
    first, second = [
        [torch_utils.randn_tensor((1, *SHAPE[1:]), [generator]) for _ in range(2)]
        for generator in (varied, plain)
    ]
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_slerp_is_a1111s() -> None:
    """By hand: each column of a channel is a vector; right angles are halved at 45 degrees."""
    low, high = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[0.0], [2.0]]])
    half = noise.slerp(0.5, low, high)
    assert torch.allclose(half, torch.tensor([[[1.0], [2.0]]]) * 0.5**0.5)
    assert torch.equal(noise.slerp(0.0, low, high), low)


def test_noises_that_are_nearly_parallel_are_mixed() -> None:
    low = torch.randn(SHAPE[1:], generator=torch.manual_seed(7))
    assert torch.allclose(noise.slerp(0.25, low, low), low)
    assert torch.allclose(noise.slerp(0.25, low, low * 2), low * 1.25)


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
