"""Flux.1 in every layout against diffusers' own pipeline on the same weights."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from generation.families.flux import T5
from generation.messages import Configure, Failed, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.encoders.t5 import T5Encoder
from generation.runtime.latents import further_channels
from generation.runtime.networks.flux import pack, places, unpack
from generation.runtime.server import Server
from generation.runtime.tiling import tiles_of
from generation.runtime.tokenizers import VOCABULARY, load_t5_tokenizer, load_tokenizer
from tests.fixtures import flux, ldm, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
WIDTH, HEIGHT, STEPS = 96, 64, 2
WORK = ("loras", "pictures", "controlnets")
"""What a job is handed beside its request."""
ALL = ("vae", "clip_l", "t5xxl")


class Drawing:
    """A worker in this process, and what it is usually asked for."""

    usual: ClassVar[dict[str, Any]] = {}
    server: Server
    ends: Ends

    def draw(self, model: ModelFile, **changes: Any) -> np.ndarray[Any, Any]:
        """The picture's pixels."""
        return pixels_of(self.answer(model, **changes))

    def answer(self, model: ModelFile, **changes: Any) -> Picture | Failed:
        """What comes of a request."""
        self.ends.sent.clear()
        work = {name: changes.pop(name) for name in WORK if name in changes}
        strengths: tuple[float, ...] = changes.pop("strengths", ())
        size = {"width": WIDTH, "height": HEIGHT, "steps": STEPS, "sampler": "Euler"}
        request = a_request(model=model.name, **{**size, **self.usual, **changes})
        if "loras" in work:
            weights = strengths or (1.0,) * len(work["loras"])
            named = zip(work["loras"], weights, strict=True)
            uses = [{"name": file.name, "weight": weight} for file, weight in named]
            request = request.with_(loras=uses)
        self.server.run(Generate("1", request, model, **work))
        found: Picture | Failed = (self.ends.of(Failed) or self.ends.of(Picture))[0]
        return found


class FluxModels(Drawing):
    """The same weights as a folder, as files of parts and as one file; and schnell."""

    usual: ClassVar[dict[str, Any]] = {"schedule": "Simple"}

    def __init__(self, root: Path) -> None:
        self.folder = flux.tiny_flux(root / "dev")
        self.schnell = flux.tiny_flux(root / "schnell", 1, guidance=False)
        self.split = flux.split(self.folder, root / "split")
        self.one = flux.one_file(self.folder, root / "one.safetensors")
        self.configs = sdxl.configs_of("flux", self.folder, root / "configs")
        self.ends = Ends()
        settings = Configure(SETTINGS, root / "cache")
        self.server = Server(settings, self.ends, self.ends)  # type: ignore[arg-type]
        self.files = {
            "folder": _file(self.folder, carries=ALL),
            "split": _file(self.split, parts=flux.parts_of(root / "split")),
            "one file": _file(self.one, carries=ALL),
            "schnell": _file(self.schnell, variant="schnell", carries=ALL),
        }


def _file(path: Path, **fields: Any) -> ModelFile:
    return ModelFile(kind=ModelKind.CHECKPOINT, name=path.stem, path=path, family="flux", **fields)


def pixels_of(answer: Picture | Failed) -> np.ndarray[Any, Any]:
    assert isinstance(answer, Picture), answer
    with Image.open(io.BytesIO(answer.file)) as image:
        return np.asarray(image.convert("RGB")).astype(float)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FluxModels]:
    found = FluxModels(tmp_path_factory.mktemp("flux"))
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE and of CLIP
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


@pytest.fixture(scope="module")
def reference(models: FluxModels) -> np.ndarray[Any, Any]:
    """What diffusers draws."""
    return _drawn_by_diffusers(models.folder, guidance_scale=3.5)


