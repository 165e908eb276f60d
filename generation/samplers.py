"""The samplers by the names that A1111 gave them, and the diffusers schedulers that they are."""

from typing import Final

import msgspec


class Sampler(msgspec.Struct, frozen=True):
    """A diffusers scheduler class by name, and what its configuration is changed by."""

    scheduler: str
    options: dict[str, str | bool | int] = {}
    order: int = 1
    """Network calls a step; 2 for Heun and the DPM2 family."""


KARRAS: Final[dict[str, str | bool | int]] = {"use_karras_sigmas": True}
SDE: Final[dict[str, str | bool | int]] = {"algorithm_type": "sde-dpmsolver++"}

SAMPLERS: Final[dict[str, Sampler]] = {
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler"),
    "DPM++ 2M Karras": Sampler("DPMSolverMultistepScheduler", KARRAS),
    "DPM++ 2M SDE": Sampler("DPMSolverMultistepScheduler", SDE),
    "DPM++ 2M SDE Karras": Sampler("DPMSolverMultistepScheduler", SDE | KARRAS),
    "DPM++ SDE": Sampler("DPMSolverSDEScheduler", order=2),
    "DPM++ SDE Karras": Sampler("DPMSolverSDEScheduler", KARRAS, order=2),
    "Euler": Sampler("EulerDiscreteScheduler"),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler"),
    "Heun": Sampler("HeunDiscreteScheduler", order=2),
    "DPM2": Sampler("KDPM2DiscreteScheduler", order=2),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler", order=2),
    "LMS": Sampler("LMSDiscreteScheduler"),
    "LMS Karras": Sampler("LMSDiscreteScheduler", KARRAS),
    "UniPC": Sampler("UniPCMultistepScheduler"),
    "DDIM": Sampler("DDIMScheduler"),
    "DDPM": Sampler("DDPMScheduler"),
    "PNDM": Sampler("PNDMScheduler", {"skip_prk_steps": True}),
    "LCM": Sampler("LCMScheduler"),
}
