"""A seed is the same noise whatever a picture is drawn beside, and in whatever way."""

import torch

from generation.request_parts import Variation
from generation.runtime.noise import Streams, slerp

SHAPE = (4, 8, 8)
SIGMAS = torch.tensor([14.6, 5.0, 1.0, 0.1, 0.0])


def randn(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.manual_seed(seed))


def test_each_picture_has_a_stream_of_its_own() -> None:
    batch, alone = Streams((7, 8)), Streams((8,))
    first = batch.initial(SHAPE)
    assert torch.equal(first[1:], alone.initial(SHAPE))
    assert torch.equal(first[1], randn(8))
    for _ in range(3):
        later = batch.normal(first)
        assert torch.equal(later[1:], alone.normal(first[1:]))
        assert not torch.equal(later[0], later[1])
        assert not torch.equal(later, first)


def test_later_noise_goes_on_where_the_initial_ended() -> None:
    streams, generator = Streams((7,)), torch.manual_seed(7)
    assert torch.equal(streams.initial(SHAPE)[0], torch.randn(SHAPE, generator=generator))
    for _ in range(2):
        found = streams.normal(torch.zeros(1, *SHAPE))[0]
        assert torch.equal(found, torch.randn(SHAPE, generator=generator))


def test_comfyui_has_one_stream_a_batch_and_another_for_samplers() -> None:
    streams = Streams((7, 8), conventions="comfyui")
    first = streams.initial(SHAPE)
    assert torch.equal(first, torch.randn((2, *SHAPE), generator=torch.manual_seed(7)))
    later = streams.normal(first)
    assert torch.equal(later, torch.randn((2, *SHAPE), generator=torch.manual_seed(7)))


def test_a_variation_is_some_of_the_way_from_one_seed_to_the_other() -> None:
    one, other = randn(7), randn(9)

    def varied(strength: float) -> torch.Tensor:
        drawn = Streams((7, 7), 2 * [[Variation(9, strength)]]).initial(SHAPE)
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
        return Streams((7,), [variations]).initial(SHAPE)

    parent = drawn(Variation(9, 0.45))
    child = drawn(Variation(9, 0.45), Variation(11, 0.15))
    sibling = drawn(Variation(11, 0.15))
    assert float(((child - parent) ** 2).mean()) < float(((child - drawn()) ** 2).mean()) / 3
    assert float(((sibling - parent) ** 2).mean()) > float(((child - parent) ** 2).mean()) * 3


def test_only_the_first_noise_is_varied() -> None:
    varied, plain = Streams((7,), [[Variation(9, 0.5)]]), Streams((7,))
    first, second = varied.initial(SHAPE), plain.initial(SHAPE)
    assert not torch.equal(first, second)
    assert torch.equal(varied.normal(first), plain.normal(second))


def test_slerp_is_a1111s() -> None:
    """By hand: each column of a channel is a vector; right angles are halved at 45 degrees."""
    low, high = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[0.0], [2.0]]])
    half = slerp(0.5, low, high)
    assert torch.allclose(half, torch.tensor([[[1.0], [2.0]]]) * 0.5**0.5)
    assert torch.equal(slerp(0.0, low, high), low)


def test_noises_that_are_nearly_parallel_are_mixed() -> None:
    low = randn(7)
    assert torch.allclose(slerp(0.25, low, low), low)
    assert torch.allclose(slerp(0.25, low, low * 2), low * 1.25)


def test_each_picture_has_a_brownian_path_of_its_own() -> None:
    x = torch.zeros(2, *SHAPE)
    both, alone = Streams((7, 8)).brownian(x, SIGMAS), Streams((8,)).brownian(x[1:], SIGMAS)
    one, other = both(SIGMAS[0], SIGMAS[1])
    assert not torch.allclose(one, other, atol=0.1)
    assert torch.equal(other, alone(SIGMAS[0], SIGMAS[1])[0])
    assert abs(float(one.std()) - 1) < 0.2


def test_a_path_is_the_same_however_many_steps_go_along_it() -> None:
    path = Streams((7,)).brownian(torch.zeros(1, *SHAPE), SIGMAS)
    whole = path(SIGMAS[1], SIGMAS[3]) * (SIGMAS[1] - SIGMAS[3]) ** 0.5
    parts = [path(a, b) * (a - b) ** 0.5 for a, b in ((SIGMAS[1], SIGMAS[2]), SIGMAS[2:4])]
    assert torch.allclose(whole, parts[0] + parts[1], atol=1e-4)


def test_a_path_over_more_than_the_samplers_levels_is_that_of_them_all() -> None:
    x = torch.zeros(1, *SHAPE)
    whole = Streams((7,)).brownian(x, SIGMAS)
    later = Streams((7,), span=SIGMAS).brownian(x, SIGMAS[1:])
    own = Streams((7,)).brownian(x, SIGMAS[1:])
    assert torch.equal(whole(SIGMAS[1], SIGMAS[2]), later(SIGMAS[1], SIGMAS[2]))
    assert not torch.equal(own(SIGMAS[1], SIGMAS[2]), later(SIGMAS[1], SIGMAS[2]))
