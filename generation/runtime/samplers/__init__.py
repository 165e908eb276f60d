"""Samplers: each takes a picture in the making from the first sigma to the last.

A sampler is a generator: it yields after each step, so that what is to happen between steps
(progress, previews, cancelling) is plain code in the loop of whoever draws. It calls
`denoise(x, sigma)` and knows neither network nor family. One file a kind of sampler; the table
below is where they are named.

Sources: k-diffusion (Crowson) and A1111's webui for the computation, the papers named at each for
the method. For flow models ComfyUI's forms.
"""

from typing import Final

from generation.runtime.samplers.ancestral import (
    ddpm,
    dpm_2_ancestral,
    dpmpp_2s_ancestral,
    euler_ancestral,
)
from generation.runtime.samplers.deterministic import ddim, ddim_cfg_pp, dpm_2, euler, heun, heunpp2
from generation.runtime.samplers.few_step import lcm, tcd
from generation.runtime.samplers.multistep import (
    deis,
    dpmpp_2m,
    gradient_estimation,
    ipndm,
    lms,
    plms,
    res_multistep,
    unipc,
)
from generation.runtime.samplers.restart import restart
from generation.runtime.samplers.sde import (
    dpmpp_2m_sde,
    dpmpp_2m_sde_heun,
    dpmpp_3m_sde,
    dpmpp_sde,
    er_sde,
)
from generation.runtime.samplers.step import SamplerFunction

SAMPLING: Final[dict[str, SamplerFunction]] = {
    "Euler": euler,
    "Euler a": euler_ancestral,
    "Heun": heun,
    "Heun++ 2": heunpp2,
    "LMS": lms,
    "DPM2": dpm_2,
    "DPM2 a": dpm_2_ancestral,
    "DPM++ 2S a": dpmpp_2s_ancestral,
    "DPM++ SDE": dpmpp_sde,
    "DPM++ 2M": dpmpp_2m,
    "DPM++ 2M SDE": dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": dpmpp_2m_sde_heun,
    "DPM++ 3M SDE": dpmpp_3m_sde,
    "Restart": restart,
    "DDIM": ddim,
    "DDIM CFG++": ddim_cfg_pp,
    "PLMS": plms,
    "UniPC": unipc,
    "LCM": lcm,
    "TCD": tcd,
    "DDPM": ddpm,
    "DEIS": deis,
    "IPNDM": ipndm,
    "Res Multistep": res_multistep,
    "ER SDE": er_sde,
    "Gradient Estimation": gradient_estimation,
}
