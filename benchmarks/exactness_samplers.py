"""The samplers of A1111's way of drawing, for `exactness_a1111`: one picture, step by step."""

import importlib.util
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image

if TYPE_CHECKING:
    from benchmarks.exactness_a1111 import Conditioning, Told, Webui

DISCARDING: Final = ("DPM2", "DPM2 a", "DPM++ 3M SDE")
BROWNIAN: Final = ("DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE")
SECOND: Final = ("Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "Restart")
FUNCTIONS: Final = {
    "Euler": "sample_euler",
    "Euler a": "sample_euler_ancestral",
    "Heun": "sample_heun",
    "LMS": "sample_lms",
    "DPM2": "sample_dpm_2",
    "DPM2 a": "sample_dpm_2_ancestral",
    "DPM++ 2S a": "sample_dpmpp_2s_ancestral",
    "DPM++ 2M": "sample_dpmpp_2m",
    "DPM++ SDE": "sample_dpmpp_sde",
    "DPM++ 2M SDE": "sample_dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "sample_dpmpp_2m_sde",
    "DPM++ 3M SDE": "sample_dpmpp_3m_sde",
}
OVER_TIMESTEPS: Final = ("DDIM", "DDIM CFG++", "PLMS", "UniPC")
SAMPLERS: Final = (*FUNCTIONS, "Restart", "LCM", *OVER_TIMESTEPS)


class Drawing:
    """One picture in the making."""

    def __init__(self, webui: "Webui", told: "Told") -> None:
        self.webui, self.told = webui, told
        self.inner_model = self
        self.step = 0
        self.last_uncond: torch.Tensor | None = None
        self.parts = [
            (
                weight,
                [until for until, _ in entries],
                webui.encoded([text for _, text in entries], told.clip_skip, False),
            )
            for weight, entries in told.parts
        ]
        self.negative = (
            [until for until, _ in told.negative],
            webui.encoded([text for _, text in told.negative], told.clip_skip, True),
        )
        self.control: tuple[Any, torch.Tensor, float] | None = None
        if told.control is not None:
            folder, picture, scale = told.control
            net = ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
            self.control = (net, _pixels(picture), scale)
        self.scale = told.guidance / (12.5 if told.sampler == "DDIM CFG++" else 1)

    # what the network is asked

    @property
    def alphas_cumprod(self) -> torch.Tensor:
        return self.webui.alphas_cumprod

    def apply_model(self, x: torch.Tensor, t: torch.Tensor, cond: "Conditioning") -> torch.Tensor:
        further: dict[str, Any] = {}
        if cond.pooled is not None:
            height, width = self.told.height, self.told.width
            sizes = torch.tensor([[height, width, 0, 0, height, width]] * len(x)).float()
            further["added_cond_kwargs"] = {"text_embeds": cond.pooled, "time_ids": sizes}
        if self.control is not None:
            net, hint, scale = self.control
            down, middle = net(
                x,
                t,
                encoder_hidden_states=cond.cross,
                controlnet_cond=hint.expand(len(x), -1, -1, -1),
                conditioning_scale=scale,
                return_dict=False,
                **({"added_cond_kwargs": further["added_cond_kwargs"]} if further else {}),
            )
            further["down_block_additional_residuals"] = down
            further["mid_block_additional_residual"] = middle
        answer: torch.Tensor = self.webui.unet(
            x, t, encoder_hidden_states=cond.cross, **further
        ).sample
        return answer

    def guided(
        self, ask: Callable[[torch.Tensor, torch.Tensor, "Conditioning"], torch.Tensor]
    ) -> Callable[..., torch.Tensor]:
        def model(x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
            wanted = [found[_entry(untils, self.step)] for _, untils, found in self.parts]
            longest = max(one.cross.shape[1] for one in wanted)
            wanted = [
                one._replace(
                    cross=torch.cat(
                        [one.cross, one.cross[:, -1:].repeat(1, longest - one.cross.shape[1], 1)],
                        dim=1,
                    )
                )
                for one in wanted
            ]
            ends, texts = self.negative
            unwanted = texts[_entry(ends, self.step)]
            n = len(wanted)
            if unwanted.cross.shape[1] == longest:
                together = [*wanted, unwanted]
                out = ask(x.repeat(n + 1, 1, 1, 1), sigma.repeat(n + 1), _joined(together))
                answers, empty = out[:n], out[n:]
            else:
                answers = ask(x.repeat(n, 1, 1, 1), sigma.repeat(n), _joined(wanted))
                empty = ask(x, sigma, unwanted)
            self.last_uncond = empty
            guided: torch.Tensor = empty.clone()
            for part, answer in zip(self.parts, answers, strict=True):
                guided += (answer[None] - empty) * (part[0] * self.scale)
            self.step += 1
            return guided

        return model

    # samplers

    def latents(self) -> torch.Tensor:
        told, webui = self.told, self.webui
        generator = torch.Generator("cpu").manual_seed(told.seed)
        shape = (1, 4, told.height // self._factor, told.width // self._factor)
        noise = torch.randn(shape, generator=generator)
        start = None
        if told.picture is not None:
            pixels = _pixels(told.picture) * 2 - 1
            found = webui.vae.encode(pixels).latent_dist
            start = (found.mean + found.std * noise) * webui.vae.config.scaling_factor

        def randn_like(x: torch.Tensor) -> torch.Tensor:
            return torch.randn(x.shape, generator=generator)

        if told.sampler in OVER_TIMESTEPS:
            return self._over_timesteps(noise, start)
        wrap = _Lcm(self) if told.sampler == "LCM" else None
        denoiser: Any = wrap or webui.external.CompVisDenoiser(self, quantize=False)
        model = self.guided(lambda x, sigma, cond: denoiser(x, sigma, cond=cond))
        low, high = denoiser.sigmas[0], denoiser.sigmas[-1]
        count = told.steps + (told.sampler in DISCARDING)
        sigmas: torch.Tensor
        match told.schedule:
            case "Karras":
                sigmas = webui.sampling.get_sigmas_karras(count, float(low), float(high))
            case "Exponential":
                sigmas = webui.sampling.get_sigmas_exponential(count, float(low), float(high))
            case _:
                sigmas = denoiser.get_sigmas(count)
        if told.sampler in DISCARDING:
            sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
        whole = sigmas
        if start is None:
            x = noise * sigmas[0]
        else:
            t_enc = int(min(told.strength, 0.999) * told.steps)
            sigmas = sigmas[told.steps - t_enc - 1 :]
            x = start + noise * sigmas[0]
        if told.sampler == "Restart":
            return self._restart(model, x, sigmas, randn_like)
        if told.sampler == "LCM":
            for sigma, after in itertools.pairwise(sigmas):
                x = model(x, sigma[None])
                if after > 0:
                    x = x + after * randn_like(x)
            return torch.as_tensor(x)
        further: dict[str, Any] = {}
        if told.sampler in BROWNIAN:
            # over all sigmas, also where image to image begins later
            further["noise_sampler"] = webui.sampling.BrownianTreeNoiseSampler(
                x, whole[whole > 0].min(), whole.max(), seed=[told.seed]
            )
        if told.sampler == "DPM++ 2M SDE Heun":
            further["solver_type"] = "heun"
        elif told.sampler == "DPM++ 2M SDE":
            further["solver_type"] = "midpoint"
        standing = _Torch(randn_like)
        webui.sampling.torch = standing
        found = getattr(webui.sampling, FUNCTIONS[told.sampler])(
            model, x, sigmas, disable=True, **further
        )
        assert isinstance(found, torch.Tensor)
        return found

    @property
    def _factor(self) -> int:
        return int(2 ** (len(self.webui.vae.config.block_out_channels) - 1))

    def _restart(
        self,
        model: Callable[..., torch.Tensor],
        x: torch.Tensor,
        sigmas: torch.Tensor,
        randn_like: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Xu et al. 2023: A1111 goes back once from 20 steps, twice from 36."""
        karras = self.webui.sampling.get_sigmas_karras
        steps = len(sigmas) - 1
        plan = list(itertools.pairwise(sigmas))
        if steps >= 20:
            back, times = (steps // 4, 2) if steps >= 36 else (9, 1)
            sigmas = karras(steps - back * times, float(sigmas[-2]), float(sigmas[0]))
            at = int((sigmas - 0.1).abs().argmin())
            top = int((sigmas - 2).abs().argmin())
            again = karras(back + 1, float(sigmas[at]), float(sigmas[top]))[:-1]
            pairs = list(itertools.pairwise(sigmas))
            loop = list(itertools.pairwise(again)) if top < at else []
            plan = pairs[:at] + loop * times + pairs[at:]
        before = plan[0][0]
        for sigma, after in plan:
            if sigma > before:
                x = x + randn_like(x) * (sigma**2 - before**2) ** 0.5
            slope = (x - model(x, sigma[None])) / sigma
            if after == 0:
                x = x + slope * (after - sigma)
            else:
                second = x + slope * (after - sigma)
                slope_2 = (second - model(second, after[None])) / after
                x = x + (slope + slope_2) / 2 * (after - sigma)
            before = after
        return x

    def _over_timesteps(self, noise: torch.Tensor, start: torch.Tensor | None) -> torch.Tensor:
        told, alphas = self.told, self.alphas_cumprod
        model = self.guided(self.apply_model)
        times = torch.clip(torch.tensor(range(0, 1000, 1000 // told.steps)) + 1, 0, 999)
        x = noise
        if start is not None:
            t_enc = int(min(told.strength, 0.999) * told.steps)
            signal = alphas[times[t_enc]]
            x = start * signal.sqrt() + noise * (1 - signal).sqrt()
            times = times[:t_enc]
        if told.sampler == "UniPC":
            return self._unipc(model, x, times, start is not None)
        known: list[torch.Tensor] = []
        # as many as there are timesteps, but one
        for index in range(len(times) - 1, 0, -1):
            here, there = alphas[times[index]].double(), alphas[times[index - 1]].double()

            def moved(
                noise: torch.Tensor,
                towards: torch.Tensor,
                x: torch.Tensor = x,
                here: torch.Tensor = here,
                there: torch.Tensor = there,
            ) -> torch.Tensor:
                picture = (x - (1 - here).sqrt().float() * noise) / here.sqrt().float()
                return there.sqrt().float() * picture + (1 - there).sqrt().float() * towards

            found = model(x, times[index : index + 1].float())
            if told.sampler == "PLMS":
                match len(known):
                    case 0:
                        ahead = model(moved(found, found), times[index - 1 : index].float())
                        used = (found + ahead) / 2
                    case 1:
                        used = (3 * found - known[-1]) / 2
                    case 2:
                        used = (23 * found - 16 * known[-1] + 5 * known[-2]) / 12
                    case _:
                        used = (55 * found - 59 * known[-1] + 37 * known[-2] - 9 * known[-3]) / 24
                known = [*known, found][-3:]
                x = moved(used, used)
            elif told.sampler == "DDIM CFG++":
                assert self.last_uncond is not None
                x = moved(found, self.last_uncond)
            else:
                x = moved(found, found)
        return x

    def _unipc(
        self, model: Callable[..., torch.Tensor], x: torch.Tensor, times: torch.Tensor, image: bool
    ) -> torch.Tensor:
        """With the published UniPC, of the file that was named: bh1, order 3, over equal times."""
        assert self.webui.unipc_file is not None
        spec = importlib.util.spec_from_file_location("uni_pc", self.webui.unipc_file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        schedule = module.NoiseScheduleVP("discrete", alphas_cumprod=self.alphas_cumprod)

        def noise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return model(x, (t - 1.0 / 1000) * 1000.0)

        unipc = module.UniPC(noise, schedule, predict_x0=True, thresholding=False, variant="bh1")
        begin = float(times[-1]) / 1000 + 1 / 1000 if image else 1.0
        at = torch.linspace(begin, 1.0 / 1000, len(times) + 1)[:, None]
        steps, order = len(times), 3
        assert steps >= order, "A1111 refuses fewer"
        pictures, before = [unipc.model_fn(x, at[0])], [at[0]]
        for step in range(1, steps + 1):
            used = step if step < order else min(order, steps + 1 - step)
            last = step == steps
            x, picture = unipc.multistep_uni_pc_update(
                x, pictures[-order:], before[-order:], at[step], used, use_corrector=not last
            )
            if not last:
                pictures.append(unipc.model_fn(x, at[step]) if picture is None else picture)
                before.append(at[step])
        return x


class _Lcm:
    """A1111's denoiser for LCM: fifty timesteps, and the paper's boundary conditions."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        alphas = drawing.alphas_cumprod[torch.arange(50) * 20 + 19]
        self.sigmas = ((1 - alphas) / alphas) ** 0.5

    def get_sigmas(self, n: int) -> torch.Tensor:
        places = torch.linspace(49, 0, n)
        low, high, share = places.floor().long(), places.ceil().long(), places.frac()
        logs = self.sigmas.log()
        found = ((1 - share) * logs[low] + share * logs[high]).exp()
        return torch.cat([found, torch.zeros(1)])

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, cond: "Conditioning") -> torch.Tensor:
        place = (sigma.log() - self.sigmas.log()[:, None]).abs().argmin(dim=0)
        time = place * 20 + 19
        s = sigma[:, None, None, None]
        noise = self._drawing.apply_model(x / (s**2 + 1) ** 0.5, time, cond)
        scaled = time[:, None, None, None] * 10.0
        skip = 0.25 / (scaled**2 + 0.25)
        out = scaled / (scaled**2 + 0.25) ** 0.5
        return out * (x - noise * s) + skip * x


class _Torch:
    """Stands in for torch within k-diffusion's samplers, with the picture's own noise."""

    def __init__(self, randn_like: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.randn_like = randn_like

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _entry(untils: list[int], step: int) -> int:
    return next((i for i, until in enumerate(untils) if step <= until), 0)


def _joined(texts: list["Conditioning"]) -> "Conditioning":
    pooled = [text.pooled for text in texts if text.pooled is not None]
    return type(texts[0])(
        torch.cat([text.cross for text in texts]), torch.cat(pooled) if pooled else None
    )


def _pixels(picture: Image.Image) -> torch.Tensor:
    values = np.asarray(picture.convert("RGB")).astype(np.float32) / 255.0
    return torch.from_numpy(values).permute(2, 0, 1)[None]
