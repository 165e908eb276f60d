"""LoRAs for the demo model: one a style, in the layout that kohya's scripts write."""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from training.art import Art, random_for
from training.captions import sample
from training.latents import encode
from training.loop import Budget, Run, cosine
from training.styles import Style
from training.unet import Captions, Diffusion, load_text, load_vae

RANK = 8
PICTURES = 1536
BATCH = 24
# Attention carries the words; the convolutions carry fine texture, at 16 x 16 nothing else does.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "conv_in", "conv_out")


def train_lora(
    art: Art,
    folder: Path,
    style: Style,
    budget: Budget,
    device: torch.device,
    target: Path,
    pictures: int,
) -> None:
    """Teach the UNet of the run in `folder` one style and write the LoRA to `target`."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet" / "model").to(device)
    unet.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(
            r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=list(TARGETS)
        )
    )
    latents, captions = styled_latents(art, folder, style, device, min(pictures, PICTURES))
    text = Captions(*load_text(folder, device), captions)
    trained: list[dict[str, object]] = [
        {"params": [p for p in unet.parameters() if p.requires_grad]}
    ]
    run = Run(
        folder / f"lora-{style.name}", unet, trained, lr=1e-3, ema_decay=0.98, weight_decay=0.0
    )
    diffusion = Diffusion(device)

    def predict(noisy: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
        made: Tensor = unet(noisy, t, hidden).sample
        return made

    def loss(step: int, progress: float) -> Tensor:
        chosen = torch.randint(0, len(latents), (BATCH,), generator=run.generator)
        hidden = text.encode(chosen, run.generator)
        return diffusion.loss(predict, latents[chosen].to(device), hidden, run.generator)

    run.train(loss, budget, schedule=cosine, warmup=50)
    with run.averaged():
        write_kohya(get_peft_model_state_dict(unet), style, run.step, target)


def styled_latents(
    art: Art, folder: Path, style: Style, device: torch.device, count: int
) -> tuple[Tensor, list[str]]:
    """Latents (N, 4, 16, 16) of scenes in `style`, and captions with its trigger in front."""
    scenes = [sample(random_for("style", style.name, i)) for i in range(count)]
    vae = load_vae(folder, device)
    pictures = [style.apply(art.paint(captioned.scene)) for captioned in scenes]
    forms = (f"{style.trigger} of ", f"{style.trigger}, ")
    captions = [forms[i % 2] + captioned.caption for i, captioned in enumerate(scenes)]
    return encode(vae, pictures), captions


def kohya_key(name: str) -> str:
    """peft's name of a LoRA weight in kohya's spelling.

    'down_blocks.0.resnets.0.conv1.lora_A.weight' becomes
    'lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight'.
    """
    module, _, end = name.rpartition(".lora_")
    side = {"A.weight": "lora_down.weight", "B.weight": "lora_up.weight"}[end]
    return f"lora_unet_{module.replace('.', '_')}.{side}"


def write_kohya(weights: dict[str, Tensor], style: Style, steps: int, target: Path) -> None:
    """Write peft's weights as a kohya file with `ss_*` metadata, in half precision."""
    tensors = {}
    for name, value in weights.items():
        key = kohya_key(name)
        tensors[key] = value.detach().half().cpu().contiguous()
        tensors[key.split(".", 1)[0] + ".alpha"] = torch.tensor(float(RANK)).half()
    metadata = {
        "ss_base_model_version": "darkroom-demo",
        "ss_sd_model_name": "demo",
        "ss_output_name": target.stem,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(float(RANK)),
        "ss_network_args": json.dumps({"conv_dim": str(RANK), "conv_alpha": str(float(RANK))}),
        "ss_resolution": "(128, 128)",
        "ss_steps": str(steps),
        "ss_num_train_images": str(PICTURES),
        "ss_tag_frequency": json.dumps({style.name: {style.trigger: PICTURES}}),
        "ss_trigger_words": style.trigger,
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.title": target.stem,
        "modelspec.trigger_phrase": style.trigger,
        "modelspec.license": "MIT",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".tmp")
    save_file(tensors, beside, metadata=metadata)
    beside.chmod(0o644)
    beside.replace(target)
    print(f"wrote {target}: {target.stat().st_size / 1e6:.2f} MB", flush=True)
