"""Every sampler against k-diffusion's and ComfyUI's numbers, and how well each solves."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.runtime.model_sampling import FlowSampling, ModelSampling, discrete
from generation.runtime.noise import Streams
from generation.runtime.samplers import SAMPLING
from generation.runtime.schedules import sigmas_of
from generation.samplers import SAMPLERS, read

GOLDENS: dict[str, Any] = json.loads(Path("tests/data/goldens/samplers.json").read_text())
SEEDS = (7, 8)
SHAPE = (4, 4, 4)
ANCESTRAL = ("Euler a", "DPM2 a", "DPM++ 2S a")
A1111 = sorted(case for case in GOLDENS["a1111"] if case.split(", ")[0] not in ANCESTRAL)
LEFT_OUT = {"about", "ipndm_v"}
"""What is no sampler here."""
FLOW = sorted(GOLDENS["comfyui_flow"].keys() - LEFT_OUT)
EPS = sorted(GOLDENS["comfyui_eps"].keys() - LEFT_OUT)


class Toy:
    """A denoiser that solvers of different order answer differently."""

    def __init__(self) -> None:
        self.calls = 0
        self.uncond: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        scaled = x / (1 + sigma)
        self.uncond = 0.5 * scaled
        return 0.7 * scaled + 0.2 * torch.sin(2 * scaled) + 0.05


def run(name: str, sigmas: torch.Tensor, sampling: ModelSampling, toy: Any = None) -> torch.Tensor:
    noise = Streams(SEEDS)
    x = noise.initial(SHAPE) * sigmas[0]
    steps = list(SAMPLING[name](toy or Toy(), x, sigmas, noise, sampling))
    assert [step.number for step in steps][-1] == len(sigmas) - 2
    return steps[-1].x


def distance(found: torch.Tensor, expected: list[float]) -> float:
    return float((found.flatten() - torch.tensor(expected)).abs().max())


@pytest.mark.parametrize("case", A1111)
def test_samplers_are_a1111s(case: str) -> None:
    name, schedule, _ = case.split(", ")
    sampling = discrete({}, "a1111")
    assert SAMPLERS[name].one_more == GOLDENS["a1111"][case]["discard"]
    found = run(name, sigmas_of(schedule, name, sampling, 8), sampling)
    assert distance(found, GOLDENS["a1111"][case]["x"]) < 1e-4


@pytest.mark.parametrize("name", FLOW)
def test_samplers_of_flow_models_are_comfyuis(name: str) -> None:
    ours, sampling = read(name), FlowSampling(3.0)
    assert ours is not None
    found = run(ours[0], sigmas_of("Simple", "Euler", sampling, 8), sampling)
    assert distance(found, GOLDENS["comfyui_flow"][name]) < 1e-4


@pytest.mark.parametrize("name", EPS)
def test_further_samplers_are_comfyuis(name: str) -> None:
    ours, sampling = read(name), discrete({}, "a1111")
    assert ours is not None
    found = run(ours[0], sigmas_of("Karras", "Euler", sampling, 8), sampling)
    assert distance(found, GOLDENS["comfyui_eps"][name]) < 1e-4


def test_plms_looks_ahead_to_where_its_first_step_ends() -> None:
    asked: list[float] = []

    class Told(Toy):
        def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            asked.append(float(sigma))
            return super().__call__(x, sigma)

    for sigmas, wanted in (([5.0, 1.0], [5, 1]), ([5.0, 2.0, 1.0], [5, 2, 2]), ([5.0, 0.0], [5])):
        asked.clear()
        run("PLMS", torch.tensor(sigmas), discrete({}, "a1111"), Told())
        assert asked == wanted


def test_unipc_of_comfyui_ends_just_above_nothing() -> None:
    sigmas = torch.tensor([5.0, 2.0, 1.0, 0.5, 0.0])
    theirs = run("UniPC", sigmas, discrete({}, "comfyui"))
    near = torch.cat((sigmas[:-1], torch.tensor([0.001])))
    expected = run("UniPC", near, discrete({}, "a1111")) * (1 + 0.001**2) ** 0.5
    assert torch.allclose(theirs * (1 + 0.001**2) ** 0.5, expected, atol=1e-6)
    assert not torch.allclose(theirs, run("UniPC", sigmas, discrete({}, "a1111")), atol=1e-5)


def test_unipc_of_comfyui_ends_there_with_flow_models_too() -> None:
    """A step of first order, and what is left of the picture is made whole."""
    sigmas = torch.tensor([1.0, 0.0])
    noise = Streams(SEEDS).initial(SHAPE)
    picture = run("UniPC", sigmas, FlowSampling(3.0, conventions="a1111"))
    theirs = run("UniPC", sigmas, FlowSampling(3.0))
    assert torch.allclose(theirs, picture + noise * 0.001 / (1 - 0.001), atol=1e-6)
