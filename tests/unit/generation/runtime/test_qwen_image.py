"""Qwen-Image in every layout against diffusers' own pipeline on the same weights."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from generation.families.qwen_image import ENCODER
from generation.messages import Configure, Failed, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints, previews
from generation.runtime.denoiser import as_long_as
from generation.runtime.encoders.language_model import LanguageModel
from generation.runtime.model_sampling import flow
from generation.runtime.networks.flux import pack
from generation.runtime.server import Server
from generation.runtime.tokenizers import load_qwen_tokenizer
from tests.fixtures import flux, ldm, qwen_image, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
WIDTH, HEIGHT, STEPS = 96, 64, 2
GUIDED = {"negative_prompt": "a dog", "guidance_scale": 25.0}
"""So strongly that it shows in a model of random weights whether answers stay as long."""
ALL = ("vae", "qwen2.5-vl-7b")


class QwenModels:
    """The same weights as a folder, as files of parts and as one file."""

    def __init__(self, root: Path) -> None:
        self.pipe = qwen_image.tiny_qwen_image(root / "folder")
        split = qwen_image.split(root / "folder", root / "split")
        one = qwen_image.one_file(root / "folder", root / "one.safetensors")
        self.configs = sdxl.configs_of("qwen-image", root / "folder", root / "configs")
        self.ends = Ends()
        settings = Configure(SETTINGS, root / "cache")
        self.server = Server(settings, self.ends, self.ends)  # type: ignore[arg-type]
        self.files = {
            "folder": _file(root / "folder", carries=ALL),
            "split": _file(split, parts=qwen_image.parts_of(root / "split")),
            "one file": _file(one, carries=ALL),
        }

    def draw(self, layout: str = "folder", **changes: Any) -> np.ndarray[Any, Any]:
        """The picture's pixels."""
        answer = self.answer(self.files[layout], **changes)
        assert isinstance(answer, Picture), answer
        with Image.open(io.BytesIO(answer.file)) as image:
            return np.asarray(image.convert("RGB")).astype(float)

    def answer(self, model: ModelFile, **changes: Any) -> Picture | Failed:
        """What comes of a request."""
        self.ends.sent.clear()
        work = {name: changes.pop(name) for name in ("loras", "pictures") if name in changes}
        usual = {"width": WIDTH, "height": HEIGHT, "steps": STEPS, "sampler": "Euler"}
        request = a_request(
            model=model.name, **{"schedule": "Simple", **usual, **GUIDED, **changes}
        )
        if "loras" in work:
            request = request.with_(loras=[{"name": file.name} for file in work["loras"]])
        self.server.run(Generate("1", request, model, **work))
        found: Picture | Failed = (self.ends.of(Failed) or self.ends.of(Picture))[0]
        return found

    def drawn_by_diffusers(self, **options: Any) -> np.ndarray[Any, Any]:
        request = a_request()
        self.pipe.set_progress_bar_config(disable=True)
        found = self.pipe(
            request.prompt,
            width=WIDTH,
            height=HEIGHT,
            num_inference_steps=STEPS,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            **options,
        )
        return np.asarray(found.images[0]).astype(float)


def _file(path: Path, **fields: Any) -> ModelFile:
    kind = ModelKind.CHECKPOINT
    return ModelFile(kind=kind, name=path.stem, path=path, family="qwen-image", **fields)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QwenModels]:
    found = QwenModels(tmp_path_factory.mktemp("qwen"))
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE and no number of heads
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


@pytest.fixture(scope="module")
def reference(models: QwenModels) -> np.ndarray[Any, Any]:
    """What diffusers draws, away from a negative prompt."""
    return models.drawn_by_diffusers(negative_prompt="a dog", true_cfg_scale=25.0)


@pytest.mark.parametrize("layout", ["folder", "split", "one file"])
def test_every_layout_draws_diffusers_picture(
    layout: str, models: QwenModels, reference: np.ndarray[Any, Any]
) -> None:
    found = models.draw(layout)
    assert reference.std() > 20
    assert np.abs(found - reference).mean() <= BOUND


def test_without_guidance_nothing_is_asked_twice(
    models: QwenModels, reference: np.ndarray[Any, Any]
) -> None:
    expected = models.drawn_by_diffusers(true_cfg_scale=1.0)
    assert np.abs(models.draw(guidance_scale=1.0) - expected).mean() <= BOUND
    assert np.abs(expected - reference).mean() > BOUND


def test_comfyui_has_another_shift_and_lets_answers_grow(
    models: QwenModels, reference: np.ndarray[Any, Any]
) -> None:
    found = models.draw(conventions="comfyui")
    assert np.abs(found - reference).mean() > BOUND


def test_one_after_the_other_draws_what_the_first_drew(models: QwenModels, tmp_path: Path) -> None:
    """To the bit, a LoRA between them, whose layers each trainer names in its own way."""
    first = models.draw()
    changed = [models.draw("split", loras=(_lora(tmp_path, names),)) for names in LORA_NAMES]
    assert np.abs(changed[0] - first).mean() > BOUND
    for other in changed[1:]:
        assert np.array_equal(other, changed[0])
    assert np.array_equal(models.draw(), first)


