"""Z-Image in every layout against diffusers' own pipeline on the same weights."""

from collections.abc import Iterator
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from generation.families.z_image import QWEN
from generation.messages import Failed
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.encoders.language_model import LanguageModel
from generation.runtime.tokenizers import load_qwen_tokenizer
from tests.fixtures import flux, ldm, sdxl, z_image
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

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
ALL = ("qwen3-4b", "vae")
LONG = "a cat in the fog, " * 4 + "a dog"
"""With the question that it is put in, more than 32 tokens."""


class ZImageModels(Drawing):
    """The same weights as a folder, as files of parts and as one file; and Turbo."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        self.folder = z_image.tiny_z_image(root / "base")
        turbo = z_image.tiny_z_image(root / "turbo", 1, shift=3.0)
        one = z_image.one_file(self.folder, root / "one.safetensors")
        split = z_image.split(self.folder, root / "split")
        self.configs = sdxl.configs_of("z-image", self.folder, root / "configs")
        self.files = {
            "folder": checkpoint(self.folder, "z-image", carries=ALL),
            "split": checkpoint(split, "z-image", parts=z_image.parts_of(root / "split")),
            "one file": checkpoint(one, "z-image", carries=ALL),
            "turbo": checkpoint(turbo, "z-image", variant="turbo", carries=ALL),
        }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZImageModels]:
    found = ZImageModels(tmp_path_factory.mktemp("z-image"))
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


def _drawn_by_diffusers(folder: Path, prompt: str, guidance: float, negative: str = "") -> Pixels:
    """Its guidance is counted from 0, not from 1."""
    tokenizer = z_image.tokenizer()
    pipe = diffusers.ZImagePipeline.from_pretrained(folder, tokenizer=tokenizer)
    pipe.set_progress_bar_config(disable=True)
    found = pipe(
        prompt,
        negative_prompt=negative,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=guidance - 1,
        generator=torch.Generator("cpu").manual_seed(a_request().seed),
    )
    return np.asarray(found.images[0]).astype(float)


@pytest.fixture(scope="module")
def reference(models: ZImageModels) -> Pixels:
    """What diffusers draws."""
    return _drawn_by_diffusers(models.folder, LONG, 4.0, "fog")


@pytest.mark.parametrize("layout", ["folder", "split", "one file"])
def test_every_layout_draws_diffusers_picture(
    layout: str, models: ZImageModels, reference: Pixels
) -> None:
    """With guidance away from a prompt of another length."""
    asked = {"prompt": LONG, "negative_prompt": "fog", "guidance_scale": 4.0}
    found = models.draw(models.files[layout], **asked)
    assert reference.std() > 20
    assert apart(found, reference) <= BOUND
    assert apart(models.draw(models.files[layout], **asked | {"negative_prompt": ""}), found) > 0


def test_turbo_has_another_shift_and_no_guidance(models: ZImageModels) -> None:
    reference = _drawn_by_diffusers(models.files["turbo"].path, "a cat", 1.0)
    for guidance, negative in ((1.0, ""), (7.0, "fog")):
        asked = {"guidance_scale": guidance, "negative_prompt": negative}
        found = models.draw(models.files["turbo"], prompt="a cat", **asked)
        assert apart(found, reference) <= BOUND


def test_one_after_the_other_draws_what_the_first_drew(models: ZImageModels) -> None:
    """To the bit."""
    first = models.draw(models.files["split"])
    models.draw(models.files["turbo"])
    assert np.array_equal(models.draw(models.files["split"]), first)


def test_a_start_picture_is_noised_as_diffusers_does(models: ZImageModels) -> None:
    """With next to nothing denoised it comes back as the VAE has it."""
    start, begun = start_picture()
    kept = models.draw(models.files["folder"], denoising_strength=0.0, **begun)
    vae = diffusers.AutoencoderKL.from_pretrained(models.folder / "vae")
    values = torch.from_numpy(np.array(start)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        again = vae.decode(vae.encode(values).latent_dist.mean).sample[0]
    expected = (((again + 1) / 2).clamp(0, 1).permute(1, 2, 0) * 255).round().numpy()
    assert apart(kept, expected) <= BOUND
    assert apart(models.draw(models.files["folder"], denoising_strength=0.7, **begun), kept) > BOUND


@pytest.mark.parametrize("names", ["diffusers", "kohya", "ai-toolkit", "comfyui"])
def test_loras_of_every_trainer_change_the_same_layers(
    names: str, models: ZImageModels, tmp_path: Path
) -> None:
    """The layers that diffusers has in pieces change as the one of ComfyUI's files does."""
    expected = models.draw(models.files["folder"], loras=(_lora(tmp_path, "diffusers"),))
    plain = models.draw(models.files["folder"])
    assert apart(expected, plain) > BOUND
    found = models.draw(models.files["split"], loras=(_lora(tmp_path, names),))
    assert apart(found, expected) <= BOUND
    assert np.array_equal(models.draw(models.files["folder"]), plain)


