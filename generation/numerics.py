"""What decides the last bits of a picture beside its request, its files and its libraries."""

from typing import Literal

import msgspec

from generation.model_settings import Quantise

Computed = Literal["float32", "float16", "bfloat16"]


class Numerics(msgspec.Struct, frozen=True, kw_only=True):
    """How the numbers of a picture were computed.

    A second drawing with the same request, files, libraries and numerics has the same pixels.
    """

    batch_size: int
    """Pictures to one call of the network, of the job's."""
    precision: Computed
    """Of the denoiser and the text encoders."""
    vae_precision: Computed
    """In which the VAE decoded; float32 where it overflows in half."""
    frugal: bool = False
    """Whether the VAE worked on small tiles, for want of memory."""
    memory: Literal["high", "medium", "blocks", "low"] = "high"
    """Where the denoiser's weights lay: on the device, there while they worked, there block by
    block, or layer by layer."""
    weights: str = ""
    """What the denoiser's weights are in its file, where not whole: fp8, scaled fp8, Q4_K, …"""
    quantised: Quantise = ""
    """What whole weights of the denoiser and of large text encoders became when they were loaded.
    """
    device: str = ""
    """The name of the processor or graphics card."""
    threads: int = 0
    """Of the processor; 0 where a graphics card computed."""
    compiled: bool = False
    """Whether the denoiser was compiled."""
    channels_last: bool = False
    """Whether the weights of convolutions lay in the order in which they are read."""
