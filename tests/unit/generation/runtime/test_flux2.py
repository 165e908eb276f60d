"""Flux.2 Klein in every layout against diffusers' own pipeline on the same weights."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image

from generation.families.flux2 import KLEIN_4B
from generation.models import ModelFile, ModelKind
from generation.request_fields import Conventions
from generation.runtime import checkpoints
from generation.runtime.encoders.language_model import LanguageModel
from generation.runtime.model_sampling import empirical_shift, flow
from generation.runtime.tokenizers import load_qwen_tokenizer
from tests.fixtures import flux, flux2, ldm, sdxl
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
slow = pytest.mark.slow
"""What draws: its text encoder has as many layers as it takes."""
FAMILY = "flux2-klein-4b"
ALL = ("qwen3-4b", "vae")
PROMPT = "a cat in the fog"


class KleinModels(Drawing):
    """The same weights as a folder, as files of parts and as one file; and the base's."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        self.folder = flux2.tiny_klein(root / "klein")
        base = flux2.tiny_klein(root / "base", 1, distilled=False)
        one = flux2.one_file(self.folder, root / "one.safetensors")
        split = flux2.split(self.folder, root / "split")
        self.configs = sdxl.configs_of("flux2", self.folder, root / "configs")
        self.files = {
            "folder": checkpoint(self.folder, FAMILY, carries=ALL),
            "split": checkpoint(split, FAMILY, parts=flux2.parts_of(root / "split")),
            "one file": checkpoint(one, FAMILY, carries=ALL),
            "base": checkpoint(base, FAMILY, variant="base", carries=ALL),
        }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KleinModels]:
    found = KleinModels(tmp_path_factory.mktemp("klein"))
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


def _drawn_by_diffusers(folder: Path, guidance: float, *pictures: Image.Image) -> Pixels:
    pipe = diffusers.Flux2KleinPipeline.from_pretrained(folder, tokenizer=flux2.tokenizer())
    pipe.set_progress_bar_config(disable=True)
    found = pipe(
        image=list(pictures) or None,
        prompt=PROMPT,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=torch.Generator("cpu").manual_seed(a_request().seed),
    )
    return np.asarray(found.images[0]).astype(float)


@pytest.fixture(scope="module")
def reference(models: KleinModels) -> Pixels:
    """What diffusers draws."""
    return _drawn_by_diffusers(models.folder, 1.0)


@slow
@pytest.mark.parametrize("layout", ["folder", "split", "one file"])
def test_every_layout_draws_diffusers_picture(
    layout: str, models: KleinModels, reference: Pixels
) -> None:
    """Without guidance, whatever is said."""
    asked = {"guidance_scale": 5.0, "negative_prompt": "fog"} if layout == "folder" else {}
    found = models.draw(models.files[layout], prompt=PROMPT, **asked)
    assert reference.std() > 20
    assert apart(found, reference) <= BOUND


@slow
def test_the_base_is_guided(models: KleinModels) -> None:
    """As in diffusers, where that is from no prompt; here also from another."""
    asked = {"prompt": PROMPT, "guidance_scale": 4.0}
    found = models.draw(models.files["base"], **asked)
    assert apart(found, _drawn_by_diffusers(models.files["base"].path, 4.0)) <= BOUND
    assert apart(models.draw(models.files["base"], **asked, negative_prompt="fog"), found) > 0


@slow
def test_one_after_the_other_draws_what_the_first_drew(models: KleinModels) -> None:
    """To the bit."""
    first = models.draw(models.files["split"])
    models.draw(models.files["base"])
    assert np.array_equal(models.draw(models.files["split"]), first)


@slow
def test_pictures_are_edited_as_in_diffusers(models: KleinModels, reference: Pixels) -> None:
    """Each of a size of its own."""
    shown, given = [], {}
    for size in ((WIDTH, HEIGHT), (64, 80)):
        file = io.BytesIO()
        shown.append(Image.radial_gradient("L").resize(size).convert("RGB"))
        shown[-1].save(file, "PNG")
        given[hashlib.sha256(file.getvalue()).hexdigest()] = file.getvalue()
    for names in (list(given), list(given)[:1]):
        asked = {"init_picture": names[0], "references": tuple(names), "pictures": given}
        found = models.draw(models.files["split"], prompt=PROMPT, denoising_strength=1.0, **asked)
        expected = _drawn_by_diffusers(models.folder, 1.0, *shown[: len(names)])
        assert apart(found, expected) <= BOUND
        assert apart(found, reference) > BOUND


