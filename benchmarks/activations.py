"""What networks need beside their weights: `python -m benchmarks.activations`.

Networks of full size are called on torch's meta device, which computes shapes and no numbers: what
is alive at once is added up, attention taken as fused (no matrix of tokens by tokens), as it is on
every GPU that torch has kernels for. In half precision, bytes. What a kernel takes to work in is
not in it, nor what an allocator can't use again: `generation/memory_needs.py` adds for both.
"""

import json
import logging
import warnings
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from generation.families.flux2 import READ
from generation.runtime.networks.z_image_control import lent
from generation.runtime.streaming import need_of, size_of

CONFIGS: Final = Path("generation/runtime/configs")
HALF: Final = torch.float16
SIDES: Final = (512, 1024)
WORDS: Final = 77


def main() -> None:
    """Print the tables."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    console = Console(width=120)
    working = Table("Denoiser", "a pixel of a row", "whatever the size", title="Beside the weights")
    weights = Table("Part", "weights", "by blocks", "by leaves", title="Weights, and streamed")
    for title, network, call in denoisers():
        small, large = (peak(network, partial(call, side=side)) for side in SIDES)
        pixels = SIDES[1] ** 2 - SIDES[0] ** 2
        slope = (large - small) / pixels
        working.add_row(title, f"{slope:.0f}", f"{large - slope * SIDES[1] ** 2:,.0f}")
        weights.add_row(title, *_figures(network))
    for title, network in encoders():
        weights.add_row(title, *_figures(network))
    coding = Table("VAE", "decoding", "encoding", title="Beside the weights, a pixel")
    for title, vae, latents, picture in vaes():
        decoded = peak(vae, partial(_decode, shape=latents)) / 2**20
        encoded = peak(vae, partial(_encode, shape=picture)) / 2**20
        coding.add_row(title, f"{decoded:.0f}", f"{encoded:.0f}")
        weights.add_row(f"VAE of {title}", *_figures(vae))
    for table in (working, weights, coding):
        console.print(table)


def _figures(network: Any) -> tuple[str, ...]:
    return tuple(f"{figure:,}" for figure in (size_of(network), *need_of(network)))


def denoisers() -> list[tuple[str, Any, Callable[..., Any]]]:
    """Each with how it is called for a square picture of so many pixels a side."""
    unets = []
    for name in ("sd1", "sd2", "sdxl", "sdxl-refiner"):
        config = json.loads((CONFIGS / name / "unet" / "config.json").read_text())
        network = _on_meta(lambda config=config: diffusers.UNet2DConditionModel.from_config(config))
        unets.append((f"{name} UNet", network, _call_unet))
    return [
        *unets,
        ("SD3.5 medium", _sd3(24, 384, range(13)), _call_sd3),
        ("SD3.5 large", _sd3(38, 192, ()), _call_sd3),
        ("Flux.1", _on_meta(diffusers.FluxTransformer2DModel, guidance_embeds=True), _call_flux),
        ("Flux.2 Klein 4B", _flux2(5, 20, 24, 7680), _call_flux2),
        ("Flux.2 Klein 9B", _flux2(8, 24, 32, 12288), _call_flux2),
        ("Qwen-Image", _on_meta(diffusers.QwenImageTransformer2DModel), _call_qwen_image),
        ("Flux.1 ControlNet Union", _flux_union(), _call_flux_union),
        ("SD3.5 large ControlNet", _sd3_blocks(), _call_sd3_blocks),
        ("Z-Image", _on_meta(diffusers.ZImageTransformer2DModel), _call_z_image),
        ("Z-Image and its ControlNet 2.1", _z_image_steered(), _call_z_image_steered),
    ]


def encoders() -> list[tuple[str, Any]]:
    """The text encoders."""
    clip = transformers.CLIPTextModelWithProjection
    found = [
        (title, _on_meta(clip, transformers.CLIPTextConfig.from_pretrained(CONFIGS / folder)))
        for title, folder in (
            ("CLIP L", "sd1/text_encoder"),
            ("OpenCLIP H", "sd2/text_encoder"),
            ("OpenCLIP bigG", "sdxl/text_encoder_2"),
        )
    ]
    config = transformers.T5Config(
        vocab_size=32128,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    return [
        *found,
        ("T5 XXL", _on_meta(transformers.T5EncoderModel, config)),
        ("Qwen3 4B, for Flux.2", _qwen3(2560, 9728)),
        ("Qwen3 8B, for Flux.2", _qwen3(4096, 12288)),
        ("Qwen3 4B, for Z-Image", _qwen3(2560, 9728, 35)),
        ("Qwen2.5 7B, for Qwen-Image", _qwen2()),
    ]


def _qwen2() -> Any:
    config = transformers.Qwen2Config(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
    )
    return _on_meta(transformers.Qwen2Model, config)


def _qwen3(width: int, inner: int, layers: int = max(READ)) -> Any:
    """Up to the last of the states that are read."""
    config = transformers.Qwen3Config(
        vocab_size=151936,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
    )
    return _on_meta(transformers.Qwen3Model, config)


def vaes() -> list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]]:
    """Each with the shapes of the latents and of the picture of 1024 pixels a side."""
    return [
        ("SDXL", _vae("sdxl", diffusers.AutoencoderKL), (1, 4, 128, 128), (1, 3, 1024, 1024)),
        (
            "Qwen-Image",
            _vae("qwen-image", diffusers.AutoencoderKLQwenImage),
            (1, 16, 1, 128, 128),
            (1, 3, 1, 1024, 1024),
        ),
    ]


def _vae(family: str, class_: Any) -> Any:
    config = json.loads((CONFIGS / family / "vae" / "config.json").read_text())
    return _on_meta(lambda: class_.from_config(config))


def _sd3(layers: int, positions: int, dual: Any) -> Any:
    return _on_meta(
        diffusers.SD3Transformer2DModel,
        sample_size=128,
        in_channels=16,
        out_channels=16,
        num_layers=layers,
        num_attention_heads=layers,
        attention_head_dim=64,
        caption_projection_dim=layers * 64,
        joint_attention_dim=4096,
        pooled_projection_dim=2048,
        pos_embed_max_size=positions,
        qk_norm="rms_norm",
        dual_attention_layers=tuple(dual),
    )


def _flux2(doubles: int, singles: int, heads: int, words: int) -> Any:
    return _on_meta(
        diffusers.Flux2Transformer2DModel,
        num_layers=doubles,
        num_single_layers=singles,
        num_attention_heads=heads,
        joint_attention_dim=words,
        guidance_embeds=False,
    )


def _flux_union() -> Any:
    """The largest ControlNet that is common: Shakker Labs' Union Pro."""
    return _on_meta(
        diffusers.FluxControlNetModel,
        num_layers=5,
        num_single_layers=10,
        num_mode=10,
        guidance_embeds=True,
    )


