"""Chroma in every layout against diffusers' own pipeline on the same weights."""

from collections.abc import Iterator
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from generation.families.chroma import CHROMA
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.model_sampling import flow
from generation.runtime.tokenizers import load_t5_tokenizer
from tests.fixtures import chroma, flux, ldm, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import (
    BOUND,
    HEIGHT,
    STEPS,
    WIDTH,
    Drawing,
    Pixels,
    apart,
    checkpoint,
    start_picture,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array:DeprecationWarning", "ignore:`FluxPosEmbed` is deprecated:FutureWarning"
)
ALL = ("t5xxl", "vae")
ASKED = {"prompt": "a cat in the fog", "negative_prompt": "blurred", "guidance_scale": 4.0}


class ChromaModels(Drawing):
    """The same weights as a folder, as files of parts and as one file; and others."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        self.folder = chroma.tiny_chroma(root / "chroma")
        other = chroma.tiny_chroma(root / "other", 1)
        one = chroma.one_file(self.folder, root / "one.safetensors")
        split = chroma.split(self.folder, root / "split")
        self.configs = sdxl.configs_of("chroma", self.folder, root / "configs")
        self.files = {
            "folder": checkpoint(self.folder, "chroma", carries=ALL),
            "split": checkpoint(split, "chroma", parts=chroma.parts_of(root / "split")),
            "one file": checkpoint(one, "chroma", carries=ALL),
            "other": checkpoint(other, "chroma", carries=ALL),
        }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaModels]:
    found = ChromaModels(tmp_path_factory.mktemp("chroma"))
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


@pytest.fixture(scope="module")
def reference(models: ChromaModels) -> Pixels:
    """What diffusers draws. The masks that it makes are numbers, which attention adds to what it
    should hide: here they are truth values, as in the original code.
    """
    pipe = diffusers.ChromaPipeline.from_pretrained(models.folder, tokenizer=load_t5_tokenizer())
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        words, _, mask, other_words, _, other_mask = pipe.encode_prompt(
            str(ASKED["prompt"]), negative_prompt=str(ASKED["negative_prompt"])
        )
    found = pipe(
        prompt_embeds=words,
        prompt_attention_mask=mask.bool(),
        negative_prompt_embeds=other_words,
        negative_prompt_attention_mask=other_mask.bool(),
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=ASKED["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(a_request().seed),
    )
    return np.asarray(found.images[0]).astype(float)


@pytest.mark.parametrize("layout", ["folder", "split", "one file"])
def test_every_layout_draws_diffusers_picture(
    layout: str, models: ChromaModels, reference: Pixels
) -> None:
    """Without a token that is only there to be hidden."""
    found = models.draw(models.files[layout], **ASKED)
    assert reference.std() > 20
    assert apart(found, reference) <= BOUND


def test_a_prompt_has_one_token_behind_it(models: ChromaModels) -> None:
    """None of ComfyUI's; and no other token sees it."""
    encoder = models.server._parts.checkpoint(models.files["folder"]).encoders[0]
    states = {
        conventions: encoder.encode(["a cat"], 1, {}, conventions)["a cat"].states
        for conventions in ("a1111", "comfyui")
    }
    length = states["comfyui"].shape[1]
    assert states["a1111"].shape[1] == length + 1
    assert torch.allclose(states["a1111"][:, :length], states["comfyui"], atol=1e-5)


def test_comfyui_shifts_it_as_flux() -> None:
    """Its authors, and diffusers, don't."""
    settings, half = {"shift": 1.0}, torch.tensor(500.0)
    ours, theirs = (
        flow(settings, conventions, 4096, steady=CHROMA.comfyui_shift)
        for conventions in ("a1111", "comfyui")
    )
    assert float(ours.sigma_of(half)) == pytest.approx(0.5)
    assert float(theirs.sigma_of(half)) == pytest.approx(np.exp(1.15) / (np.exp(1.15) + 1))


@pytest.mark.slow
def test_one_after_the_other_draws_what_the_first_drew(models: ChromaModels) -> None:
    """To the bit; and another negative prompt draws something else."""
    first = models.draw(models.files["split"], **ASKED)
    models.draw(models.files["other"], **ASKED)
    assert np.array_equal(models.draw(models.files["split"], **ASKED), first)
    other = models.draw(models.files["split"], **ASKED | {"negative_prompt": "a dog"})
    assert apart(other, first) > 0


@pytest.mark.slow
def test_a_start_picture_comes_through(models: ChromaModels) -> None:
    _, begun = start_picture()
    kept = models.draw(models.files["folder"], denoising_strength=0.0, **begun)
    changed = models.draw(models.files["folder"], denoising_strength=0.7, **begun)
    assert apart(changed, kept) > BOUND


@pytest.mark.slow
@pytest.mark.parametrize("names", ["diffusers", "kohya", "comfyui"])
def test_loras_of_every_trainer_change_the_same_layers(
    names: str, models: ChromaModels, tmp_path: Path
) -> None:
    expected = models.draw(models.files["folder"], loras=(_lora(tmp_path, "diffusers"),))
    plain = models.draw(models.files["folder"])
    assert apart(expected, plain) > BOUND
    found = models.draw(models.files["split"], loras=(_lora(tmp_path, names),))
    assert apart(found, expected) <= BOUND


def _lora(folder: Path, names: str) -> ModelFile:
    """The same change of a fused layer and of one that tells, in a trainer's names."""
    generator = torch.Generator("cpu").manual_seed(3)
    width, told = flux.HEAD * flux.HEADS, chroma.TOLD_WIDTH
    tensors: ldm.Tensors = {}
    for layer, modules, wide in (
        (
            "double_blocks.0.img_attn.qkv",
            [f"transformer_blocks.0.attn.to_{part}" for part in "qkv"],
            width,
        ),
        ("distilled_guidance_layer.layers.1.in_layer", [f"{chroma.TOLD}layers.1.linear_1"], told),
    ):
        down = torch.randn((4, wide), generator=generator)
        up = torch.randn((len(modules) * wide, 4), generator=generator) * 0.3
        if names == "diffusers":
            for module, part in zip(modules, up.chunk(len(modules)), strict=True):
                tensors[f"transformer.{module}.lora_A.weight"] = down.clone()
                tensors[f"transformer.{module}.lora_B.weight"] = part.clone()
        elif names == "kohya":
            flat = f"lora_unet_{layer.replace('.', '_')}"
            tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
            tensors[f"{flat}.alpha"] = torch.tensor(4.0)
        else:
            tensors[f"diffusion_model.{layer}.lora_A.weight"] = down
            tensors[f"diffusion_model.{layer}.lora_B.weight"] = up
    file = folder / f"{names}.safetensors"
    flux.save(tensors, file)
    return ModelFile(kind=ModelKind.LORA, name=names, path=file, family="chroma")