@slow
def test_a_start_picture_is_read_as_diffusers_does(models: KleinModels) -> None:
    """With nothing denoised it comes back as the VAE has it, in tiles as without."""
    start, begun = start_picture()
    kept = models.draw(models.files["folder"], denoising_strength=0.0, **begun)
    vae = diffusers.AutoencoderKLFlux2.from_pretrained(models.folder / "vae")
    values = torch.from_numpy(np.array(start)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        again = vae.decode(vae.encode(values).latent_dist.mean).sample[0]
    expected = (((again + 1) / 2).clamp(0, 1).permute(1, 2, 0) * 255).round().numpy()
    assert apart(kept, expected) <= BOUND
    assert apart(models.draw(models.files["folder"], denoising_strength=0.7, **begun), kept) > BOUND


@slow
@pytest.mark.parametrize("names", ["diffusers", "kohya", "comfyui"])
def test_loras_of_every_trainer_change_the_same_layers(
    names: str, models: KleinModels, tmp_path: Path
) -> None:
    expected = models.draw(models.files["folder"], loras=(_lora(tmp_path, "diffusers"),))
    plain = models.draw(models.files["folder"])
    assert apart(expected, plain) > BOUND
    found = models.draw(models.files["split"], loras=(_lora(tmp_path, names),))
    assert apart(found, expected) <= BOUND
    assert np.array_equal(models.draw(models.files["folder"]), plain)


def _lora(folder: Path, names: str) -> ModelFile:
    """The same change of layers, some of which diffusers has in pieces, in a trainer's names."""
    generator = torch.Generator("cpu").manual_seed(3)
    tensors: ldm.Tensors = {}
    for layer, modules, each in (
        (
            "double_blocks.0.txt_attn.qkv",
            [f"transformer_blocks.0.attn.add_{part}_proj" for part in "qkv"],
            flux2.WIDTH,
        ),
        ("double_blocks.1.img_mlp.0", ["transformer_blocks.1.ff.linear_in"], 4 * flux2.WIDTH),
        (
            "single_blocks.1.linear1",
            ["single_transformer_blocks.1.attn.to_qkv_mlp_proj"],
            7 * flux2.WIDTH,
        ),
    ):
        down = torch.randn((4, flux2.WIDTH), generator=generator)
        up = torch.randn((len(modules) * each, 4), generator=generator) * 0.3
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
    return ModelFile(kind=ModelKind.LORA, name=names, path=file, family=FAMILY)


def test_the_shift_is_by_size_and_steps() -> None:
    for tokens, steps in ((256, 4), (4096, 50), (4300, 4), (4301, 4), (8000, 20)):
        assert empirical_shift(tokens, steps) == pytest.approx(compute_empirical_mu(tokens, steps))
    settings, half = {"use_dynamic_shifting": True}, torch.tensor(500.0)
    expected: dict[Conventions, float] = {"a1111": compute_empirical_mu(4096, 4), "comfyui": 2.02}
    for conventions, shift in expected.items():
        found = flow(settings, conventions, 4096, steps=4, steady=KLEIN_4B.comfyui_shift)
        level = np.exp(shift) / (np.exp(shift) + 1)
        assert float(found.sigma_of(half)) == pytest.approx(level, rel=1e-5)


def test_a_prompt_is_put_as_a_question_and_read_whole() -> None:
    encoder = LanguageModel(KLEIN_4B.encoders[0], torch.nn.Module(), load_qwen_tokenizer(3))
    # as Qwen3's authors publish them
    cat = [151644, 872, 198, 64, 8251, 151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271]
    assert encoder.ids("a cat", "a1111") == cat
    plain = encoder.ids("a big lighthouse, fog", "a1111")
    for conventions in ("a1111", "comfyui"):
        assert encoder.ids("a (big:1.3) lighthouse, (fog)", conventions) == plain
    assert len(encoder.ids("fog " * 600, "a1111")) > 600
