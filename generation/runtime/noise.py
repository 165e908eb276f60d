"""Seeds that mean the same everywhere: noise from the CPU, in float32, a stream a picture."""

from collections.abc import Callable, Sequence
from typing import Final

import torch
import torchsde

from generation.request_fields import Conventions
from generation.request_parts import Variation

NEARLY_PARALLEL: Final = 0.9995
"""Mean cosine above which the angle is too small to divide by its sine; A1111's bound."""

DIGITS: Final = 6
"""Of a time, as torchsde rounds it."""

Brownian = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From the noise of one sigma to that of the next, of unit variance."""


class Streams:
    """The noise of a batch: first the initial one, then what its sampler draws.

    In A1111's way each picture has a generator of its own, which goes on where the initial noise
    ended, so that a picture is the same whatever it is drawn beside. In ComfyUI's the batch has
    one, with the first seed, and samplers begin anew.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        variations: Sequence[Sequence[Variation]] = (),
        conventions: Conventions = "a1111",
        span: torch.Tensor | None = None,
    ) -> None:
        """`variations` are what each picture's initial noise is moved towards; `span` are sigmas
        that Brownian paths run over, where they are more than the sampler's.
        """
        self._shared = conventions == "comfyui"
        self._seeds = list(seeds)
        self._span = span
        self._variations = variations or [()] * len(seeds)
        self._generators = [_generator(seed) for seed in seeds[: 1 if self._shared else None]]

    def initial(self, shape: tuple[int, ...]) -> torch.Tensor:
        """(N, *shape), to be called first."""
        noise = self._drawn((len(self._seeds), *shape))
        if self._shared:
            # ComfyUI's samplers have generators of their own; later versions than that of October
            # 2025 give those on the CPU the seed behind it
            self._generators = [_generator(self._seeds[0])]
        moved = [
            _moved(one, variations) for one, variations in zip(noise, self._variations, strict=True)
        ]
        return torch.stack(moved)

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """Noise like x (N, C, h, w), on its device."""
        return self._drawn(x.shape).to(x.device)

    def brownian(self, x: torch.Tensor, sigmas: torch.Tensor) -> Brownian:
        """A Brownian path a picture over all sigmas but 0, by its seed: what a sampler adds does
        not depend on the number of its steps.
        """
        over = sigmas if self._span is None else self._span
        positive = over[over > 0]
        low, high = float(positive.min()), float(positive.max())
        # torchsde rounds its ends, and warns of what lies beyond
        first, last = round(low, DIGITS), round(high, DIGITS)
        seeds = self._seeds[:1] if self._shared else self._seeds
        shape = x.shape if self._shared else x.shape[1:]
        trees = [
            torchsde.BrownianTree(low, torch.zeros(shape), high, entropy=seed) for seed in seeds
        ]

        def between(sigma: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
            begin, end = sorted((float(sigma), float(after)))
            sign = 1 if sigma < after else -1
            found = [tree(max(begin, first), min(end, last)) for tree in trees]
            path = found[0] if self._shared else torch.stack(found)
            noise: torch.Tensor = path * sign / abs(end - begin) ** 0.5
            return noise.to(x.device)

        return between

    def _drawn(self, shape: Sequence[int]) -> torch.Tensor:
        if self._shared:
            return torch.randn(shape, generator=self._generators[0])
        return torch.stack([torch.randn(shape[1:], generator=own) for own in self._generators])


def first_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """(N, *shape): what each seed draws first."""
    return torch.stack([torch.randn(shape, generator=_generator(seed)) for seed in seeds])


def slerp(strength: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Noise of shape (C, h, w) that is `strength` of the way from `low` to `high`, on a sphere.

    Source: `slerp` of A1111's webui, which takes each column of a channel for a vector. Where the
    two are nearly parallel it mixes them, there with the weights exchanged.
    """
    low_norm = low / torch.linalg.vector_norm(low, dim=1, keepdim=True)
    high_norm = high / torch.linalg.vector_norm(high, dim=1, keepdim=True)
    cosine = (low_norm * high_norm).sum(1)
    if cosine.mean() > NEARLY_PARALLEL:
        return low * (1 - strength) + high * strength
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    from_low = (torch.sin((1 - strength) * angle) / sine).unsqueeze(1)
    from_high = (torch.sin(strength * angle) / sine).unsqueeze(1)
    return from_low * low + from_high * high


def _moved(noise: torch.Tensor, variations: Sequence[Variation]) -> torch.Tensor:
    """A picture's initial noise (C, h, w), moved towards that of other seeds, one after another."""
    for variation in variations:
        towards = torch.randn(noise.shape, generator=_generator(variation.seed))
        noise = slerp(variation.strength, noise, towards)
    return noise


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)
