"""The noise levels of every schedule type, against k-diffusion's and ComfyUI's numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.runtime.model_sampling import FlowSampling, ModelSampling, discrete
from generation.runtime.schedules import sigmas_of
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
