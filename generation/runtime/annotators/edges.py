"""Soft edges and lines, by small networks of convolutions.

Sources: lllyasviel's HED under Apache 2 (`ControlNetHED`), github.com/Mikubill/sd-webui-controlnet
(annotator/hed); Chan et al., "Learning to Generate Line Drawings that Convey Geometry and
Semantics", github.com/carolineec/informative-drawings.
"""

import itertools
from typing import Any, Final

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from generation.models import ModelFile
from generation.runtime.preprocessing import Rgb

LEVELS: Final = 5
WHITE: Final = 255


class _HedLevel(nn.Module):
    def __init__(self, inputs: int, outputs: int, layers: int) -> None:
        super().__init__()
        widths = [inputs, *[outputs] * layers]
        self.convs = nn.Sequential(
            *(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        )
        self.projection = nn.Conv2d(outputs, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for conv in self.convs:
            x = functional.relu(conv(x))
        return x, self.projection(x)


class Hed(nn.Module):
    """Edges at five levels, each half as fine as the one before."""

    def __init__(self, widths: list[int], layers: list[int]) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        before = [3, *widths[:-1]]
        for number, told in enumerate(zip(before, widths, layers, strict=True), start=1):
            setattr(self, f"block{number}", _HedLevel(*told))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Of pixels (1, 3, H, W) from 0 to 255, for each level (1, 1, h, w)."""
        found, x = [], pixels - self.norm
        for number in range(1, LEVELS + 1):
            if number > 1:
                x = functional.max_pool2d(x, 2, 2)
            x, edges = getattr(self, f"block{number}")(x)
            found.append(edges)
        return found


def load_hed(file: ModelFile, _dtype: torch.dtype) -> Any:
    """Its network, in float32."""
    weights = {name: tensor.float() for name, tensor in load_file(file.path).items()}
    levels = [f"block{number}" for number in range(1, LEVELS + 1)]
    widths = [len(weights[f"{level}.convs.0.weight"]) for level in levels]
    layers = [sum(n.startswith(f"{level}.convs.") for n in weights) // 2 for level in levels]
    network = Hed(widths, layers)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def soft_edges(network: Any, picture: Rgb, device: torch.device) -> Rgb:
    """White where an edge is."""
    height, width = picture.shape[:2]
    pixels = torch.from_numpy(picture.astype(np.float32).transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        found = [one[0, 0].float().cpu().numpy() for one in network(pixels.to(device))]
    levels = [cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in found]
    mean = np.stack(levels, axis=2).astype(np.float64).mean(axis=2)
    edges = (WHITE / (1 + np.exp(-mean.clip(-60, 60)))).clip(0, WHITE)
    return np.repeat(edges.astype(np.uint8)[..., None], 3, axis=2)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)),
            nn.ReLU(),
            *(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.conv_block(x)
        return found


class LineDrawing(nn.Module):
    """A picture as lines."""

    def __init__(self, width: int, residuals: int) -> None:
        super().__init__()

        def normed(*layers: nn.Module, to: int) -> list[nn.Module]:
            return [*layers, nn.InstanceNorm2d(to), nn.ReLU()]

        first = normed(nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), to=width)
        self.model0 = nn.Sequential(*first)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for a, b in ((width, 2 * width), (2 * width, 4 * width)):
            down += normed(nn.Conv2d(a, b, 3, stride=2, padding=1), to=b)
        for a, b in ((4 * width, 2 * width), (2 * width, width)):
            turned = nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1)
            up += normed(turned, to=b)
        self.model1 = nn.Sequential(*down)
        self.model2 = nn.Sequential(*(_Residual(4 * width) for _ in range(residuals)))
        self.model3 = nn.Sequential(*up)
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Sigmoid())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Of pixels (1, 3, H, W) from 0 to 1, (1, 1, H, W): dark where a line is."""
        x = self.model2(self.model1(self.model0(pixels)))
        found: torch.Tensor = self.model4(self.model3(x))
        return found


def load_lines(file: ModelFile, _dtype: torch.dtype) -> Any:
    """Its network, in float32."""
    weights = {name: tensor.float() for name, tensor in load_file(file.path).items()}
    residuals = {name.split(".")[1] for name in weights if name.startswith("model2.")}
    network = LineDrawing(len(weights["model0.1.weight"]), len(residuals))
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def lines(network: Any, picture: Rgb, device: torch.device) -> Rgb:
    """White lines on black."""
    pixels = torch.from_numpy(picture.astype(np.float32).transpose(2, 0, 1).copy())[None] / WHITE
    with torch.no_grad():
        found = network(pixels.to(device))[0, 0, : picture.shape[0], : picture.shape[1]]
    dark = (found.float().cpu().numpy() * WHITE).clip(0, WHITE).astype(np.uint8)
    return np.repeat((WHITE - dark)[..., None], 3, axis=2)