def _drawn_by_diffusers(folder: Path, **options: Any) -> np.ndarray[Any, Any]:
    # the words are the same everywhere, and reading them takes longest
    words = {"tokenizer": load_tokenizer(VOCABULARY), "tokenizer_2": load_t5_tokenizer()}
    pipe = diffusers.FluxPipeline.from_pretrained(folder, **words)
    pipe.set_progress_bar_config(disable=True)
    request = a_request()
    found = pipe(
        request.prompt,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        **options,
    )
    return np.asarray(found.images[0]).astype(float)


@pytest.mark.parametrize("layout", ["folder", "split", "one file"])
def test_every_layout_draws_diffusers_picture(
    layout: str, models: FluxModels, reference: np.ndarray[Any, Any]
) -> None:
    found = models.draw(models.files[layout])
    assert reference.std() > 20
    assert np.abs(found - reference).mean() <= BOUND


def test_schnell_has_no_shift_and_no_guidance(models: FluxModels) -> None:
    reference = _drawn_by_diffusers(models.schnell, guidance_scale=0.0, max_sequence_length=256)
    for guidance in (1.0, 7.0):
        found = models.draw(models.files["schnell"], guidance_scale=guidance)
        assert np.abs(found - reference).mean() <= BOUND


def test_the_guidance_of_dev_is_told_and_calls_nothing_twice(
    models: FluxModels, reference: np.ndarray[Any, Any]
) -> None:
    found = models.draw(models.files["folder"], guidance_scale=9.0)
    assert np.abs(found - reference).mean() > BOUND
    # what should not be there is not asked for
    assert np.array_equal(
        models.draw(models.files["folder"], negative_prompt="fog"),
        models.draw(models.files["folder"]),
    )


@pytest.mark.slow
def test_one_after_the_other_draws_what_the_first_drew(models: FluxModels) -> None:
    """To the bit, a LoRA between them."""
    first = models.draw(models.files["split"])
    models.draw(models.files["schnell"])
    assert np.array_equal(models.draw(models.files["split"]), first)


