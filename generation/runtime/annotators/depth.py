"""Depth Anything: how near what a picture shows is.

Source: Yang et al., "Depth Anything V2", github.com/DepthAnything/Depth-Anything-V2; its names of
layers as transformers translates them (`convert_depth_anything_to_hf`).
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    PretrainedConfig,
)

from generation.models import ModelFile
from generation.runtime.preprocessing import Rgb
from generation.runtime.weights import Weights

SIDE: Final = 518
"""Pixels of the shorter side of what it sees."""
SIDE_MAX: Final = 3 * SIDE
PATCH: Final = 14
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
HEAD: Final = 64
"""Width of an attention's head."""
STAGES: Final = 4
WHITE: Final = 255
_LAYERS: Final = {
    "cls_token": "backbone.embeddings.cls_token",
    "mask_token": "backbone.embeddings.mask_token",
    "pos_embed": "backbone.embeddings.position_embeddings",
    "patch_embed.proj": "backbone.embeddings.patch_embeddings.projection",
    "norm": "backbone.layernorm",
}
_IN_BLOCKS: Final = {
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "attn.proj": "attention.output.dense",
}
_HEAD: Final = {"output_conv1": "conv1", "output_conv2.0": "conv2", "output_conv2.2": "conv3"}


def load(file: ModelFile, _dtype: torch.dtype) -> Any:
    """Its network, in float32, of a file or of transformers' folder."""
    if file.is_folder:
        network = DepthAnythingForDepthEstimation.from_pretrained(
            file.path, local_files_only=True, torch_dtype=torch.float32
        )
        return network.eval().requires_grad_(False)
    weights = load_file(file.path)
    if "pretrained.cls_token" in weights:
        weights = dict(_renamed(weights))
    network, about = DepthAnythingForDepthEstimation.from_pretrained(
        None,
        config=_config(weights),
        state_dict={name: tensor.float() for name, tensor in weights.items()},
        output_loading_info=True,
    )
    missing = sorted(name for name in about["missing_keys"] if not name.endswith("mask_token"))
    if missing:
        raise ValueError(f"{missing[0]} is not in it")
    return network.eval().requires_grad_(False)


def seen(network: Any, picture: Rgb, device: torch.device) -> Rgb:
    """What is near white, what is far black."""
    height, width = picture.shape[:2]
    share = min(max(SIDE / height, SIDE / width), SIDE_MAX / max(height, width))
    sides = [max(1, round(side * share / PATCH)) * PATCH for side in (height, width)]
    sized = cv2.resize(
        picture.astype(np.float32) / WHITE, (sides[1], sides[0]), interpolation=cv2.INTER_CUBIC
    )
    values = (sized - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    pixels = torch.from_numpy(values.transpose(2, 0, 1).copy())[None].to(device)
    with torch.no_grad():
        near = network(pixels.to(network.dtype)).predicted_depth.float()
    whole = functional.interpolate(
        near[None], (height, width), mode="bilinear", align_corners=False
    )[0, 0]
    low, high = whole.min(), whole.max()
    greys = ((whole - low) / (high - low).clamp(min=1e-6) * WHITE).cpu().numpy()
    return np.repeat(greys.astype(np.uint8)[..., None], 3, axis=2)


def _config(weights: Weights) -> PretrainedConfig:
    """Of weights under transformers' names, by their shapes."""
    width = weights["backbone.embeddings.cls_token"].shape[-1]
    names = {name.split(".")[3] for name in weights if name.startswith("backbone.encoder.layer.")}
    layers, side = len(names), weights["backbone.embeddings.position_embeddings"].shape[1] - 1
    # the large one's are not even
    stages = [5, 12, 18, 24] if layers == 24 else [layers * n // STAGES for n in range(1, 5)]
    patch = weights["backbone.embeddings.patch_embeddings.projection.weight"].shape[-1]
    fused = weights["head.conv1.weight"].shape[1]
    return DepthAnythingConfig(
        backbone_config=Dinov2Config(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // HEAD),
            mlp_ratio=weights["backbone.encoder.layer.0.mlp.fc1.weight"].shape[0] // width,
            image_size=round(side**0.5) * patch,
            patch_size=patch,
            out_indices=stages,
            apply_layernorm=True,
            reshape_hidden_states=False,
        ),
        reassemble_hidden_size=width,
        patch_size=patch,
        neck_hidden_sizes=[
            weights[f"neck.reassemble_stage.layers.{n}.projection.weight"].shape[0]
            for n in range(STAGES)
        ],
        fusion_hidden_size=fused,
        head_hidden_size=weights["head.conv2.weight"].shape[0],
    )


def _renamed(weights: Weights) -> Iterator[tuple[str, torch.Tensor]]:
    """The authors' tensors under transformers' names."""
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        if part == "pretrained":
            yield from _of_backbone(rest, tensor)
        elif part == "depth_head":
            yield _of_head(rest), tensor


def _of_backbone(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block is None:
        layer, _, end = name.rpartition(".")
        yield (_LAYERS[name], tensor) if name in _LAYERS else (f"{_LAYERS[layer]}.{end}", tensor)
        return
    into, inner = f"backbone.encoder.layer.{block[1]}", block[2]
    layer, _, end = inner.rpartition(".")
    if layer == "attn.qkv":
        for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            yield f"{into}.attention.attention.{part}.{end}", piece
    elif inner in _IN_BLOCKS:
        yield f"{into}.{_IN_BLOCKS[inner]}", tensor
    else:
        yield f"{into}.{_IN_BLOCKS.get(layer, layer)}.{end}", tensor


def _of_head(name: str) -> str:
    layer, _, end = name.rpartition(".")
    if layer.startswith("projects."):
        return f"neck.reassemble_stage.layers.{layer[9:]}.projection.{end}"
    if layer.startswith("resize_layers."):
        return f"neck.reassemble_stage.layers.{layer[14:]}.resize.{end}"
    inner = layer.removeprefix("scratch.")
    if inner in _HEAD:
        return f"head.{_HEAD[inner]}.{end}"
    rn = re.fullmatch(r"layer(\d)_rn", inner)
    if rn is not None:
        return f"neck.convs.{int(rn[1]) - 1}.{end}"
    net = re.fullmatch(r"refinenet(\d)\.(.+)", inner)
    assert net is not None, name
    inner = net[2].replace("out_conv", "projection")
    inner = inner.replace("resConfUnit", "residual_layer").replace(".conv", ".convolution")
    return f"neck.fusion_stage.layers.{STAGES - int(net[1])}.{inner}.{end}"
