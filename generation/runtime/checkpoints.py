"""Model files become networks, without a hub: each part by its own class, each tensor in its place.

A single file has the tensors of all parts under the names of the original code (CompVis' ldm,
Stability's sgm, OpenCLIP); diffusers knows what each is called in its modules.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import accelerate
import diffusers
import structlog
import torch
from diffusers.loaders import single_file_utils

from generation.families import FAMILIES, Family, TextEncoder, family_of
from generation.families.control import kinds_of
from generation.families.encoders import ENCODERS
from generation.models import ModelFile
from generation.request_fields import Conventions
from generation.runtime.autoencoders import MAKES, PREFIXES, factor_of, without_prefix
from generation.runtime.conditioning import Conditioner
from generation.runtime.encoders import LOADING, Encoder, clip
from generation.runtime.encoders.clip import ClipEncoder
from generation.runtime.faults import JobError
from generation.runtime.model_sampling import ModelSampling, discrete, flow
from generation.runtime.networks import ARCHITECTURES, Architecture
from generation.runtime.networks.architecture import ControlMake
from generation.runtime.quantising import quantise
from generation.runtime.tokenizers import CONFIGS, load_tokenizer
from generation.runtime.weights import (
    Weights,
    check_whole,
    filled,
    read_folder,
    read_tensors,
    variant_of,
)

log = structlog.get_logger(__name__)

LOOK_SIDE: Final = 32
"""Latents a side that a denoiser is shown to see what it predicts."""
NOISE_SHARE: Final = 0.5
"""Of pure noise, an epsilon model gives back nearly all, one that predicts v next to nothing."""
UNET: Final = "model.diffusion_model."
CONTROL: Final = "control_model."
UNION_PARTS: Final = (
    *("task_embedding", "transformer_layes.", "transformer_layers."),
    *("spatial_ch_projs.", "control_add_embedding."),
)
"""How the names begin of what a union has beside a ControlNet's parts, in every layout: the layers
as their author spelt them, and as they are spelt."""
CLIP_NAMES: Final = (
    "cond_stage_model.transformer.text_model.",
    "cond_stage_model.transformer.",  # checkpoints of 2022
    "conditioner.embedders.0.transformer.text_model.",
)
"""Before the weights of a CLIP as transformers has it."""
OPENCLIP_NAMES: Final = (
    "cond_stage_model.model.",
    "conditioner.embedders.0.model.",
    "conditioner.embedders.1.model.",
)
"""Before the weights of an OpenCLIP."""
TRANSFORMER: Final = "transformer."
"""Before the weights of text encoders in one file, as ComfyUI writes it; beside them lie others."""

ADAPTER: Final = "t2i-adapter"
"""The variant of what is no ControlNet but is used as one."""


@dataclass
class Checkpoint:
    """A model whose parts are loaded."""

    file: ModelFile
    family: Family
    denoiser: Any
    vae: Any
    encoders: tuple[Encoder, ...]
    noise_schedule: dict[str, Any]
    """The settings of its scheduler, as diffusers writes them."""
    conditioner: Conditioner
    untold: bool = False
    """Whether it is not known yet what its denoiser predicts."""

    @property
    def text_encoders(self) -> tuple[Any, ...]:
        """The networks that read the prompt."""
        return tuple(encoder.module for encoder in self.encoders)

    @property
    def parts(self) -> tuple[Any, ...]:
        """All its networks."""
        return (self.denoiser, self.vae, *self.text_encoders)

    @property
    def factor(self) -> int:
        """Pixels of a latent's side; a small VAE has fewer levels than its family's own."""
        return factor_of(self.vae)

    @property
    def architecture(self) -> Architecture:
        """How its denoiser is called."""
        return ARCHITECTURES[self.family.network]

    @property
    def further_channels(self) -> int:
        """How many channels its denoiser is shown beside the latents."""
        return self.architecture.further(self.denoiser)

    def sampling(
        self, conventions: Conventions, size: tuple[int, int], steps: int
    ) -> ModelSampling:
        """What its denoiser's answers mean, for pictures of that size drawn in so many steps."""
        if self.family.prediction != "flow":
            return discrete(self.noise_schedule, conventions)
        family = self.family
        across, down = (-(-side // (family.latents.token * self.factor)) for side in size)
        return flow(
            self.noise_schedule,
            conventions,
            across * down,
            steps=steps if family.shift_by_steps else 0,
            steady=family.comfyui_shift,
        )


def load_checkpoint(model: ModelFile, dtype: torch.dtype) -> Checkpoint:
    """All parts of a checkpoint, on the CPU. Raises JobError for one that lacks something."""
    family = family_of(model)
    if family.denoiser == "transformer":
        return _load_parts(model, family, dtype)
    if model.is_folder:
        return _load_folder(model, family, dtype)
    config = CONFIGS / family.config
    tensors = read_tensors(model.path)
    schedule = _json(config / "scheduler" / "scheduler_config.json")
    if model.v_prediction is not None:
        schedule["prediction_type"] = "v_prediction" if model.v_prediction else "epsilon"
    if model.zero_terminal_snr:
        schedule["rescale_betas_zero_snr"] = True
    architecture = ARCHITECTURES[family.network]
    unet_config, unet = architecture.read(tensors, _json(config / "unet" / "config.json"))
    encoders = []
    for row in family.encoders:
        module = clip.empty(row, config / row.part)
        encoders.append(
            ClipEncoder(
                row,
                filled(module, _words(tensors, module), dtype, model, "text encoder"),
                load_tokenizer(config / row.tokenizer),
            )
        )
    return _joined(
        model,
        family,
        filled(_empty(architecture.model, unet_config), unet, dtype, model, "UNet", model.quantise),
        _vae(family, tensors, _json(config / "vae" / "config.json"), dtype, model),
        encoders,
        schedule,
    )


def _load_parts(model: ModelFile, family: Family, dtype: torch.dtype) -> Checkpoint:
    """A checkpoint of a family made of parts: in one file, in several, or in a folder that may lack
    some; see `ModelFile.parts`.
    """
    config, schedule = CONFIGS / family.config, _schedule(model, family)
    architecture, rest = ARCHITECTURES[family.network], Weights()
    if model.is_folder:
        within = model.path / family.denoiser
        settings, weights = _json(within / "config.json"), read_folder(within)
    else:
        own, rest = denoiser_apart(read_tensors(model.path))
        settings, weights = architecture.read(own, {})
        del own
    empty = _empty(architecture.model, settings)
    denoiser = filled(empty, weights, dtype, model, "denoiser", model.quantise)
    del weights

    encoders: list[Encoder] = []
    for row in family.encoders:
        if row.optional and row.file not in {*model.carries, *model.parts}:
            continue
        encoder = _load_encoder(model, family, row, dtype, rest)
        # what memory has no room for while it rests
        encoder.module.reload = partial(_load_encoder, model, family, row, dtype)
        encoders.append(encoder)
    file = _part(model, "vae")
    if file.is_folder:
        within = file.path / "vae" if file is model else file.path
        latents, figures = read_folder(within), within / "config.json"
    else:
        latents = carried(rest, "vae") if file is model else read_tensors(file.path)
        figures = config / "vae" / "config.json"
    vae = _vae(family, latents, _json(figures), dtype, file)
    return _joined(model, family, denoiser, vae, encoders, _json(schedule))


def _load_encoder(
    model: ModelFile,
    family: Family,
    row: TextEncoder,
    dtype: torch.dtype,
    rest: Weights | None = None,
) -> Encoder:
    """A text encoder of a checkpoint; `rest` are what its file has beside the denoiser, where that
    was read.
    """
    config, file = CONFIGS / family.config, _part(model, row.file)
    if file is model and not model.is_folder:
        if rest is None:
            rest = denoiser_apart(read_tensors(model.path))[1]
        words, where = carried(rest, row.file), config / row.part
    elif file.is_folder:
        where = file.path / row.part if file is model else file.path
        words = read_folder(where)
    else:
        words, where = read_tensors(file.path), config / row.part
        for beside in file.parts.values():
            words = {**words, **read_tensors(beside.path)}
    return LOADING[row.make](row, words, where, config / row.tokenizer, dtype, file)


def _part(model: ModelFile, name: str) -> ModelFile:
    """The file that a part of a checkpoint lies in: its own, or another. Raises JobError."""
    file = model if name in model.carries else model.parts.get(name)
    if file is None:
        raise JobError("model_broken", file=model.shown, why=f"no file is its {name}")
    return file


def denoiser_apart(tensors: Weights) -> tuple[Weights, Weights]:
    """The tensors of the denoiser, without what stands before their names, and all others."""
    for prefix in ("model.diffusion_model.", "diffusion_model."):
        if any(name.startswith(prefix) for name in tensors):
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            return own, {n: t for n, t in tensors.items() if not n.startswith(prefix)}
    return tensors, {}


def carried(tensors: Weights, name: str) -> Weights:
    """Of a checkpoint's tensors those of a part, as ComfyUI and Stability AI write them."""
    if name == "vae":
        return {n: t for n, t in tensors.items() if n.startswith(PREFIXES[:-1])}
    prefix = ENCODERS[name].within.removesuffix(TRANSFORMER)
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _schedule(model: ModelFile, family: Family) -> Path:
    """The settings of its scheduler: its folder's, or those of its variant or its family."""
    config = CONFIGS / family.config
    folders = (*((model.path,) if model.is_folder else ()), config / model.variant, config)
    files = [folder / "scheduler" / "scheduler_config.json" for folder in folders]
    found: Path = next((file for file in files if file.is_file()), files[-1])
    return found


def _joined(
    model: ModelFile,
    family: Family,
    denoiser: Any,
    vae: Any,
    encoders: Sequence[Encoder],
    noise_schedule: dict[str, Any],
) -> Checkpoint:
    width = denoiser.config.get("joint_attention_dim", 0)
    conditioner = Conditioner(family, encoders, width)
    return Checkpoint(model, family, denoiser, vae, tuple(encoders), noise_schedule, conditioner)


def load_vae(model: ModelFile, dtype: torch.dtype) -> Any:
    """A VAE of its own, on the CPU."""
    family = FAMILIES[model.family]
    if model.is_folder:
        return _load_part(MAKES[family.latents.make].model, model.path, dtype, model)
    config = _json(CONFIGS / family.config / "vae" / "config.json")
    return _vae(family, read_tensors(model.path), config, dtype, model)


def load_controlnet(model: ModelFile, dtype: torch.dtype) -> Any:
    """A ControlNet, a union of several or a T2I-Adapter, on the CPU."""
    make = ARCHITECTURES[FAMILIES[model.family].network].control
    if make is not None:
        return _load_control(make, model, dtype)
    if model.variant == ADAPTER:
        return _load_adapter(model, dtype)
    if kinds_of(model):
        return _load_union(model, dtype)
    if model.is_folder:
        return _load_part(diffusers.ControlNetModel, model.path, dtype, model)
    config = _json(CONFIGS / FAMILIES[model.family].config / "controlnet" / "config.json")
    tensors = _control_names(read_tensors(model.path), config)
    module = _empty(diffusers.ControlNetModel, config)
    return filled(module, tensors, dtype, model, "ControlNet")


def _load_control(make: ControlMake, model: ModelFile, dtype: torch.dtype) -> Any:
    """Of a transformer."""
    if model.is_folder:
        settings, weights = _json(model.path / "config.json"), read_folder(model.path)
    else:
        settings, weights = make.read(read_tensors(model.path))
    module = filled(_empty(make.model, settings), weights, dtype, model, "ControlNet")
    make.noted(module, weights, model.name)
    return module


def _load_union(model: ModelFile, dtype: torch.dtype) -> Any:
    if model.is_folder:
        return _load_part(diffusers.ControlNetUnionModel, model.path, dtype, model)
    config = _json(CONFIGS / FAMILIES[model.family].config / "controlnet_union" / "config.json")
    tensors = read_tensors(model.path)
    own = {
        name.replace("transformer_layers.", "transformer_layes.").replace("in_proj.", "in_proj_"): t
        for name, t in ((name.removeprefix(CONTROL), t) for name, t in tensors.items())
        if name.startswith(UNION_PARTS)
    }
    if "task_embedding" in own:
        config["num_control_type"] = len(own["task_embedding"])
    module = _empty(diffusers.ControlNetUnionModel, config)
    return filled(module, _control_names(tensors, config) | own, dtype, model, "ControlNet Union")


def _control_names(tensors: Weights, config: dict[str, Any]) -> Weights:
    """Of a ControlNet, under diffusers' names; what SDXL's are told of sizes it leaves behind."""
    sizes = {
        f"add_embedding.linear_{number}.{end}": found
        for number, place in ((1, 0), (2, 2))
        for end in ("weight", "bias")
        for prefix in ("", CONTROL)
        if (found := tensors.get(f"{prefix}label_emb.0.{place}.{end}")) is not None
    }
    converted: Weights = single_file_utils.convert_controlnet_checkpoint(tensors, config)
    return converted | sizes


def _load_adapter(model: ModelFile, dtype: torch.dtype) -> Any:
    if model.is_folder:
        return _load_part(diffusers.T2IAdapter, model.path, dtype, model)
    config = _json(CONFIGS / FAMILIES[model.family].config / "t2i_adapter" / "config.json")
    tensors = _adapter_names(read_tensors(model.path), config["num_res_blocks"])
    first = tensors.get("adapter.conv_in.weight")
    if first is not None:
        config["in_channels"] = first.shape[1] // config["downscale_factor"] ** 2
    return filled(_empty(diffusers.T2IAdapter, config), tensors, dtype, model, "T2I-Adapter")


def _adapter_names(tensors: Weights, per_level: int) -> Weights:
    """Under diffusers' names; the original ones count the blocks of all levels in one row."""
    found: Weights = {}
    for full_name, tensor in tensors.items():
        name = full_name.removeprefix("adapter.")
        block = re.fullmatch(r"body\.(\d+)\.(block\d|in_conv)\.(\w+)", name)
        if block:
            level, number = divmod(int(block[1]), per_level)
            if block[2] != "in_conv":
                name = f"body.{level}.resnets.{number}.{block[2]}.{block[3]}"
            elif number == 0 and f"body.{block[1]}.block1.weight" in tensors:
                name = f"body.{level}.in_conv.{block[3]}"
        found[f"adapter.{name}"] = tensor
    return found


def look_what_it_predicts(model: Checkpoint) -> None:
    """Set the prediction type of a model whose file says nothing of it, by asking the denoiser.

    At the last timestep its input is nearly all noise: a model that predicts epsilon answers with
    its input, and one that predicts v with little of it. What overflows in half precision there is
    Stable Diffusion 2.1 of 768 pixels, which predicts v.
    """
    unet = model.denoiser
    generator = torch.Generator("cpu").manual_seed(0)
    latents = model.family.latents.channels
    noise = torch.randn((1, latents, LOOK_SIDE, LOOK_SIDE), generator=generator)
    beside = torch.zeros(1, unet.config.in_channels - latents, LOOK_SIDE, LOOK_SIDE)
    shown = torch.cat((noise, beside), dim=1).to(unet.device, unet.dtype)
    last = int(model.noise_schedule.get("num_train_timesteps", 1000)) - 1
    words = torch.zeros(1, 77, unet.config.cross_attention_dim, device=unet.device)
    with torch.no_grad():
        prompts = model.conditioner.prompts("", "", 1)
        words = prompts.parts[0][1].at(0).cross.to(unet.device, unet.dtype)
        answer = unet(shown, last, encoder_hidden_states=words).sample.float().cpu()
    share = float((answer * noise).sum() / noise.square().sum())
    kind = "epsilon" if share > NOISE_SHARE else "v_prediction"
    log.info("prediction type found", kind=kind, share_of_noise=round(share, 3))
    model.noise_schedule["prediction_type"] = kind


def _load_folder(model: ModelFile, family: Family, dtype: torch.dtype) -> Checkpoint:
    """Part by part: of what else model_index.json lists nothing is needed."""
    folder = model.path
    encoders: list[Encoder] = []
    for row in family.encoders:
        words = read_folder(folder / row.part)
        tokenizer = folder / row.tokenizer
        if not tokenizer.is_dir():
            tokenizer = CONFIGS / family.config / row.tokenizer
        encoders.append(LOADING[row.make](row, words, folder / row.part, tokenizer, dtype, model))
    class_ = ARCHITECTURES[family.network].model
    denoiser = _load_part(class_, folder / family.denoiser, dtype, model)
    if model.quantise:
        quantise(denoiser, model.quantise)
    return _joined(
        model,
        family,
        denoiser,
        _load_part(diffusers.AutoencoderKL, folder / "vae", dtype, model),
        encoders,
        _json(_schedule(model, family)),
    )


def _load_part(class_: Any, folder: Path, dtype: torch.dtype, model: ModelFile) -> Any:
    found, told = class_.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        variant=variant_of(folder),
        local_files_only=True,
        output_loading_info=True,
        low_cpu_mem_usage=False,
    )
    check_whole(told["missing_keys"], model, folder.name)
    return found.eval()


def _empty(class_: Any, config: Mapping[str, Any]) -> Any:
    with accelerate.init_empty_weights(include_buffers=False):
        return class_.from_config(dict(config))


def _vae(
    family: Family, tensors: Weights, config: dict[str, Any], dtype: torch.dtype, model: ModelFile
) -> Any:
    make = MAKES[family.latents.make]
    own = make.named(without_prefix(tensors), config)
    return filled(_empty(make.model, config), own, dtype, model, "VAE")


def _words(tensors: Weights, module: Any) -> Weights:
    """The weights of a text encoder under the names that its module gives them.

    SDXL's two are told apart by their width.
    """
    inner = getattr(module, "text_model", module)
    width = inner.embeddings.token_embedding.weight.shape[1]
    for prefix in CLIP_NAMES:
        embedding = tensors.get(f"{prefix}embeddings.token_embedding.weight")
        if embedding is not None and embedding.shape[1] == width:
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            return clip.in_names_of(module, own)
    for prefix in OPENCLIP_NAMES:
        embedding = tensors.get(f"{prefix}token_embedding.weight")
        if embedding is not None and embedding.shape[1] == width:
            found = single_file_utils.convert_open_clip_checkpoint(module, tensors, prefix=prefix)
            return clip.in_names_of(
                module, {n.removeprefix("text_model."): t for n, t in found.items()}
            )
    return {}


def _json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
