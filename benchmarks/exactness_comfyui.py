"""ComfyUI beside the engine, on the processor: what `exactness` compares with.

It is a checkout that is named, unchanged, and draws through the nodes of its usual workflow. Of
what it imports, torchvision and torchaudio are stood in for by empty modules: no node that is used
here calls them.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from generation.request import GenerationRequest
from generation.samplers import SAMPLERS, SCHEDULES, schedule_of

STOOD_IN: Final = ("torchvision", "torchaudio")


class _Empty(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] in STOOD_IN:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Empty(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is in it."""


class ComfyUI:
    """A single file, drawn with as ComfyUI draws."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        sys.meta_path.insert(0, _Finder())
        sys.path.insert(0, str(checkout))
        arguments = sys.argv
        sys.argv = [arguments[0], "--cpu", "--force-fp32", "--fp32-unet", "--fp32-vae"]
        sys.argv += ["--fp32-text-enc"]
        importlib.import_module("comfy.options").enable_args_parsing()
        self.nodes = importlib.import_module("nodes")
        self.sd = importlib.import_module("comfy.sd")
        self.utils = importlib.import_module("comfy.utils")
        self.controlnet = importlib.import_module("comfy.controlnet")
        sys.argv = arguments
        self.folder = folder
        self.model, self.clip, self.vae = self._loaded()

    def _loaded(self) -> tuple[Any, Any, Any]:
        """Denoiser, text encoders and VAE."""
        file = self.folder / "single.safetensors"
        found: tuple[Any, ...] = self.sd.load_checkpoint_guess_config(str(file))
        return found[0], found[1], found[2]

    def _texts(self, request: GenerationRequest, clip: Any) -> tuple[Any, Any]:
        """What is wanted and what is not, as its nodes hand them on."""
        encode = self.nodes.CLIPTextEncode().encode
        return encode(clip, request.prompt)[0], encode(clip, request.negative_prompt)[0]

    def _guidance(self, request: GenerationRequest) -> float:
        """What its sampler is told."""
        return request.guidance_scale

    @torch.no_grad()
    def draw(self, request: GenerationRequest, image: Image.Image) -> np.ndarray[Any, Any]:
        """The picture, (H, W, 3) of bytes."""
        nodes, model, clip = self.nodes, self.model, self.clip
        for use in request.loras:
            tensors = self.utils.load_torch_file(str(self.folder / "models" / "lora.safetensors"))
            model, clip = self.sd.load_lora_for_models(model, clip, tensors, use.weight, use.weight)
        if request.clip_skip > 1:
            (clip,) = nodes.CLIPSetLastLayer().set_last_layer(clip, -request.clip_skip)
        wanted, unwanted = self._texts(request, clip)
        pixels = torch.from_numpy(np.asarray(image).astype(np.float32) / 255.0)[None]
        for control in request.controls:
            net = self.controlnet.load_controlnet(str(self.folder / "net.safetensors"))
            wanted, unwanted = nodes.ControlNetApplyAdvanced().apply_controlnet(
                wanted, unwanted, net, pixels, control.scale, 0.0, 1.0
            )
        if request.init_picture is None:
            (latent,) = nodes.EmptyLatentImage().generate(request.width, request.height, 1)
        else:
            (latent,) = nodes.VAEEncode().encode(self.vae, pixels)
        (samples,) = nodes.KSampler().sample(
            model,
            request.seed,
            request.steps,
            self._guidance(request),
            SAMPLERS[request.sampler].comfyui,
            SCHEDULES[schedule_of(request)] or "normal",
            wanted,
            unwanted,
            latent,
            denoise=request.denoising_strength if request.init_picture else 1.0,
        )
        (drawn,) = nodes.VAEDecode().decode(self.vae, samples)
        shown = np.clip(255.0 * drawn[0].numpy(), 0, 255)
        found: np.ndarray[Any, Any] = shown.astype(np.uint8)
        return found
