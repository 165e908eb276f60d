"""What a denoiser's answer means: the noise levels that it was trained with, and its prediction.

The state of a picture in the making is x = picture + sigma * noise (of flow models
x = (1 - sigma) * picture + sigma * noise), in float32. Conventions "a1111" are those of k-diffusion
(Crowson) as A1111 uses it, "comfyui" those of ComfyUI.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import torch

from generation.families.family import Prediction
from generation.request_fields import Conventions

LAST_SIGNAL: Final = 4.8973451890853435e-08
"""What is left of the picture's variance at the last timestep of zero terminal SNR, in A1111 and
in ComfyUI; 0 would divide by zero."""

HIGHEST: Final = 1e-5
"""How near to the highest level counts as it."""
LCM_TIMESTEPS: Final = 50
LCM_SCALE: Final = 10.0
LCM_SPREAD: Final = 0.5
FINE_STEPS: Final = 10_000
"""Levels that ComfyUI divides the noise of a model into whose shift is by size."""
NEARLY_NOISE: Final = 1 - 1e-4
"""How much of the way to noise alone stands for it where that has no logarithm; ComfyUI's."""

MANY_TOKENS: Final = 4300
"""Of a picture, from which on Flux.2's shift goes by them alone."""


class ModelSampling:
    """A discrete model's noise levels, and what its answers mean."""

    flow = False

    def __init__(
        self, alphas_cumprod: torch.Tensor, prediction: Prediction, conventions: Conventions
    ) -> None:
        """`alphas_cumprod` (T,): how much of the picture's variance is left at each timestep."""
        self.prediction = prediction
        self.conventions = conventions
        self.alphas_cumprod = alphas_cumprod
        self.sigmas = ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5
        self._log_sigmas = self.sigmas.log()

    @property
    def sigma_min(self) -> float:
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        return float(self.sigmas[-1])

    def sigma_of(self, t: torch.Tensor) -> torch.Tensor:
        """The noise level of timesteps, also between two, log-linearly."""
        t = t.float().clamp(0, len(self.sigmas) - 1)
        low, high, share = t.floor().long(), t.ceil().long(), t.frac()
        return ((1 - share) * self._log_sigmas[low] + share * self._log_sigmas[high]).exp()

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """What the network is told of a noise level: a timestep, between two in A1111's way, the
        nearest in ComfyUI's.
        """
        log_sigma = sigma.float().cpu().log()
        distances = log_sigma - self._log_sigmas.view(-1, *[1] * log_sigma.dim())
        if self.conventions == "comfyui":
            return distances.abs().argmin(dim=0).float()
        low = distances.ge(0).cumsum(dim=0).argmax(dim=0).clamp(max=len(self.sigmas) - 2)
        below, above = self._log_sigmas[low], self._log_sigmas[low + 1]
        share = ((below - log_sigma) / (below - above)).clamp(0, 1)
        return (1 - share) * low + share * (low + 1)

    def stretched(self, sigmas: torch.Tensor) -> torch.Tensor:
        """A schedule, falling to 0, with the last level before its end where it should be."""
        return sigmas

    def signal(self, sigma: torch.Tensor) -> torch.Tensor:
        """How much of the picture is in x at a noise level."""
        return torch.ones_like(sigma)

    def half_log_snr(self, sigma: torch.Tensor) -> torch.Tensor:
        """The logarithm of picture to noise, the time of DPM-Solver."""
        return sigma.log().neg()

    def of_half_log_snr(self, time: torch.Tensor) -> torch.Tensor:
        """The noise level of such a time."""
        return time.neg().exp()

    def with_some_signal(self, sigmas: torch.Tensor) -> torch.Tensor:
        """A schedule at whose levels that logarithm is finite."""
        return sigmas

    def network_input(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """x as the network expects it: of unit variance."""
        return x / (sigma.to(x.device) ** 2 + 1) ** 0.5

    def denoised(self, answer: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The picture that the network's answer to x of that noise level stands for."""
        sigma = sigma.to(x.device)
        if self.prediction == "v_prediction":
            return x / (sigma**2 + 1) - answer * sigma / (sigma**2 + 1) ** 0.5
        return x - answer * sigma

    def begin(
        self,
        noise: torch.Tensor,
        sigma: torch.Tensor,
        latents: torch.Tensor | None = None,
        *,
        whole: bool = False,
    ) -> torch.Tensor:
        """What is denoised first: latents with noise of that level, or where there are none the
        noise alone. `whole` gives the noise alone the variance of a picture with it, as A1111 does
        where it runs over timesteps, and ComfyUI wherever it begins at the highest level.
        """
        if self.conventions == "comfyui":
            whole = float(sigma) >= self.sigma_max * (1 - HIGHEST)
        elif latents is not None:
            whole = False
        scaled = noise * ((1 + sigma**2) ** 0.5 if whole else sigma)
        return scaled if latents is None else latents + scaled

    def again(
        self, denoised: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor
    ) -> torch.Tensor:
        """A picture with new noise of that level."""
        return denoised + noise * sigma


class LcmSampling(ModelSampling):
    """What A1111 gives its LCM: every 20th timestep alone, and the boundary of the paper.

    Luo et al., "Latent Consistency Models": the less noise, the more of x itself.
    """

    def __init__(self, of: ModelSampling) -> None:
        self._apart = max(len(of.sigmas) // LCM_TIMESTEPS, 1)
        last = self._apart - 1
        super().__init__(of.alphas_cumprod[last :: self._apart], of.prediction, of.conventions)

    def sigma_of(self, t: torch.Tensor) -> torch.Tensor:
        return super().sigma_of((t - (self._apart - 1)) / self._apart)

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """The nearest of them."""
        log_sigma = sigma.float().cpu().log()
        distances = log_sigma - self._log_sigmas.view(-1, *[1] * log_sigma.dim())
        nearest = distances.abs().argmin(dim=0).float()
        return nearest * self._apart + self._apart - 1

    def denoised(self, answer: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        picture = super().denoised(answer, x, sigma)
        scaled = float(self.timestep(sigma)) * LCM_SCALE
        variance = scaled**2 + LCM_SPREAD**2
        found: torch.Tensor = picture * (scaled / variance**0.5) + x * (LCM_SPREAD**2 / variance)
        return found


class FlowSampling(ModelSampling):
    """A flow model's noise levels, from 0 to 1, in `steps` of its training."""

    flow = True

    def __init__(
        self,
        shift: float = 1.0,
        *,
        steps: int = 1000,
        multiplier: float = 1000.0,
        exponential: bool = False,
        terminal: float = 0.0,
        conventions: Conventions = "comfyui",
    ) -> None:
        """`multiplier` is what the network is told of the level 1; `exponential` is Flux' shift;
        `terminal` the level that the last step of each schedule begins at, 0 for its own.
        """
        self.prediction = "flow"
        self.conventions = conventions
        self._shift = shift
        self._multiplier = multiplier
        self._exponential = exponential
        self._terminal = terminal
        self.sigmas = self.sigma_of(torch.arange(1, steps + 1) / steps * multiplier)

    def sigma_of(self, t: torch.Tensor) -> torch.Tensor:
        share = t / self._multiplier
        if self._exponential:
            factor = math.exp(self._shift)
            return factor / (factor + (1 / share - 1))
        return self._shift * share / (1 + (self._shift - 1) * share)

    def stretched(self, sigmas: torch.Tensor) -> torch.Tensor:
        """Source: Lightricks, github.com/Lightricks/LTX-Video (`schedulers/rf.py`)."""
        left = 1 - sigmas[:-1]
        if not self._terminal or float(sigmas[-1]) or not float(left[-1]):
            return sigmas
        return torch.cat((1 - left * ((1 - self._terminal) / left[-1]), sigmas[-1:]))

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        return sigma * self._multiplier

    def signal(self, sigma: torch.Tensor) -> torch.Tensor:
        return 1 - sigma

    def half_log_snr(self, sigma: torch.Tensor) -> torch.Tensor:
        return sigma.logit().neg()

    def of_half_log_snr(self, time: torch.Tensor) -> torch.Tensor:
        return time.neg().sigmoid()

    def with_some_signal(self, sigmas: torch.Tensor) -> torch.Tensor:
        if sigmas[0] < 1:
            return sigmas
        # so near to 1 the last bits decide over the logarithm
        time = torch.tensor([NEARLY_NOISE * self._multiplier], dtype=torch.float64)
        nearly = self.sigma_of(time)
        return torch.cat((nearly.to(sigmas), sigmas[1:]))

    def network_input(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x

    def denoised(self, answer: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x - answer * sigma.to(x.device)

    def begin(
        self,
        noise: torch.Tensor,
        sigma: torch.Tensor,
        latents: torch.Tensor | None = None,
        *,
        whole: bool = False,
    ) -> torch.Tensor:
        return noise * sigma if latents is None else self.again(latents, noise, sigma)

    def again(
        self, denoised: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor
    ) -> torch.Tensor:
        return noise * sigma + denoised * (1 - sigma)


def flow(
    settings: Mapping[str, Any],
    conventions: Conventions,
    tokens: int,
    *,
    steps: int = 0,
    steady: float = 0.0,
) -> FlowSampling:
    """Of the settings of a scheduler, as diffusers writes them; `tokens` is how many the denoiser
    sees of a picture, `steps` in how many it is drawn, where the shift goes by them.

    A shift by size, as Black Forest Labs has it, grows with that number; ComfyUI's is `steady`, or
    where that is 0 that of the largest picture, whatever is drawn.
    Source: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis".
    """
    comfyui = conventions == "comfyui"
    if not settings.get("use_dynamic_shifting"):
        if comfyui and steady:
            # where it shifts as Flux.1 is shifted what its authors don't shift
            return FlowSampling(steady, steps=FINE_STEPS, exponential=True, conventions=conventions)
        return FlowSampling(float(settings.get("shift", 1.0)), conventions=conventions)
    few = int(settings.get("base_image_seq_len", 256))
    many = int(settings.get("max_image_seq_len", 4096))
    least, most = float(settings.get("base_shift", 0.5)), float(settings.get("max_shift", 1.15))
    share = 1.0 if comfyui else (tokens - few) / (many - few)
    shift = empirical_shift(tokens, steps) if steps else least + share * (most - least)
    return FlowSampling(
        steady if steady and comfyui else shift,
        steps=FINE_STEPS,
        exponential=settings.get("time_shift_type", "exponential") == "exponential",
        terminal=0.0 if comfyui else float(settings.get("shift_terminal") or 0.0),
        conventions=conventions,
    )


def empirical_shift(tokens: int, steps: int) -> float:
    """By how much Flux.2 is shifted: a line by the tokens of a picture for 10 steps, another for
    200, and between them by the steps; the latter for all where there are many tokens.

    Source: Black Forest Labs, github.com/black-forest-labs/flux2 (`src/flux2/sampling.py`).
    """
    at_200 = 0.00016927 * tokens + 0.45666666
    if tokens > MANY_TOKENS:
        return at_200
    at_10 = 8.73809524e-05 * tokens + 1.89833333
    return at_200 + (at_200 - at_10) / 190 * (steps - 200)


def discrete(settings: Mapping[str, Any], conventions: Conventions) -> ModelSampling:
    """Of the settings of a scheduler, as diffusers writes them: betas, prediction type, whether the
    last timestep is noise only.

    Source of the last: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed".
    """
    count = int(settings.get("num_train_timesteps", 1000))
    start = float(settings.get("beta_start", 0.00085))
    end = float(settings.get("beta_end", 0.012))
    if settings.get("trained_betas") is not None:
        betas = torch.tensor(settings["trained_betas"], dtype=torch.float64)
    elif settings.get("beta_schedule", "scaled_linear") == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
    else:
        betas = torch.linspace(start, end, count, dtype=torch.float64)
    alphas = (1 - betas).cumprod(dim=0)
    if settings.get("rescale_betas_zero_snr"):
        alphas = alphas.float()
        root = alphas.sqrt()
        first, last = root[0].clone(), root[-1].clone()
        alphas = ((root - last) * (first / (first - last))) ** 2
        alphas[-1] = LAST_SIGNAL
    prediction = settings.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise ValueError(f"its denoiser predicts {prediction}, which is not known here")
    return ModelSampling(alphas.float(), prediction, conventions)
