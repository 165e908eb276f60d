"""Samplers: the scheduler that a request names, on the model's noise schedule and its seeds."""

import functools
import inspect
from typing import Any

import diffusers
import torch

from generation.samplers import SAMPLERS

LEAST_SIGNAL = 2.0**-24
"""What remains of the picture at the last timestep of zero terminal SNR; 0 would divide by zero."""
NOISE_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "steps_offset",
    "set_alpha_to_one",
)
"""What a model was trained with. The rest of its scheduler's settings belong to that scheduler."""
LATENTS: dict[str, Any] = {"clip_sample": False, "thresholding": False}
"""Latents, unlike pixels, are not bounded by 1; some schedulers take them for pixels."""
LCM_STEPS = 50
"""Into so many steps the schedule was divided when LCMs were distilled."""
LMS_ORDER = 4


def scheduler_for(
    sampler: str, own: Any, seeds: tuple[int, ...], steps: int, skipped: int = 0
) -> Any:
    """A new scheduler of that sampler on the noise schedule of `own`, the model's scheduler.

    `skipped` of the `steps` are left out at the beginning, as image to image does. Schedulers hold
    the state of a picture in the making, so each batch gets a new one.
    """
    chosen = SAMPLERS[sampler]
    class_ = getattr(diffusers, chosen.scheduler)
    options = {key: own.config[key] for key in NOISE_SCHEDULE if key in own.config} | LATENTS
    if own.config.get("timestep_spacing") == "trailing" or steps == 1:
        # a single step from anywhere but the end would begin with a picture that isn't there
        options["timestep_spacing"] = "trailing"
    if chosen.scheduler == "DPMSolverSDEScheduler":
        # its Brownian noise has seeds of its own and does not ask the generators
        options["noise_sampler_seed"] = list(seeds)
    if chosen.scheduler == "LCMScheduler":
        options["original_inference_steps"] = max(LCM_STEPS, steps)
    known = inspect.signature(class_).parameters
    if own.config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in known:
        options["trained_betas"] = zero_snr_betas(own)
    options = {key: value for key, value in options.items() if key in known}
    scheduler = class_(**(options | chosen.options))
    _begin_at_the_first_step(scheduler, skipped)
    if chosen.scheduler == "LMSDiscreteScheduler":
        _order_by_what_is_known(scheduler)
    return scheduler


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


def _begin_at_the_first_step(scheduler: Any, skipped: int) -> None:
    """Tell the scheduler where it begins, which diffusers does for image to image only.

    Else it looks for its first timestep, and takes the second of two that round to the same number.
    PNDM knows no such number: it takes its first timestep twice, wherever it begins.
    """
    set_timesteps = scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def and_begin(*args: Any, **kwargs: Any) -> None:
        set_timesteps(*args, **kwargs)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        elif isinstance(scheduler, diffusers.PNDMScheduler) and skipped:
            once = torch.cat((scheduler.timesteps[:1], scheduler.timesteps[2:]))
            second = once[skipped + 1 : skipped + 2]
            scheduler.timesteps = torch.cat((once[: skipped + 1], second, once[skipped + 1 :]))

    scheduler.set_timesteps = and_begin


def _order_by_what_is_known(scheduler: Any) -> None:
    """Have LMS use as many derivatives as it has seen; by itself it counts skipped steps too."""
    step = scheduler.step

    @functools.wraps(step)
    def with_order(*args: Any, **kwargs: Any) -> Any:
        order = min(LMS_ORDER, len(scheduler.derivatives) + 1)
        return step(*args, order=order, **kwargs)

    scheduler.step = with_order
