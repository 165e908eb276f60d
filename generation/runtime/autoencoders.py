"""VAEs by their make: how a picture becomes latents and comes back, and how those are scaled.

Latents are (N, C, h, w) and pixels (N, 3, H, W) from -1 to 1, whatever a VAE itself takes.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import diffusers
import torch
from diffusers.loaders import single_file_utils
from torch.nn import functional

from generation.families.family import Latents
from generation.runtime.weights import Weights

PREFIXES: Final = ("first_stage_model.", "vae.", "")
"""How the names of a VAE's tensors begin in single files."""
PATCH: Final = 2
"""Of Flux.2's VAE how many latents a side are one."""
QUANT: Final = "quant_conv."
"""Layers that its authors have in its encoder and its decoder, others beside them."""


class LatentScaling(NamedTuple):
    """How a VAE's latents are handed to the denoiser: less the shift, times the scale; numbers, or
    one for each channel, (C, 1, 1).
    """

    scale: Any
    shift: Any

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """As the denoiser has them."""
        found: torch.Tensor = (latents - self.shift) * self.scale
        return found

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """As the VAE has them."""
        found: torch.Tensor = latents / self.scale + self.shift
        return found


class AutoencoderMake(Protocol):
    """What is to be known of a make of VAE."""

    model: Any
    """diffusers' class."""

    def named(self, tensors: Weights, config: dict[str, Any]) -> Weights:
        """Tensors of a single file, without a prefix, under diffusers' names."""
        ...

    def channels(self, vae: Any) -> int:
        """Of a latent."""
        ...

    def widths(self, vae: Any) -> tuple[int, ...]:
        """Channels of its levels; behind each but the last sides are halved."""
        ...

    def factor(self, vae: Any) -> int:
        """Pixels of a latent's side."""
        ...

    def scaling(self, vae: Any, device: torch.device) -> LatentScaling:
        """How its latents are scaled."""
        ...

    def is_published(self, vae: Any, latents: Latents) -> bool:
        """Whether it is the one of which these are the constants."""
        ...

    def encode(self, vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean and the spread of latents."""
        ...

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """Pixels."""
        ...

    def tile(self, vae: Any, side: int) -> None:
        """Have it work on tiles of at most so many pixels a side."""
        ...


class Plain:
    """Stable Diffusion's make, which Flux.1 and its kin have too."""

    model: Any = diffusers.AutoencoderKL

    def named(self, tensors: Weights, config: dict[str, Any]) -> Weights:
        if "decoder.up_blocks.0.resnets.0.norm1.weight" in tensors:
            return tensors
        found: Weights = single_file_utils.convert_ldm_vae_checkpoint(tensors, config)
        return found

    def channels(self, vae: Any) -> int:
        found: int = vae.config.latent_channels
        return found

    def widths(self, vae: Any) -> tuple[int, ...]:
        return tuple(vae.config.block_out_channels)

    def factor(self, vae: Any) -> int:
        factor: int = 2 ** (len(self.widths(vae)) - 1)
        return factor

    def scaling(self, vae: Any, device: torch.device) -> LatentScaling:
        return LatentScaling(vae.config.scaling_factor, float(vae.config.shift_factor or 0.0))

    def is_published(self, vae: Any, latents: Latents) -> bool:
        figures = self.scaling(vae, torch.device("cpu"))
        return (*figures, self.widths(vae)) == (latents.scale, latents.shift, latents.widths)

    def encode(self, vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = vae.encode(pixels).latent_dist
        return found.mean, found.std

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        pixels: torch.Tensor = vae.decode(latents, return_dict=False)[0]
        return pixels

    def tile(self, vae: Any, side: int) -> None:
        vae.tile_sample_min_size = min(vae.tile_sample_min_size, side)
        vae.tile_latent_min_size = vae.tile_sample_min_size // Plain.factor(self, vae)
        vae.enable_tiling()


class Causal(Plain):
    """Qwen-Image's, which is Wan's for videos: a picture is the only frame of one, and each channel
    of its latents has a mean and a spread of its own.
    """

    model: Any = diffusers.AutoencoderKLQwenImage

    def named(self, tensors: Weights, config: dict[str, Any]) -> Weights:
        if "decoder.conv_in.weight" in tensors:
            return tensors
        found: Weights = single_file_utils.convert_wan_vae_to_diffusers(tensors)
        return found

    def channels(self, vae: Any) -> int:
        found: int = vae.config.z_dim
        return found

    def widths(self, vae: Any) -> tuple[int, ...]:
        return tuple(vae.config.base_dim * times for times in vae.config.dim_mult)

    def scaling(self, vae: Any, device: torch.device) -> LatentScaling:
        mean, spread = (
            torch.tensor(found, device=device).view(-1, 1, 1)
            for found in (vae.config.latents_mean, vae.config.latents_std)
        )
        return LatentScaling(1 / spread, mean)

    def is_published(self, vae: Any, latents: Latents) -> bool:
        return self.widths(vae) == latents.widths

    def encode(self, vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, spread = super().encode(vae, pixels[:, :, None])
        return mean[:, :, 0], spread[:, :, 0]

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        return super().decode(vae, latents[:, :, None])[:, :, 0]

    def tile(self, vae: Any, side: int) -> None:
        least = min(vae.tile_sample_min_height, side)
        vae.enable_tiling(least, least)


class Patched(Plain):
    """Flux.2's: two by two latents are one of four times the channels, each of which has a mean and
    a variance that lie in the file, as a batch norm's.

    Source: Black Forest Labs, github.com/black-forest-labs/flux2 (`src/flux2/autoencoder.py`).
    """

    model: Any = diffusers.AutoencoderKLFlux2

    def named(self, tensors: Weights, config: dict[str, Any]) -> Weights:
        own = {name.removeprefix("encoder."): tensors[name] for name in tensors if QUANT in name}
        own = {name.removeprefix("decoder."): own[name] for name in own}
        found = super().named({n: t for n, t in tensors.items() if QUANT not in n} | own, config)
        # how often it was trained, which nothing reads and not every file says
        norm = {"bn.num_batches_tracked": torch.zeros(())}
        return norm | found | {n: t for n, t in tensors.items() if n.startswith("bn.")}

    def channels(self, vae: Any) -> int:
        return super().channels(vae) * PATCH**2

    def factor(self, vae: Any) -> int:
        return super().factor(vae) * PATCH

    def scaling(self, vae: Any, device: torch.device) -> LatentScaling:
        mean, variance = (
            found.to(device, torch.float32).view(-1, 1, 1)
            for found in (vae.bn.running_mean, vae.bn.running_var)
        )
        return LatentScaling((variance + vae.config.batch_norm_eps).rsqrt(), mean)

    def is_published(self, vae: Any, latents: Latents) -> bool:
        return self.widths(vae) == latents.widths

    def encode(self, vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, spread = super().encode(vae, pixels)
        return (
            functional.pixel_unshuffle(mean, PATCH),
            functional.pixel_unshuffle(spread, PATCH),
        )

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        return super().decode(vae, functional.pixel_shuffle(latents, PATCH))


PLAIN: Final = Plain()
MAKES: Final[Mapping[str, AutoencoderMake]] = {
    "plain": PLAIN,
    "causal": Causal(),
    "patched": Patched(),
}
"""By the name that families have for them (`Latents.make`)."""


def make_of(vae: Any) -> AutoencoderMake:
    """The make of a VAE that is loaded."""
    return next((make for make in MAKES.values() if isinstance(vae, make.model)), PLAIN)


def factor_of(vae: Any) -> int:
    """Pixels of a latent's side; a small VAE has fewer levels than its family's own."""
    return make_of(vae).factor(vae)


def without_prefix(tensors: Weights) -> Weights:
    """The tensors of a VAE that may lie in a file with others, without what stands before them."""
    prefix = next(p for p in PREFIXES if any(name.startswith(p) for name in tensors))
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