def _sd3_blocks() -> Any:
    """Stability AI's."""
    return _on_meta(
        diffusers.SD3ControlNetModel,
        num_layers=19,
        num_attention_heads=38,
        joint_attention_dim=None,
        pos_embed_max_size=None,
        pos_embed_type=None,
        use_pos_embed=False,
    )


def _call_sd3_blocks(network: Any, side: int) -> Any:
    return network(
        hidden_states=_empty(1, (side // 16) ** 2, 38 * 64),
        controlnet_cond=_empty(1, 16, side // 8, side // 8),
        pooled_projections=_empty(1, 2048),
        timestep=_empty(1),
        return_dict=False,
    )


def _z_image_steered() -> Any:
    """The ControlNet sees by layers of the transformer."""
    net = _on_meta(
        diffusers.ZImageControlNetModel,
        control_layers_places=list(range(0, 30, 2)),
        control_refiner_layers_places=[0, 1],
        control_in_dim=33,
        add_control_noise_refiner="control_noise_refiner",
    )
    transformer = _on_meta(diffusers.ZImageTransformer2DModel)
    return torch.nn.ModuleList([transformer, net])


def _call_z_image(network: Any, side: int) -> Any:
    return network(*_told_z_image(side), return_dict=False)


def _call_z_image_steered(networks: Any, side: int) -> Any:
    transformer, net = networks
    with lent(transformer, net):
        return net(*_told_z_image(side), [_empty(33, 1, side // 8, side // 8)])


def _told_z_image(side: int) -> tuple[Any, ...]:
    return [_empty(16, 1, side // 8, side // 8)], _empty(1), [_empty(128, 2560)]


def _decode(network: Any, shape: tuple[int, ...]) -> Any:
    return network.decode(_empty(*shape), return_dict=False)


def _encode(network: Any, shape: tuple[int, ...]) -> Any:
    return network.encode(_empty(*shape), return_dict=False)


def _call_unet(network: Any, side: int) -> Any:
    config, further = network.config, {}
    if config.addition_embed_type:
        sizes = 5 if config.cross_attention_dim == 1280 else 6
        further = {
            "added_cond_kwargs": {"text_embeds": _empty(1, 1280), "time_ids": _empty(1, sizes)}
        }
    words = _empty(1, WORDS, config.cross_attention_dim)
    latents, time = _empty(1, 4, side // 8, side // 8), torch.zeros((), device="meta")
    return network(latents, time, encoder_hidden_states=words, return_dict=False, **further)


def _call_sd3(network: Any, side: int) -> Any:
    return network(
        hidden_states=_empty(1, 16, side // 8, side // 8),
        encoder_hidden_states=_empty(1, 2 * WORDS + 256, 4096),
        pooled_projections=_empty(1, 2048),
        timestep=_empty(1),
        return_dict=False,
    )


def _call_flux_union(network: Any, side: int) -> Any:
    hint = _empty(1, (side // 16) ** 2, 64)
    mode = torch.zeros(1, 1, dtype=torch.long, device="meta")
    return _call_flux(network, side, controlnet_cond=hint, controlnet_mode=mode)


def _call_flux(network: Any, side: int, **further: Any) -> Any:
    tokens = (side // 16) ** 2
    return network(
        hidden_states=_empty(1, tokens, 64),
        encoder_hidden_states=_empty(1, 512, 4096),
        pooled_projections=_empty(1, 768),
        timestep=_empty(1),
        guidance=_empty(1),
        img_ids=torch.zeros(tokens, 3, device="meta"),
        txt_ids=torch.zeros(512, 3, device="meta"),
        return_dict=False,
        **further,
    )


def _call_flux2(network: Any, side: int) -> Any:
    tokens = (side // 16) ** 2
    return network(
        hidden_states=_empty(1, tokens, 128),
        encoder_hidden_states=_empty(1, 512, network.config.joint_attention_dim),
        timestep=_empty(1),
        img_ids=torch.zeros(tokens, 4, device="meta"),
        txt_ids=torch.zeros(512, 4, device="meta"),
        return_dict=False,
    )


def _call_qwen_image(network: Any, side: int) -> Any:
    return network(
        hidden_states=_empty(1, (side // 16) ** 2, 64),
        encoder_hidden_states=_empty(1, 512, 3584),
        timestep=_empty(1),
        img_shapes=[[(1, side // 16, side // 16)]],
        return_dict=False,
    )


def _on_meta(make: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    with torch.device("meta"):
        return make(*arguments, **settings).to(HALF).eval()


def _empty(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta", dtype=HALF)


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own are untyped
    """Counts the bytes of the tensors that are made while it is on and still referred to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return made

    def known(self, tensors: Any) -> None:
        """These were there before: weights."""
        for tensor in tensors:
            self._known[tensor.untyped_storage()._cdata] = 0

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known[key] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._known.pop(key, 0)


class Fused(TorchFunctionMode):
    """Attention makes nothing but its answer."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            query, value = given["query"], given["value"]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))


def peak(module: Any, call: Callable[[Any], Any]) -> int:
    """Bytes beside the weights."""
    alive = Alive()
    alive.known([*module.parameters(), *module.buffers()])
    with torch.no_grad(), alive, Fused():
        kept = call(module)
    del kept
    return alive.peak


if __name__ == "__main__":
    main()
