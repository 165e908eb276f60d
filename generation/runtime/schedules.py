"""How the noise falls from step to step: a function a schedule type, and what a job makes of it.

Each gives n + 1 sigmas in float32 on the CPU, falling, the last 0. Sources: k-diffusion (Crowson);
Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models"; Sabour et al.,
"Align Your Steps"; Lee et al., "Beta Sampling is All You Need"; for KL Optimal Chen et al.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from scipy import stats

from generation.runtime.model_sampling import ModelSampling
from generation.samplers import SAMPLERS

RHO: Final = 7.0
BETA: Final = 0.6
"""Both parameters of the Beta distribution."""
LINEAR_SHARE: Final = 0.025
"""Of the noise, which Linear Quadratic takes off in its first half."""
ALIGNED: Final = {
    False: (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    True: (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
}
"""Of Align Your Steps, for ten steps: for Stable Diffusion 1, and for XL."""


class Timeline(NamedTuple):
    """What a job's pictures go through."""

    sigmas: torch.Tensor
    """From the first step's to the last's end; one alone where nothing is denoised."""
    noise: torch.Tensor
    """The level of the noise that is put on a start picture."""
    gain: float = 1.0
    """What it is multiplied by afterwards."""
    span: torch.Tensor | None = None
    """All sigmas of the schedule, where image to image begins later: a Brownian path of A1111's
    runs over them whole."""


def timeline(
    schedule: str,
    sampler: str,
    sampling: ModelSampling,
    steps: int,
    strength: float | None = None,
    *,
    large: bool = False,
    whole: bool = False,
) -> Timeline:
    """The sigmas of a job; `strength` is that of image to image, None for text to image; `large`
    says that it is of SDXL's kind.

    Image to image in A1111's way does one step more than `strength` of the steps, rounded down, and
    in ComfyUI's the last steps of so many more; so does A1111's hires pass, where `whole` asks for
    that. A strength of 0 leaves the picture as it is.
    """
    row = SAMPLERS[sampler]
    if strength == 0:
        nothing = torch.zeros(1)
        return Timeline(nothing, nothing[0])
    if row.timesteps and sampling.conventions == "a1111" and not sampling.flow:
        return _over_timesteps(sampler, sampling, *_begun(steps, strength, whole))
    if strength is not None and sampling.conventions == "comfyui":
        more = sigmas_of(schedule, sampler, sampling, int(steps / strength), large=large)
        sigmas = more[-(steps + 1) :]
        return Timeline(sigmas, sigmas[0])
    steps, begin = _begun(steps, strength, whole)
    sigmas = sigmas_of(schedule, sampler, sampling, steps, large=large)
    if begin is None:
        return Timeline(sigmas, sigmas[0])
    later = sigmas[steps - begin - 1 :]
    return Timeline(later, later[0], span=sigmas)


def _begun(steps: int, strength: float | None, whole: bool) -> tuple[int, int | None]:
    """Of how many steps A1111 takes the sigmas, and how many it does, less one; None for all.

    Source: `setup_img2img_steps` of A1111's webui.
    """
    if strength is None:
        return steps, None
    strength = min(strength, 0.999)
    if whole:
        return int(steps / strength), steps - 1
    return steps, int(strength * steps)


def sigmas_of(
    schedule: str, sampler: str, sampling: ModelSampling, steps: int, *, large: bool = False
) -> torch.Tensor:
    """All sigmas of that many steps, whole."""
    comfyui = sampling.conventions == "comfyui"
    row = SAMPLERS[sampler]
    drops = sampler in ("DPM2", "DPM2 a", "UniPC") if comfyui else row.one_more
    count = steps + drops
    if schedule == "Align Your Steps":
        sigmas = aligned(count, large)
    else:
        both = SCHEDULING[schedule]
        sigmas = sampling.stretched(both[comfyui](sampling, count))
    return torch.cat((sigmas[:-2], sigmas[-1:])) if drops else sigmas