LORA_NAMES = ("transformer.{}.lora_A", "diffusion_model.{}.lora_A", "lora_unet_{}.lora_down")


def _lora(folder: Path, names: str) -> ModelFile:
    """The same change in a trainer's names."""
    generator = torch.Generator("cpu").manual_seed(3)
    width = qwen_image.HEAD * qwen_image.HEADS
    tensors: ldm.Tensors = {}
    for layer in ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.add_v_proj"):
        down = names.format(layer.replace(".", "_") if "down" in names else layer)
        up = down.replace("lora_A", "lora_B").replace("lora_down", "lora_up")
        tensors[f"{down}.weight"] = torch.randn((4, width), generator=generator)
        tensors[f"{up}.weight"] = torch.randn((width, 4), generator=generator) * 0.3
    file = folder / f"{names[:6]}.safetensors"
    flux.save(tensors, file)
    return ModelFile(kind=ModelKind.LORA, name=file.stem, path=file, family="qwen-image")


def test_a_start_picture_is_scaled_channel_by_channel(models: QwenModels) -> None:
    """With nothing left to denoise it comes back as the VAE has it."""
    start = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
    file = io.BytesIO()
    start.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    pictures: dict[str, Any] = {"pictures": {sha256: file.getvalue()}, "init_picture": sha256}
    kept = models.draw(denoising_strength=0.0, **pictures)
    values = torch.from_numpy(np.array(start)).permute(2, 0, 1)[None, :, None].float() / 127.5 - 1
    with torch.no_grad():
        latents = models.pipe.vae.encode(values).latent_dist.mean
        again = models.pipe.vae.decode(latents).sample[0, :, 0]
    expected = ((again + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy()
    assert np.abs(kept - expected).mean() <= BOUND
    changed = models.draw(denoising_strength=0.7, **pictures)
    assert np.abs(changed - kept).mean() > BOUND


def test_a_part_that_is_nowhere_is_named(models: QwenModels) -> None:
    split = models.files["split"]
    answer = models.answer(_file(split.path, parts={"vae": split.parts["vae"]}))
    assert isinstance(answer, Failed)
    assert "qwen2.5-vl-7b" in answer.params["why"]


def test_previews_know_the_mean_and_the_spread_of_each_channel(
    models: QwenModels, tmp_path: Path
) -> None:
    """What the VAE encodes has the colours of what it was."""
    loaded = models.server._parts.checkpoint(models.files["folder"])
    map_ = previews.Maps(tmp_path).of(loaded, torch.device("cpu"))
    assert map_.shape == (17, 3)
    raw = previews.fit_map(loaded.vae, torch.device("cpu"))
    latents = torch.randn(16)
    config = loaded.vae.config
    scaled = (latents - torch.tensor(config.latents_mean)) / torch.tensor(config.latents_std)
    expected = latents @ raw[:-1] + raw[-1]
    assert torch.allclose(scaled @ map_[:-1] + map_[-1], expected, atol=1e-4)


def test_the_prompt_is_read_without_weights_in_its_authors_request() -> None:
    encoder = LanguageModel(ENCODER, torch.nn.Module(), load_qwen_tokenizer())
    plain = encoder.ids("a big lighthouse, fog", "a1111")
    assert encoder.ids("a (big:1.3) lighthouse, (fog)", "a1111") == plain
    assert encoder.ids("a {} lighthouse", "a1111") != encoder.ids("a  lighthouse", "a1111")
    # the request up to the prompt
    assert (
        plain[ENCODER.unseen :]
        == load_qwen_tokenizer()(
            "a big lighthouse, fog<|im_end|>\n<|im_start|>assistant\n"
        ).input_ids
    )


def test_each_schedule_ends_where_the_authors_end_it() -> None:
    settings = {"use_dynamic_shifting": True, "shift_terminal": 0.02, "max_shift": 0.9}
    settings["max_image_seq_len"] = 8192
    ours, theirs = flow(settings, "a1111", 4096), flow(settings, "comfyui", 4096, steady=1.15)
    levels = torch.tensor([1.0, 0.7, 0.3, 0.0])
    expected = 1 - (1 - levels[:-1]) / (1 - 0.3) * 0.98
    assert torch.allclose(ours.stretched(levels)[:-1], expected)
    assert ours.stretched(levels)[-1] == 0
    assert torch.equal(theirs.stretched(levels), levels)
    one = torch.tensor([1.0, 0.0])
    assert torch.equal(ours.stretched(one), one)
    half = torch.tensor(500.0)
    assert float(theirs.sigma_of(half)) == pytest.approx(np.exp(1.15) / (np.exp(1.15) + 1))


def test_an_answer_stays_as_long_as_it_was_token_by_token() -> None:
    first, second = torch.randn(2, 1, 16, 4, 6)
    found = as_long_as(first, second)
    lengths = [pack(one).norm(dim=-1) for one in (found, first)]
    assert torch.allclose(lengths[0], lengths[1], rtol=1e-4)
    assert torch.allclose(torch.sign(found), torch.sign(second))
    assert torch.equal(as_long_as(first, torch.zeros_like(first)), torch.zeros_like(first))
