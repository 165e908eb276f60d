"""Seeds that mean the same everywhere: noise from the CPU, in float32, a stream a picture."""

from typing import Any

import torch
from diffusers.utils import torch_utils

_library_randn = torch_utils.randn_tensor


def generators(seeds: tuple[int, ...]) -> list[torch.Generator]:
    """A generator for each picture of a batch."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def _randn_float32(
    shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, layout: Any = None
) -> torch.Tensor:
    noise: torch.Tensor = _library_randn(shape, generator, device, torch.float32, layout)
    return noise.to(dtype) if dtype is not None else noise


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
