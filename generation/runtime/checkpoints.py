"""Model files become diffusers' pipelines and networks, without a hub."""

from pathlib import Path
from typing import Any

import diffusers
import safetensors
import structlog
import torch
import transformers

from generation.families import FAMILIES
from generation.models import ModelFile
from generation.runtime import prompts
from generation.safetensors_header import read_header

log = structlog.get_logger(__name__)

CONFIGS = Path(__file__).parent / "configs"
OLD_WORDS = "cond_stage_model.transformer."
"""Before its weights; checkpoints of 2022 lack the `text_model.` that followed later."""
LOOK_SIDE = 32
"""Latents a side that a denoiser is shown to see what it predicts."""
NOISE_SHARE = 0.5
"""Of pure noise, an epsilon model gives back nearly all, one that predicts v next to nothing."""


def load_checkpoint(model: ModelFile, dtype: torch.dtype) -> Any:
    """The family's text-to-image pipeline, on the CPU."""
    family = FAMILIES[model.family]
    class_ = getattr(diffusers, family.pipeline)
    common = {"safety_checker": None, "requires_safety_checker": False}
    if model.is_folder:
        return _load_folder(class_, model.path, model.path / "unet", dtype, **common)
    config = CONFIGS / family.config
    pipe = class_.from_single_file(
        str(model.path),
        config=str(config),
        dtype=dtype,
        local_files_only=True,
        **common,
        **_old_text_encoder(model.path, config, dtype),
    )
    changes: dict[str, Any] = {}
    if model.v_prediction:
        changes["prediction_type"] = "v_prediction"
    if model.zero_terminal_snr:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    if changes:
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **changes)
    return pipe


def load_part(model: ModelFile, class_: Any, config: str, dtype: torch.dtype) -> Any:
    """A model of one network, on the CPU.

    `config` is the folder of its kind among its family's configs.
    """
    if model.is_folder:
        return _load_folder(class_, model.path, model.path, dtype)
    return class_.from_single_file(
        str(model.path),
        config=str(CONFIGS / FAMILIES[model.family].config),
        subfolder=config,
        dtype=dtype,
        local_files_only=True,
    )


def look_what_it_predicts(pipe: Any) -> None:
    """Set the prediction type of a pipeline whose file says nothing of it, by asking the denoiser.

    At the last timestep its input is nearly all noise: a model that predicts epsilon answers with
    its input, and one that predicts v with little of it. What overflows in half precision there is
    Stable Diffusion 2.1 of 768 pixels, which predicts v.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    channels = pipe.unet.config.in_channels
    noise = torch.randn((1, channels, LOOK_SIDE, LOOK_SIDE), generator=generator)
    latents = noise.to(pipe._execution_device, pipe.unet.dtype)
    last = pipe.scheduler.config.num_train_timesteps - 1
    with torch.no_grad():
        words, _ = prompts.encode(pipe, "", "", 1)
        answer = pipe.unet(latents, last, encoder_hidden_states=words).sample.float().cpu()
    pipe.maybe_free_model_hooks()
    share = float((answer * noise).sum() / noise.square().sum())
    kind = "epsilon" if share > NOISE_SHARE else "v_prediction"
    log.info("prediction type found", kind=kind, share_of_noise=round(share, 3))
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, prediction_type=kind)


def _load_folder(
    class_: Any, folder: Path, weights: Path, dtype: torch.dtype, **options: Any
) -> Any:
    """`weights` is the folder whose files tell whether the download is one of half size."""
    names = [file.name for file in weights.glob("*.safetensors")]
    half = names and all(".fp16." in name for name in names)
    return class_.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        variant="fp16" if half else None,
        local_files_only=True,
        **options,
    )


def _old_text_encoder(file: Path, config: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The text encoder of a file whose names diffusers does not know, as an argument; or nothing.

    Before transformers 4.31 the names of a CLIPTextModel began where they begin in these files.
    """
    if f"{OLD_WORDS}embeddings.token_embedding.weight" not in read_header(file).shapes:
        return {}
    settings = transformers.CLIPTextConfig.from_pretrained(config / "text_encoder")
    encoder = transformers.CLIPTextModel(settings)
    wanted = encoder.state_dict().keys()
    with safetensors.safe_open(file, "pt") as tensors:
        weights = {
            name: tensors.get_tensor(OLD_WORDS + name)
            for name in wanted
            if OLD_WORDS + name in tensors.keys()  # noqa: SIM118
        }
    encoder.load_state_dict(weights)
    return {"text_encoder": encoder.to(dtype).eval()}