def _over_timesteps(
    sampler: str, sampling: ModelSampling, steps: int, begin: int | None
) -> Timeline:
    """A1111's DDIM, PLMS and UniPC: whole timesteps, equally far apart, the last of which is where
    DDIM and PLMS end: they do a step less than is asked for. A start picture gets the noise of the
    timestep before the first, with which `begin` of them are done.
    """
    count = len(sampling.sigmas)
    times = [min(t + 1, count - 1) for t in range(0, count, max(1, count // steps))]
    if sampler == "UniPC":
        return _by_continuous_time(sampling, times, begin)
    done = times[:begin]
    if not done:
        return Timeline(torch.zeros(1), torch.zeros(()))
    # one alone would be no step at all
    sigmas = sampling.sigmas[torch.tensor(done[::-1] if len(done) > 1 else [*done, 0])]
    if begin is None:
        return Timeline(sigmas, sigmas[0])
    noise = sampling.sigmas[times[begin]]
    return Timeline(sigmas, noise, float(((1 + sigmas[0] ** 2) / (1 + noise**2)) ** 0.5))


def _by_continuous_time(sampling: ModelSampling, times: list[int], start: int | None) -> Timeline:
    """UniPC's own: the logarithm of the signal, linearly between the timesteps."""
    count = len(sampling.sigmas)
    begin, number, noise = 1.0, len(times), sampling.sigmas[-1]
    if start is not None:
        number = start
        if not number:
            return Timeline(torch.zeros(1), torch.zeros(()))
        begin, noise = (times[number - 1] + 1) / count, sampling.sigmas[times[number]]
    at = torch.linspace(begin, 1 / count, number + 1).double() * count - 1
    logs = 0.5 * sampling.alphas_cumprod.double().log()
    low = at.floor().long().clamp(0, count - 2)
    signal = (logs[low] + (at - low) * (logs[low + 1] - logs[low])).exp()
    sigmas = ((1 - signal**2).sqrt() / signal).float()
    if start is None:
        return Timeline(sigmas, sigmas[0])
    return Timeline(sigmas, noise, float(((1 + sigmas[0] ** 2) / (1 + noise**2)) ** 0.5))


def normal(sampling: ModelSampling, n: int) -> torch.Tensor:
    first, last = _ends(sampling)
    return _ending(sampling.sigma_of(torch.linspace(first, last, n)))


def normal_comfyui(sampling: ModelSampling, n: int) -> torch.Tensor:
    """Leaves the end out where it is nearly 0."""
    first, last = _ends(sampling)
    steps = torch.linspace(first, last, n)
    if math.isclose(float(sampling.sigma_of(steps[-1])), 0, abs_tol=1e-5):
        return sampling.sigma_of(torch.linspace(first, last, n + 1))
    return _ending(sampling.sigma_of(steps))


def sgm_uniform(sampling: ModelSampling, n: int) -> torch.Tensor:
    first, last = _ends(sampling)
    return _ending(sampling.sigma_of(torch.linspace(first, last, n + 1)[:-1]))


def karras(sampling: ModelSampling, n: int) -> torch.Tensor:
    return _ending(karras_between(sampling.sigma_min, sampling.sigma_max, n))


def karras_between(low: float, high: float, n: int) -> torch.Tensor:
    """n sigmas, without a 0 at their end."""
    small, large = low ** (1 / RHO), high ** (1 / RHO)
    found: torch.Tensor = (large + torch.linspace(0, 1, n) * (small - large)) ** RHO
    return found


def exponential(sampling: ModelSampling, n: int) -> torch.Tensor:
    logs = torch.linspace(math.log(sampling.sigma_max), math.log(sampling.sigma_min), n)
    return _ending(logs.exp())


def polyexponential(sampling: ModelSampling, n: int) -> torch.Tensor:
    low, high = math.log(sampling.sigma_min), math.log(sampling.sigma_max)
    return _ending((torch.linspace(1, 0, n) * (high - low) + low).exp())


def kl_optimal(sampling: ModelSampling, n: int) -> torch.Tensor:
    """Ends at the least sigma and not at 0."""
    share = torch.arange(n + 1) / n
    return _between_angles(sampling, share)


def kl_optimal_comfyui(sampling: ModelSampling, n: int) -> torch.Tensor:
    return _ending(_between_angles(sampling, torch.arange(n).float() / max(1, n - 1)))


def aligned(n: int, large: bool) -> torch.Tensor:
    """Align Your Steps: the published sigmas, for other numbers of steps log-linearly between."""
    known = torch.tensor(ALIGNED[large])
    if n == len(known):
        return _ending(known)
    places = torch.linspace(0, 1, n).double() * (len(known) - 1)
    low = places.floor().long().clamp(max=len(known) - 2)
    logs = known.double().flip(0).log()
    found = (logs[low] + (places - low) * (logs[low + 1] - logs[low])).exp().flip(0)
    return _ending(found.float())


def simple(sampling: ModelSampling, n: int) -> torch.Tensor:
    stride = len(sampling.sigmas) / n
    return _ending(torch.stack([sampling.sigmas[-(1 + int(x * stride))] for x in range(n)]))


def ddim(sampling: ModelSampling, n: int) -> torch.Tensor:
    """Some numbers of steps do not divide the timesteps, and give one more."""
    count = len(sampling.sigmas)
    return _ending(sampling.sigmas[torch.arange(1, count, max(count // n, 1))].flip(0))


def beta(sampling: ModelSampling, n: int) -> torch.Tensor:
    share = torch.from_numpy(
        stats.beta.ppf(1 - torch.linspace(0, 1, n).double().numpy(), BETA, BETA)
    )
    low, high = sampling.sigma_min, sampling.sigma_max
    return _ending((low + share * (high - low)).float())


def beta_comfyui(sampling: ModelSampling, n: int) -> torch.Tensor:
    """Over timesteps; one that comes twice is done once."""
    last = len(sampling.sigmas) - 1
    shares = 1 - torch.arange(n).double() / n
    steps = [round(float(t) * last) for t in stats.beta.ppf(shares.numpy(), BETA, BETA)]
    return _ending(sampling.sigmas[torch.tensor(list(dict.fromkeys(steps)))])


def linear_quadratic(sampling: ModelSampling, n: int) -> torch.Tensor:
    """First linearly, little noise a step, then quadratically."""
    if n == 1:
        return torch.tensor([1.0, 0.0]) * sampling.sigma_max
    linear = n // 2
    rest = n - linear
    difference = linear - LINEAR_SHARE * n
    square = difference / (linear * rest**2)
    slope = LINEAR_SHARE / linear - 2 * difference / rest**2
    taken = [i * LINEAR_SHARE / linear for i in range(linear)]
    taken += [square * i**2 + slope * i + square * linear**2 for i in range(linear, n)]
    return (1 - torch.tensor([*taken, 1.0])) * sampling.sigma_max


Scheduling = Callable[[ModelSampling, int], torch.Tensor]
SCHEDULING: Final[dict[str, tuple[Scheduling, Scheduling]]] = {
    "Uniform": (normal, normal_comfyui),
    "Karras": (karras, karras),
    "Exponential": (exponential, exponential),
    "Polyexponential": (polyexponential, polyexponential),
    "SGM Uniform": (sgm_uniform, sgm_uniform),
    "KL Optimal": (kl_optimal, kl_optimal_comfyui),
    "Simple": (simple, simple),
    "Normal": (normal, normal_comfyui),
    "DDIM": (ddim, ddim),
    "Beta": (beta, beta_comfyui),
    "Linear Quadratic": (linear_quadratic, linear_quadratic),
}
"""In A1111's way, and in ComfyUI's."""


def _ends(sampling: ModelSampling) -> tuple[float, float]:
    """The timesteps of the largest and the least sigma."""
    ends = torch.stack((sampling.sigmas[-1], sampling.sigmas[0]))
    first, last = sampling.timestep(ends).tolist()
    return first, last


def _between_angles(sampling: ModelSampling, share: torch.Tensor) -> torch.Tensor:
    low, high = math.atan(sampling.sigma_min), math.atan(sampling.sigma_max)
    return (share * low + (1 - share) * high).tan()


def _ending(sigmas: torch.Tensor) -> torch.Tensor:
    return torch.cat((sigmas.float(), torch.zeros(1)))
