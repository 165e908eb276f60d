"""The samplers and schedule types by the names that A1111 gave them, and ComfyUI's names for them.

What they compute stands in `generation/runtime/`: a sampler is one function there and its row here.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

AUTOMATIC: Final = "Automatic"
"""The schedule that A1111 takes by itself for each sampler."""
UNIFORM: Final = "Uniform"


class Sampler(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of a sampler beside its computation."""

    comfyui: str
    """Its name in ComfyUI."""
    order: int = 1
    """Network calls a step."""
    automatic: str = UNIFORM
    """Its schedule where none is chosen."""
    one_more: bool = False
    """Whether A1111 computes a sigma more and leaves the next to last out."""
    timesteps: bool = False
    """Whether A1111 runs it over whole timesteps, equally far apart, whatever the schedule."""
    guided: bool = False
    """Whether it needs the answer to the negative prompt at any guidance (CFG++)."""
    flow: bool = True
    """Whether it is of use for flow models, whose noise takes the picture's place and does not lie
    on it."""
    consistency: bool = False
    """Whether A1111 runs it over the timesteps that consistency models are distilled at."""


SAMPLERS: Final[dict[str, Sampler]] = {
    "DPM++ 2M": Sampler(comfyui="dpmpp_2m", automatic="Karras"),
    "DPM++ SDE": Sampler(comfyui="dpmpp_sde", order=2, automatic="Karras"),
    "DPM++ 2M SDE": Sampler(comfyui="dpmpp_2m_sde", automatic="Exponential"),
    "DPM++ 2M SDE Heun": Sampler(comfyui="dpmpp_2m_sde_heun", automatic="Exponential"),
    "DPM++ 2S a": Sampler(comfyui="dpmpp_2s_ancestral", order=2, automatic="Karras"),
    "DPM++ 3M SDE": Sampler(comfyui="dpmpp_3m_sde", automatic="Exponential", one_more=True),
    "Euler": Sampler(comfyui="euler"),
    "Euler a": Sampler(comfyui="euler_ancestral"),
    "LMS": Sampler(comfyui="lms"),
    "Heun": Sampler(comfyui="heun", order=2),
    "DPM2": Sampler(comfyui="dpm_2", order=2, automatic="Karras", one_more=True),
    "DPM2 a": Sampler(comfyui="dpm_2_ancestral", order=2, automatic="Karras", one_more=True),
    "Restart": Sampler(comfyui="restart", order=2, automatic="Karras", flow=False),
    "DDIM": Sampler(comfyui="ddim", timesteps=True),
    "DDIM CFG++": Sampler(comfyui="ddim_cfg_pp", timesteps=True, guided=True),
    "PLMS": Sampler(comfyui="plms", timesteps=True),
    "UniPC": Sampler(comfyui="uni_pc", timesteps=True),
    "LCM": Sampler(comfyui="lcm", consistency=True),
    "TCD": Sampler(comfyui="tcd", flow=False),
    "DDPM": Sampler(comfyui="ddpm"),
    "DEIS": Sampler(comfyui="deis"),
    "IPNDM": Sampler(comfyui="ipndm"),
    "Heun++ 2": Sampler(comfyui="heunpp2", order=3),
    "Res Multistep": Sampler(comfyui="res_multistep"),
    "ER SDE": Sampler(comfyui="er_sde"),
    "Gradient Estimation": Sampler(comfyui="gradient_estimation"),
}

SCHEDULES: Final[dict[str, str]] = {
    AUTOMATIC: "",
    UNIFORM: "",
    "Karras": "karras",
    "Exponential": "exponential",
    "Polyexponential": "",
    "SGM Uniform": "sgm_uniform",
    "KL Optimal": "kl_optimal",
    "Align Your Steps": "",
    "Simple": "simple",
    "Normal": "normal",
    "DDIM": "ddim_uniform",
    "Beta": "beta",
    "Linear Quadratic": "linear_quadratic",
}
"""The schedule types, and ComfyUI's names for those that it has."""

FORMER: Final[Mapping[str, str]] = {"PNDM": "PLMS"}
"""Names that samplers had here before."""


def _by_any_name() -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    schedules = [name for name in SCHEDULES if name not in (AUTOMATIC, UNIFORM)]
    for name, row in SAMPLERS.items():
        for known in (name, row.comfyui):
            found[known.casefold()] = (name, None)
        for schedule in schedules:
            found[f"{name} {schedule}".casefold()] = (name, schedule)
    for former, name in FORMER.items():
        found[former.casefold()] = (name, None)
    # what both names mean is the sampler of that name
    found |= {name.casefold(): (name, None) for name in SAMPLERS}
    return found


_NAMES: Final = _by_any_name()
_SCHEDULE_NAMES: Final = {
    known.casefold(): name
    for name, comfyui in SCHEDULES.items()
    for known in (name, comfyui)
    if known
}


def read(name: str) -> tuple[str, str | None] | None:
    """The sampler of that name, whatever its case, and the schedule where the name has one in it,
    as A1111 named them before 1.9: `DPM++ 2M Karras`. None where there is none.
    """
    return _NAMES.get(" ".join(name.split()).casefold())


def schedule(name: str) -> str | None:
    """The schedule type of that name, whatever its case; None where there is none."""
    return _SCHEDULE_NAMES.get(" ".join(name.split()).casefold())


class _Request(Protocol):
    @property
    def sampler(self) -> str: ...

    @property
    def schedule(self) -> str: ...


def sampler_of(request: _Request) -> str:
    """The sampler of a request by its present name; requests of before have the schedule in it."""
    return (read(request.sampler) or (request.sampler, None))[0]


def schedule_of(request: _Request) -> str:
    """The schedule that a request is drawn with, never AUTOMATIC."""
    name, told = read(request.sampler) or (request.sampler, None)
    chosen = told or request.schedule
    return SAMPLERS[name].automatic if chosen == AUTOMATIC and name in SAMPLERS else chosen
