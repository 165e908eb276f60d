"""Starts the autoencoder as a maker of thumbnails, from where it learns at once.

From a usual initialisation a small autoencoder stays for hundreds of steps on a plateau of grey or
two-coloured pictures. Here the first three latent channels start as the picture's colours, eight
times smaller, and the decoder starts as their enlargement; training adds the rest.

Eight channels of the residual stream carry that: the three colours, their negatives (because
silu(x) - silu(-x) = x, so a pair passes the last activation unchanged), and two constants that
keep the group normalisation's divisor steady, so that plain dark pictures stay dark.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from diffusers import AutoencoderKL
from torch import Tensor, nn

CARRIED = 8
CONSTANT = 3.0
LATENT_GAIN = 4.0  # well above the posterior's noise, exp(-4 / 2)


@torch.no_grad()
def start_as_thumbnail(vae: AutoencoderKL) -> None:
    """Set all weights of `vae` (norm_num_groups 2, at least 16 channels)."""
    for name, module in vae.named_modules():
        if isinstance(module, nn.Conv2d):
            _random(module, 0.2 if name.endswith("conv2") else 1.0)
            if name.endswith("conv2"):
                module.weight[:CARRIED] = 0
            elif name.endswith("conv_shortcut") or "samplers" in name:
                _carry(module, box="downsamplers" in name)
    _identity(vae.quant_conv)
    _identity(vae.post_quant_conv)
    vae.quant_conv.bias[4:] -= 4
    _split_colours(vae.encoder.conv_in, 1.0)
    _split_colours(vae.decoder.conv_in, 1 / LATENT_GAIN)
    _join_colours(vae.encoder.conv_out)
    vae.encoder.conv_out.weight[4:] *= 0.05
    _join_colours(vae.decoder.conv_out)
    blocks = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pictures = F.interpolate(blocks, scale_factor=16.0)
    latents = vae.encode(pictures).latent_dist.mean
    vae.encoder.conv_out.weight[:3] *= LATENT_GAIN / _gain(
        F.avg_pool2d(pictures, 8), latents[:, :3]
    )
    made = vae.decode(vae.encode(pictures).latent_dist.mean).sample
    vae.decoder.conv_out.weight[:3] /= _gain(pictures, made)


def _random(conv: nn.Conv2d, gain: float) -> None:
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
    conv.weight *= gain
    _bias(conv).zero_()


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        raise TypeError("the autoencoder's convolutions have biases")
    return conv.bias


def _carry(conv: nn.Conv2d, box: bool) -> None:
    """Pass the carried channels on; `box` averages 2 x 2 pixels (the padding is at the far end)."""
    conv.weight[:CARRIED] = 0
    for i in range(CARRIED):
        if box:
            conv.weight[i, i, :2, :2] = 0.25
        else:
            conv.weight[i, i, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1


def _identity(conv: nn.Conv2d) -> None:
    conv.weight.copy_(torch.eye(conv.in_channels)[..., None, None])


def _split_colours(conv: nn.Conv2d, gain: float) -> None:
    conv.weight[:CARRIED] = 0
    for i in range(3):
        conv.weight[i, i, 1, 1] = gain
        conv.weight[i + 3, i, 1, 1] = -gain
    _bias(conv)[6], _bias(conv)[7] = CONSTANT, -CONSTANT


def _join_colours(conv: nn.Conv2d) -> None:
    conv.weight[:3] = 0
    for i in range(3):
        conv.weight[i, i, 1, 1] = 1
        conv.weight[i, i + 3, 1, 1] = -1


def _gain(given: Tensor, made: Tensor) -> Tensor:
    return (given * made).sum() / (given * given).sum()
