"""The names of samplers, and how well the solvers behind them solve."""

import inspect
from typing import Any

import diffusers
import pytest
import torch

from generation.runtime.sampling import scheduler_for
from generation.samplers import SAMPLERS

TARGET = torch.full((1, 4, 8, 8), 0.7)
"""The only picture that the perfect model below knows."""
STEPS = 20
SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}

pytestmark = [
    # diffusers calls numpy 2 in numpy 1's way; for people only the child process does that
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    # the last digit of the largest and the smallest sigma in float32
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning"),
]


def own_scheduler(prediction: str = "epsilon", *, zero_snr: bool = False, **more: Any) -> Any:
    return diffusers.DDIMScheduler(
        **SCHEDULE,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "leading",
        **more,
    )


def solve(
    name: str, own: Any, steps: int = STEPS, skipped: int = 0, calls: list[int] | None = None
) -> torch.Tensor:
    """Denoise with a network that always sees the target, as diffusers' pipelines do."""
    scheduler = scheduler_for(name, own, (5,), steps, skipped)
    scheduler.set_timesteps(steps)
    generator = torch.Generator("cpu").manual_seed(0)
    latents: torch.Tensor = torch.randn(TARGET.shape, generator=generator)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    more = {"generator": generator} if takes_generator else {}
    timesteps = scheduler.timesteps
    if skipped:
        timesteps = timesteps[skipped * scheduler.order :]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(skipped * scheduler.order)
        latents = scheduler.add_noise(TARGET, latents, timesteps[:1])
    else:
        latents = latents * scheduler.init_noise_sigma
    for timestep in timesteps:
        if calls is not None:
            calls.append(round(float(timestep)))
        inputs = scheduler.scale_model_input(latents, timestep)
        kept = own.alphas_cumprod[round(float(timestep))]
        root, noise_root = kept.sqrt(), (1 - kept).sqrt()
        noise = (inputs - root * TARGET) / noise_root
        if own.config.prediction_type == "v_prediction":
            noise = root * noise - noise_root * TARGET
        latents = scheduler.step(noise, timestep, latents, **more, return_dict=False)[0]
    return latents


def error(found: torch.Tensor) -> float:
    """How far from the target; infinite where it is no number."""
    return float((found - TARGET).abs().max().nan_to_num(float("inf")))


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
    assert error(solve(name, own)) < 0.1


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 30, 55])
@pytest.mark.parametrize("name", SAMPLERS)
def test_however_many_steps(name: str, steps: int, zero_snr: bool) -> None:
    own = own_scheduler("v_prediction" if zero_snr else "epsilon", zero_snr=zero_snr)
    calls: list[int] = []
    # few steps leave noise, and PLMS much of it; what begins with a wrong step ends far off
    assert error(solve(name, own, steps, calls=calls)) < 0.7
    assert len(calls) <= max(steps + 1, steps * SAMPLERS[name].order)


@pytest.mark.parametrize("skipped", [1, 14, 19])
@pytest.mark.parametrize("name", SAMPLERS)
def test_image_to_image_begins_anywhere(name: str, skipped: int) -> None:
    assert error(solve(name, own_scheduler(), skipped=skipped)) < 0.1


@pytest.mark.parametrize(
    "own",
    [
        diffusers.DEISMultistepScheduler(**SCHEDULE, timestep_spacing="leading"),
        diffusers.EulerDiscreteScheduler(**SCHEDULE, use_karras_sigmas=True),
        diffusers.DPMSolverMultistepScheduler(
            **SCHEDULE, algorithm_type="sde-dpmsolver++", use_karras_sigmas=True, thresholding=True
        ),
        diffusers.PNDMScheduler(**SCHEDULE),
        diffusers.DDIMScheduler(**SCHEDULE),
    ],
    ids=lambda own: type(own).__name__,
)
@pytest.mark.parametrize("name", SAMPLERS)
def test_of_a_models_scheduler_only_the_noise_schedule_counts(name: str, own: Any) -> None:
    found = scheduler_for(name, own, (5,), STEPS)
    plain = scheduler_for(name, diffusers.DDIMScheduler(**SCHEDULE), (5,), STEPS)
    differing = {"steps_offset", "set_alpha_to_one", "_use_default_values"}
    for key in found.config.keys() - differing:
        assert found.config[key] == plain.config[key], key
    assert not found.config.get("clip_sample")
