"""Models distilled to draw in few steps, told by what their denoiser has beside the usual."""

from collections.abc import Mapping
from typing import Final

from generation.families.family import Version

LCM: Final = "lcm"
READS_GUIDANCE: Final = (
    "time_embed.cond_proj.weight",
    "time_embedding.cond_proj.weight",
)
"""The layer by which the UNet of a latent consistency model reads the guidance: as CompVis would
have named it, and as diffusers' conversion leaves it in single files."""
FEW_STEPS: Final[Mapping[str, Version]] = {
    LCM: Version(
        guidance="distilled", steps=4, guidance_scale=8.0, sampler="LCM", schedule="Simple"
    )
}
"""Luo et al., "Latent Consistency Models". Simple takes the timesteps of their own sampler."""
