"""Samplers: the scheduler that a request names, on the model's noise schedule and its seeds."""

import inspect
from typing import Any

import diffusers
import torch

from generation.samplers import SAMPLERS

LEAST_SIGNAL = 2.0**-24
"""What remains of the picture at the last timestep of zero terminal SNR; 0 would divide by zero."""


def scheduler_for(sampler: str, own: Any, seeds: tuple[int, ...]) -> Any:
    """A new scheduler of that sampler on the noise schedule of `own`, the model's scheduler.

    Schedulers hold the state of a picture in the making, so each batch gets a new one.
    """
    chosen = SAMPLERS[sampler]
    class_ = getattr(diffusers, chosen.scheduler)
    options: dict[str, Any] = dict(chosen.options)
    if chosen.scheduler == "DPMSolverSDEScheduler":
        # its Brownian noise has seeds of its own and does not ask the generators
        options["noise_sampler_seed"] = list(seeds)
    zero_snr = own.config.get("rescale_betas_zero_snr", False)
    if zero_snr and "rescale_betas_zero_snr" not in inspect.signature(class_).parameters:
        options["trained_betas"] = zero_snr_betas(own)
    return class_.from_config(own.config, **options)


def zero_snr_betas(own: Any) -> list[float]:
    """The betas of that scheduler, stretched so that the last timestep is noise only.

    Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1.
    """
    plain = type(own).from_config(own.config, rescale_betas_zero_snr=False)
    root = plain.alphas_cumprod.double().sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    signal = root**2
    signal[-1] = LEAST_SIGNAL
    alphas = torch.cat((signal[:1], signal[1:] / signal[:-1]))
    betas: list[float] = (1 - alphas).tolist()
    return betas
