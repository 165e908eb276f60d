"""The noise levels of every schedule type, against k-diffusion's and ComfyUI's numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.runtime.model_sampling import (
    FlowSampling,
    LcmSampling,
    ModelSampling,
    discrete,
)
from generation.runtime.schedules import sigmas_of, timeline
from generation.samplers import SCHEDULES

GOLDENS: dict[str, Any] = json.loads(Path("tests/data/goldens/schedules.json").read_text())
A1111 = [(name, int(steps)) for name, by_steps in GOLDENS["sigmas"].items() for steps in by_steps]
COMFYUI = [
    (model, name, int(steps))
    for model, by_name in GOLDENS["comfyui"].items()
    for name, by_steps in by_name.items()
    for steps in by_steps
]
BY_COMFYUI = {theirs: ours for ours, theirs in SCHEDULES.items() if theirs}


def near(found: torch.Tensor, expected: list[float]) -> bool:
    wanted = torch.tensor(expected)
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)


def model(name: str) -> ModelSampling:
    match name:
        case "SD1, SDXL (eps)":
            return discrete({}, "comfyui")
        case "SDXL (v, zero terminal SNR)":
            settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
            return discrete(settings, "comfyui")
        case "SD3, SD3.5 (flow, shift 3)":
            return FlowSampling(3.0)
        case "Flux.1 dev (flow, shift 1.15)":
            return FlowSampling(1.15, steps=10_000, multiplier=1.0, exponential=True)
        case _:
            return FlowSampling(1.0, multiplier=1.0)


@pytest.mark.parametrize(("name", "steps"), A1111)
def test_sigmas_are_a1111s(name: str, steps: int) -> None:
    schedule, _, kind = name.partition(" (")
    found = sigmas_of(schedule, "Euler", discrete({}, "a1111"), steps, large=kind == "SDXL)")
    assert near(found, GOLDENS["sigmas"][name][str(steps)]), found


@pytest.mark.parametrize(("kind", "name", "steps"), COMFYUI)
def test_sigmas_are_comfyuis(kind: str, name: str, steps: int) -> None:
    found = sigmas_of(BY_COMFYUI[name], "Euler", model(kind), steps)
    assert near(found, GOLDENS["comfyui"][kind][name][str(steps)]), found


def test_levels_between_timesteps_and_back() -> None:
    sampling = discrete({}, "a1111")
    for t, sigma in GOLDENS["sigma_of_t"].items():
        assert sampling.sigma_of(torch.tensor(float(t))).item() == pytest.approx(sigma, rel=1e-5)
    for sigma, t in GOLDENS["t_of_sigma"].items():
        found = sampling.timestep(torch.tensor(float(sigma))).item()
        assert found == pytest.approx(t, rel=1e-5, abs=1e-3)
    rounded = discrete({}, "comfyui").timestep(torch.tensor([0.03, 1.0, 14.6]))
    assert rounded.tolist() == [0, 354, 999]


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++", "PLMS"])
def test_what_a1111_runs_over_timesteps_ends_at_the_last_of_them(sampler: str) -> None:
    """As many timesteps as steps, so one step fewer."""
    sampling = discrete({}, "a1111")
    found = timeline("Uniform", sampler, sampling, 4)
    assert torch.equal(found.sigmas, sampling.sigmas[[751, 501, 251, 1]])
    image = timeline("Uniform", sampler, sampling, 4, 0.75)
    assert torch.equal(image.sigmas, sampling.sigmas[[501, 251, 1]])
    assert image.noise == sampling.sigmas[751]


def test_brownian_paths_of_image_to_image_run_over_the_whole_schedule() -> None:
    whole = timeline("Karras", "DPM++ SDE", discrete({}, "a1111"), 10).sigmas
    image = timeline("Karras", "DPM++ SDE", discrete({}, "a1111"), 10, 0.5)
    assert image.span is not None
    assert torch.equal(image.span, whole)
    assert torch.equal(image.sigmas, whole[4:])
    assert timeline("Karras", "DPM++ SDE", discrete({}, "comfyui"), 10, 0.5).span is None


def test_lcm_of_a1111_knows_every_20th_timestep() -> None:
    usual = discrete({}, "a1111")
    sampling = LcmSampling(usual)
    found = sigmas_of("Uniform", "LCM", sampling, 3)
    at = sampling.timestep(found[:3])
    # 999 to 19; 509 lies between two of them, and is told as one
    assert at.tolist() == [999, 499, 19] or at.tolist() == [999, 519, 19]
    assert torch.allclose(found[[0, 2]], usual.sigmas[[999, 19]])
    x, answer = torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), 0.5)
    sigma = usual.sigmas[19]
    picture = 3.0 - 0.5 * float(sigma)
    skip, out = 0.25 / (190**2 + 0.25), 190 / (190**2 + 0.25) ** 0.5
    assert sampling.denoised(answer, x, sigma).item() == pytest.approx(out * picture + skip * 3.0)


def test_comfyui_gives_noise_the_spread_of_a_picture_at_the_highest_level_alone() -> None:
    sampling = discrete({}, "comfyui")
    noise, latents = torch.ones(1), torch.full((1,), 2.0)
    top, lower = sampling.sigmas[-1], sampling.sigmas[-2]
    most = (1 + top**2) ** 0.5
    assert torch.allclose(sampling.begin(noise, top), most)
    assert torch.allclose(sampling.begin(noise, top, latents), latents + most)
    for whole in (False, True):
        assert torch.allclose(sampling.begin(noise, lower, whole=whole), lower)
    assert torch.allclose(sampling.begin(noise, lower, latents), latents + lower)