def _lora(folder: Path, names: str) -> ModelFile:
    """The same change of all attention of a block, in a trainer's names."""
    generator = torch.Generator("cpu").manual_seed(3)
    width = z_image.WIDTH
    down, out = (torch.randn((4, width), generator=generator) for _ in range(2))
    up = torch.randn((4 * width, 4), generator=generator) * 0.3
    attention = "layers.1.attention"
    layers = {f"{attention}.to_{part}": up[n * width :][:width] for n, part in enumerate("qkv")}
    last = "out" if names == "comfyui" else "to_out.0"
    if names == "comfyui":
        layers = {f"{attention}.qkv": up[: 3 * width]}
    tensors: ldm.Tensors = {}
    for layer, own in {**layers, f"{attention}.{last}": up[3 * width :]}.items():
        inner = out if layer.endswith(last) else down
        if names == "kohya":
            flat = f"lora_unet_{layer.replace('.', '_')}"
            tensors |= {f"{flat}.lora_down.weight": inner, f"{flat}.lora_up.weight": own}
            tensors[f"{flat}.alpha"] = torch.tensor(4.0)
        else:
            begin = "transformer" if names == "diffusers" else "diffusion_model"
            tensors[f"{begin}.{layer}.lora_A.weight"] = inner
            tensors[f"{begin}.{layer}.lora_B.weight"] = own
    file = folder / f"{names}.safetensors"
    flux.save(tensors, file)
    return ModelFile(kind=ModelKind.LORA, name=names, path=file, family="z-image")


@pytest.mark.parametrize(
    "layer",
    ["lora_te1_model_layers_0_self_attn_q_proj", "text_encoder.layers.0.self_attn.q_proj"],
)
def test_a_lora_of_the_text_encoder_is_heard(
    layer: str, models: ZImageModels, tmp_path: Path
) -> None:
    plain = models.draw(models.files["folder"])
    down, up = torch.randn(4, z_image.TEXT_WIDTH), torch.randn(64, 4)
    file = tmp_path / "words.safetensors"
    flux.save({f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}, file)
    lora = ModelFile(kind=ModelKind.LORA, name="words", path=file, family="z-image")
    assert apart(models.draw(models.files["folder"], loras=(lora,)), plain) > 0


def test_what_a_text_encoder_lacks_is_named(models: ZImageModels, tmp_path: Path) -> None:
    split = models.files["split"]
    weights = sdxl.weights(models.folder / "text_encoder")
    weights = {name: tensor for name, tensor in weights.items() if "1.mlp.up" not in name}
    file = tmp_path / "short.safetensors"
    flux.save(weights, file)
    short = ModelFile(kind=ModelKind.TEXT_ENCODER, name="short", path=file, family="qwen3-4b")
    answer = models.answer(
        checkpoint(split.path, "z-image", parts={**split.parts, "qwen3-4b": short})
    )
    assert isinstance(answer, Failed)
    assert answer.params["file"] == "short.safetensors"


def test_a_prompt_is_put_as_a_question_and_read_whole() -> None:
    encoder = LanguageModel(QWEN, torch.nn.Module(), load_qwen_tokenizer(3))
    # as Qwen3's authors publish them
    cat = [151644, 872, 198, 64, 8251, 151645, 198, 151644, 77091, 198]
    assert encoder.ids("a cat", "a1111") == cat
    plain = encoder.ids("a big lighthouse, fog", "a1111")
    for conventions in ("a1111", "comfyui"):
        assert encoder.ids("a (big:1.3) lighthouse, (fog)", conventions) == plain
    assert len(encoder.ids("fog " * 2000, "a1111")) > 2000


def test_a_prompt_longer_than_the_config_has_places_for_draws(models: ZImageModels) -> None:
    assert models.draw(models.files["folder"], prompt="fog " * 100).std() > 1