def test_a_start_picture_is_noised_as_diffusers_does(models: FluxModels) -> None:
    """All of its latents' mean: with nothing left to denoise it comes back as the VAE has it."""
    start = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
    file = io.BytesIO()
    start.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    pictures = {"pictures": {sha256: file.getvalue()}, "init_picture": sha256}
    model = models.files["folder"]
    kept = models.draw(model, denoising_strength=0.0, **pictures)
    vae = diffusers.AutoencoderKL.from_pretrained(models.folder / "vae")
    values = torch.from_numpy(np.array(start)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        again = vae.decode(vae.encode(values).latent_dist.mean).sample[0]
    expected = ((again + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy()
    assert np.abs(kept - expected).mean() <= BOUND
    changed = models.draw(model, denoising_strength=0.7, **pictures)
    assert np.abs(changed - kept).mean() > BOUND


@pytest.mark.parametrize("names", ["diffusers", "kohya", "comfyui"])
def test_loras_of_every_trainer_change_the_same_layers(
    names: str, models: FluxModels, tmp_path: Path
) -> None:
    """The layers that diffusers has in pieces change as the one of the original code does."""
    expected = models.draw(models.files["folder"], loras=(_lora(tmp_path, "diffusers"),))
    plain = models.draw(models.files["folder"])
    assert np.abs(expected - plain).mean() > BOUND
    found = models.draw(models.files["split"], loras=(_lora(tmp_path, names),))
    assert np.abs(found - expected).mean() <= BOUND
    assert np.array_equal(models.draw(models.files["folder"]), plain)


def _lora(folder: Path, names: str) -> ModelFile:
    """The same change of a fused layer of each kind of block, in a trainer's names."""
    generator = torch.Generator("cpu").manual_seed(3)
    width = flux.HEAD * flux.HEADS
    tensors: ldm.Tensors = {}
    for original, modules, wide in (
        ("double_blocks.0.img_attn.qkv", [f"transformer_blocks.0.attn.to_{p}" for p in "qkv"], 0),
        (
            "single_blocks.1.linear1",
            [
                *(f"single_transformer_blocks.1.attn.to_{p}" for p in "qkv"),
                "single_transformer_blocks.1.proj_mlp",
            ],
            4 * width,
        ),
    ):
        outputs = [width] * 3 + ([wide] if wide else [])
        down = torch.randn((4, width), generator=generator)
        up = torch.randn((sum(outputs), 4), generator=generator) * 0.3
        if names == "diffusers":
            for module, part in zip(modules, torch.split(up, outputs), strict=True):
                tensors[f"transformer.{module}.lora_A.weight"] = down.clone()
                tensors[f"transformer.{module}.lora_B.weight"] = part.clone()
        elif names == "kohya":
            flat = f"lora_unet_{original.replace('.', '_')}"
            tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
            tensors[f"{flat}.alpha"] = torch.tensor(4.0)
        else:
            tensors |= {
                f"diffusion_model.{original}.lora_A.weight": down,
                f"diffusion_model.{original}.lora_B.weight": up,
            }
    file = folder / f"{names}.safetensors"
    save_file(tensors, file)
    return ModelFile(kind=ModelKind.LORA, name=names, path=file, family="flux")


def test_loras_in_xlabs_names_act_as_in_diffusers(models: FluxModels, tmp_path: Path) -> None:
    """Theirs change attention alone: of its two streams, and of single blocks without the MLP."""
    generator = torch.Generator("cpu").manual_seed(4)
    width = flux.HEAD * flux.HEADS
    double, single = "transformer_blocks.0", "single_transformer_blocks.1"
    rows = (
        ("double_blocks.0.processor.qkv_lora1", [f"{double}.attn.to_{p}" for p in "qkv"], width),
        ("double_blocks.0.processor.proj_lora1", [f"{double}.attn.to_out.0"], width),
        (
            "double_blocks.0.processor.qkv_lora2",
            [f"{double}.attn.add_{p}_proj" for p in "qkv"],
            width,
        ),
        ("double_blocks.0.processor.proj_lora2", [f"{double}.attn.to_add_out"], width),
        ("single_blocks.1.processor.qkv_lora", [f"{single}.attn.to_{p}" for p in "qkv"], width),
        ("single_blocks.1.processor.proj_lora", [f"{single}.proj_out"], 5 * width),
    )
    theirs: ldm.Tensors = {}
    ours: ldm.Tensors = {}
    for name, modules, inputs in rows:
        down = torch.randn((4, inputs), generator=generator)
        up = torch.randn((width * len(modules), 4), generator=generator) * 0.3
        theirs |= {f"{name}.down.weight": down, f"{name}.up.weight": up}
        for module, part in zip(modules, up.chunk(len(modules)), strict=True):
            ours[f"transformer.{module}.lora_A.weight"] = down.clone()
            ours[f"transformer.{module}.lora_B.weight"] = part.clone()
    drawn = {}
    for name, tensors in (("theirs", theirs), ("ours", ours)):
        path = tmp_path / f"{name}.safetensors"
        flux.save(tensors, path)
        file = ModelFile(kind=ModelKind.LORA, name=name, path=path, family="flux")
        drawn[name] = models.draw(models.files["folder"], loras=(file,))
    assert np.array_equal(drawn["theirs"], drawn["ours"])
    assert np.abs(drawn["ours"] - models.draw(models.files["folder"])).mean() > 1


@pytest.mark.slow
def test_a_part_that_is_nowhere_is_named(models: FluxModels) -> None:
    split = models.files["split"]
    parts = {name: file for name, file in split.parts.items() if name != "t5xxl"}
    answer = models.answer(_file(split.path, parts=parts))
    assert isinstance(answer, Failed)
    assert answer.code == "model_broken"
    assert "t5xxl" in answer.params["why"]


def test_a_t5_cut_short_is_named(models: FluxModels, tmp_path: Path) -> None:
    split = models.files["split"]
    weights = sdxl.weights(models.folder / "text_encoder_2")
    weights = {name: tensor for name, tensor in weights.items() if ".1.layer.1." not in name}
    file = tmp_path / "short.safetensors"
    flux.save(weights, file)
    short = ModelFile(kind=ModelKind.TEXT_ENCODER, name="short", path=file, family="t5xxl")
    answer = models.answer(_file(split.path, parts={**split.parts, "t5xxl": short}))
    assert isinstance(answer, Failed)
    assert answer.params["file"] == "short.safetensors"


def test_fill_is_shown_grey_behind_the_latents_and_behind_that_the_mask(
    models: FluxModels, tmp_path: Path
) -> None:
    """All is to be drawn: nothing outside the mask, each of whose pixels is a channel."""
    folder = flux.tiny_fill(tmp_path / "fill", models.folder)
    file = _file(folder, variant="fill", carries=ALL)
    assert models.draw(file, guidance_scale=30.0).std() > 1
    model = models.server._parts.checkpoint(file)
    tiles = tiles_of(WIDTH, HEIGHT, 0)
    drawn = torch.ones(1, 1, HEIGHT, WIDTH)
    beside = further_channels(model, None, None, drawn.expand(-1, 3, -1, -1), drawn, tiles)
    assert beside is not None
    pipe, size = diffusers.FluxFillPipeline, (HEIGHT // 8, WIDTH // 8)
    with torch.no_grad():
        mean = model.vae.encode(torch.zeros(1, 3, HEIGHT, WIDTH)).latent_dist.mean
    grey = pipe._pack_latents((mean - 0.1159) * 0.3611, 1, 16, *size)
    latents = torch.randn(1, 16, *size)
    shown = (pipe._pack_latents(latents, 1, 16, *size), grey, torch.ones(1, grey.shape[1], 256))
    found = pack(torch.cat((latents, beside), dim=1))
    assert torch.allclose(found, torch.cat(shown, dim=-1), atol=1e-5)


def test_latents_are_packed_row_by_row() -> None:
    """Two by two, their channels outside; as diffusers has it."""
    latents = torch.randn(2, 16, 8, 12)
    packed = diffusers.FluxPipeline._pack_latents(latents, 2, 16, 8, 12)
    assert torch.equal(pack(latents), packed)
    assert torch.equal(unpack(packed, 8, 12), latents)
    where = diffusers.FluxPipeline._prepare_latent_image_ids(2, 4, 6, None, torch.float32)
    assert torch.equal(places(8, 12, torch.device("cpu")), where)


def test_t5_reads_without_weights() -> None:
    encoder = T5Encoder(T5, torch.nn.Module(), load_t5_tokenizer())
    known = "translate English to German: That is good."
    # as T5's authors publish them
    assert encoder.ids(known, "a1111") == [13959, 1566, 12, 2968, 10, 466, 19, 207, 5, 1]
    plain = encoder.ids("a big lighthouse, fog", "a1111")
    for conventions in ("a1111", "comfyui"):
        assert encoder.ids("a (big:1.3) lighthouse, (fog)", conventions) == plain
    assert encoder.ids("a big lighthouse, BREAK fog", "a1111") == plain


def test_a_prompt_is_filled_up_and_never_cut_short(models: FluxModels) -> None:
    """512 tokens, of schnell 256; ComfyUI fills up to 256."""
    for name, conventions, least in (
        ("folder", "a1111", 512),
        ("schnell", "a1111", 256),
        ("folder", "comfyui", 256),
    ):
        loaded = models.server._parts.checkpoint(models.files[name])
        encoder = loaded.encoders[1]
        found = encoder.encode(["a cat", "fog " * 600], 1, {}, conventions)  # type: ignore[arg-type]
        lengths = [one.states.shape[1] for one in found.values()]
        assert lengths[0] == least
        assert lengths[1] > 600
