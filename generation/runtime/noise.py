"""Seeds that mean the same everywhere: noise from the CPU, in float32, a stream a picture."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.utils import torch_utils

from generation.request import Variation

_library_randn = torch_utils.randn_tensor


NEARLY_PARALLEL = 0.9995
"""Mean cosine above which the angle is too small to divide by its sine; A1111's bound."""


class Varied(torch.Generator):
    """A picture's generator whose first noise, the initial one, is moved towards other seeds'.

    What samplers draw later is the first seed's own, as in A1111.
    """

    variations: Sequence[Variation] = ()

    def moved(self, noise: torch.Tensor) -> torch.Tensor:
        """What to use for noise of shape (C, h, w) that this generator has drawn."""
        for variation in self.variations:
            second = torch.Generator("cpu").manual_seed(variation.seed)
            towards = torch.randn(noise.shape, generator=second, dtype=noise.dtype)
            noise = slerp(variation.strength, noise, towards)
        self.variations = ()
        return noise


def generators(
    seeds: Sequence[int], variations: Sequence[Sequence[Variation]] = ()
) -> list[torch.Generator]:
    """A generator for each picture of a batch; `variations` are those of each picture."""
    found: list[torch.Generator] = []
    for seed, own in zip(seeds, variations or [()] * len(seeds), strict=True):
        generator = Varied("cpu")
        generator.variations = own
        found.append(generator.manual_seed(seed))
    return found


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


def _randn_float32(
    shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, layout: Any = None
) -> torch.Tensor:
    several = generator if isinstance(generator, list) else [generator]
    if not isinstance(several[0], Varied):
        noise: torch.Tensor = _library_randn(shape, generator, device, torch.float32, layout)
        return noise.to(dtype) if dtype is not None else noise
    drawn = _library_randn(shape, generator, torch.device("cpu"), torch.float32, layout)
    noise = torch.stack([one.moved(own) for one, own in zip(several, drawn, strict=True)])
    return noise.to(device=device, dtype=dtype)


def install() -> None:
    """Have diffusers draw on the CPU in float32, whatever the model computes in and on.

    torch's generators give other numbers in float16 than in float32, and others on each device, so
    that a seed would mean one picture on the GPU and another on the CPU. To be called before a
    pipeline or scheduler module is imported, for they take the function by name.
    """
    torch_utils.randn_tensor = _randn_float32
    from diffusers.schedulers import scheduling_dpmsolver_sde as sde

    library_sampler = sde.BrownianTreeNoiseSampler

    class BrownianNoiseOnCpu(library_sampler):  # type: ignore[valid-type, misc]
        """The noise of DPM++ SDE, which has a Brownian path for each seed."""

        def __init__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            super().__init__(x.float().cpu(), *args, **kwargs)
            self._like = x

        def __call__(self, sigma: Any, sigma_next: Any) -> torch.Tensor:
            noise: torch.Tensor = super().__call__(sigma.cpu(), sigma_next.cpu())
            return noise.to(self._like)

    sde.BrownianTreeNoiseSampler = BrownianNoiseOnCpu
