"""The names of samplers, and how well the solvers behind them solve."""

from typing import Any

import diffusers
import pytest
import torch

from generation.runtime.sampling import scheduler_for
from generation.samplers import SAMPLERS

TARGET = torch.full((1, 4, 8, 8), 0.7)
"""The only picture that the perfect model below knows."""
STEPS = 20

pytestmark = [
    # diffusers calls numpy 2 in numpy 1's way; for people only the child process does that
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    # the last digit of 4096 in float32
    pytest.mark.filterwarnings("ignore:Should have tb<=t1:UserWarning"),
]


def own_scheduler(prediction: str = "epsilon", *, zero_snr: bool = False) -> Any:
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "leading",
    )


def solve(scheduler: Any, signal: torch.Tensor) -> torch.Tensor:
    """Denoise with a network that always sees the target; `signal` is its schedule."""
    scheduler.set_timesteps(STEPS)
    generator = torch.Generator("cpu").manual_seed(0)
    latents: torch.Tensor = torch.randn(TARGET.shape, generator=generator)
    latents = latents * scheduler.init_noise_sigma
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    more = {"generator": generator} if takes_generator else {}
    for timestep in scheduler.timesteps:
        inputs = scheduler.scale_model_input(latents, timestep)
        kept = signal[round(float(timestep))]
        root, noise_root = kept.sqrt(), (1 - kept).sqrt()
        noise = (inputs - root * TARGET) / noise_root
        if scheduler.config.prediction_type == "v_prediction":
            noise = root * noise - noise_root * TARGET
        latents = scheduler.step(noise, timestep, latents, **more, return_dict=False)[0]
    return latents


@pytest.mark.parametrize(
    ("prediction", "zero_snr"),
    [("epsilon", False), ("v_prediction", False), ("v_prediction", True)],
    ids=["epsilon", "v", "v with zero SNR"],
)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_perfect_model_is_followed_to_its_picture(
    name: str, prediction: str, zero_snr: bool
) -> None:
    own = own_scheduler(prediction, zero_snr=zero_snr)
    found = solve(scheduler_for(name, own, (5,)), own.alphas_cumprod)
    assert torch.isfinite(found).all()
    assert (found - TARGET).abs().max() < 0.1
