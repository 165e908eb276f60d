"""IP-Adapters of Flux.1: XLabs' against diffusers' own pipeline on the same weights, InstantX'
against what their authors do to that.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.embeddings import apply_rotary_emb
from PIL import Image, ImageDraw
from torch.nn import functional
from transformers import CLIPImageProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from generation import memory_plan
from generation.memory_plan import MemoryBounds, PartPlace
from generation.messages import Configure, Picture
from generation.models import ModelFile
from generation.runtime import checkpoints
from generation.runtime.image_encoders import pixels_for
from generation.runtime.image_prompts import load_adapter
from generation.runtime.networks.flux import Flux, pack
from generation.runtime.networks.image_attention import ShownPicture
from generation.runtime.residency import Residency, place_of
from generation.runtime.server import Server
from generation.runtime.tiling import Tile
from generation.runtime.tokenizers import VOCABULARY, load_t5_tokenizer, load_tokenizer
from tests.fixtures import flux, quantised, sdxl
from tests.fixtures import image_prompts as fixtures
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
    pixels_of,
)
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array:DeprecationWarning",
    # diffusers' own name for it is older than its place
    "ignore:`FluxPosEmbed` is deprecated:FutureWarning",
)
GUIDANCE = 3.5


class Prompted(Drawing):
    """A tiny Flux.1, two IP-Adapters of each make, and two pictures."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        self.root = root
        self.folder = flux.tiny_flux(root / "dev")
        self.split = flux.split(self.folder, root / "split")
        self.model = checkpoint(self.folder, "flux", carries=("vae", "clip_l", "t5xxl"))
        self.eyes = fixtures.write_eyes(root / "eyes.safetensors")
        self.siglip = fixtures.write_siglip(root / "siglip.safetensors")
        transformer = flux.tiny_transformer()
        self.tensors = [fixtures.xlabs_tensors(transformer, seed) for seed in (6, 7)]
        self.xlabs = [
            fixtures.write_flux(root / f"ip_adapter_{n}.safetensors", tensors, "base")
            for n, tensors in enumerate(self.tensors)
        ]
        self.flat = fixtures.instantx_tensors(transformer)
        self.instantx = fixtures.write_flux(root / "instantx.safetensors", self.flat, "instantx")
        self.pictures = [Image.new("RGB", (120, 80), colour) for colour in ("red", "navy")]
        for number, picture in enumerate(self.pictures):
            ImageDraw.Draw(picture).ellipse((10, 5 + 20 * number, 90, 70), "gold")

    def quantised(self, file: Path) -> ModelFile:
        """With that denoiser."""
        return checkpoint(file, "flux", parts=flux.parts_of(self.root / "split"))

    def ours(
        self,
        *prompts: tuple[ModelFile, dict[str, Any]],
        model: ModelFile | None = None,
        **changes: Any,
    ) -> Pixels:
        """Drawn with these adapters and what is told of each."""
        contents = {}
        for picture in self.pictures:
            file = io.BytesIO()
            picture.save(file, "PNG")
            contents[hashlib.sha256(file.getvalue()).hexdigest()] = file.getvalue()
        hashes = list(contents)
        told = [
            {"name": file.name, **how, "pictures": [hashes[n] for n in how.get("pictures", (0,))]}
            for file, how in prompts
        ]
        answer = self.answer(
            model or self.model,
            image_prompts=told,
            adapters=tuple(file for file, _ in prompts),
            eyes=(self.eyes, self.siglip),
            pictures=contents,
            guidance_scale=GUIDANCE,
            **changes,
        )
        assert isinstance(answer, Picture), answer
        return pixels_of(answer)

    def pipe(self) -> Any:
        """diffusers', with the eyes."""
        size = {"size": {"shortest_edge": fixtures.SIDE}}
        crop = {"crop_size": {"height": fixtures.SIDE, "width": fixtures.SIDE}}
        # the words are the same everywhere, and reading them takes longest
        pipe = diffusers.FluxPipeline.from_pretrained(
            self.folder,
            tokenizer=load_tokenizer(VOCABULARY),
            tokenizer_2=load_t5_tokenizer(),
            image_encoder=fixtures.eyes(),
            feature_extractor=CLIPImageProcessor(**size, **crop),
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def prompted_pipe(self, *numbers: int) -> Any:
        """The same with XLabs'."""
        pipe = self.pipe()
        found = []
        for number in numbers:
            parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
            for name, tensor in self.tensors[number].items():
                part, _, rest = name.partition(".")
                own = rest.replace("processor.ip_adapter_double_stream_", "to_")
                half = "ip_adapter" if part == "double_blocks" else "image_proj"
                parts[half][own.replace("_proj.", "_ip.")] = tensor
            found.append(parts)
        pipe.load_ip_adapter(found, subfolder=[None] * len(found), weight_name=[None] * len(found))
        return pipe


def drawn(pipe: Any, **options: Any) -> Pixels:
    request = a_request()
    found = pipe(
        request.prompt,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        **options,
    )
    return np.asarray(found.images[0]).astype(float)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prompted]:
    found = Prompted(tmp_path_factory.mktemp("flux-prompted"))
    configs = sdxl.configs_of("flux", found.folder, found.root / "configs")
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE and of CLIP
        patch.setattr(checkpoints, "CONFIGS", configs)
        yield found


def test_a_picture_is_a_prompt(prompted: Prompted) -> None:
    [file, _] = prompted.xlabs
    pipe = prompted.prompted_pipe(0)
    pipe.set_ip_adapter_scale(0.7)
    found = prompted.ours((file, {"weight": 0.7}))
    assert apart(found, drawn(pipe, ip_adapter_image=prompted.pictures[0])) < BOUND
    nothing = prompted.ours()
    assert apart(found, nothing) > 20 * BOUND
    # of several, one stands behind the other
    two = prompted.ours((file, {"weight": 0.7, "pictures": (0, 1)}))
    assert apart(two, drawn(pipe, ip_adapter_image=[prompted.pictures])) < BOUND
    assert apart(two, found) > BOUND
    # what acted leaves the network as it was
    assert apart(prompted.ours((file, {"weight": 0.0})), nothing) == 0
    assert apart(prompted.ours(), nothing) == 0


def test_two_adapters_act_together(prompted: Prompted) -> None:
    one, other = prompted.xlabs
    pipe = prompted.prompted_pipe(0, 1)
    pipe.set_ip_adapter_scale([0.7, 0.4])
    found = prompted.ours((one, {"weight": 0.7}), (other, {"weight": 0.4, "pictures": (1,)}))
    assert apart(found, drawn(pipe, ip_adapter_image=prompted.pictures)) < BOUND


def test_it_acts_over_its_part_of_the_steps(prompted: Prompted) -> None:
    [file, _] = prompted.xlabs
    pipe = prompted.prompted_pipe(0)
    pipe.set_ip_adapter_scale(0.0)

    def second(pipe: Any, step: int, _level: Any, told: dict[str, Any]) -> dict[str, Any]:
        pipe.set_ip_adapter_scale(1.0)
        return told

    expected = drawn(pipe, ip_adapter_image=prompted.pictures[0], callback_on_step_end=second)
    assert apart(prompted.ours((file, {"start": 0.5})), expected) < BOUND
    first = prompted.ours((file, {"end": 0.5}))
    assert apart(first, expected) > BOUND
    assert apart(first, prompted.ours((file, {}))) > BOUND


def test_what_is_not_wanted_is_shown_a_black_picture(prompted: Prompted) -> None:
    """As diffusers' pipeline has it, of a model that is guided by both answers."""
    pipe = prompted.prompted_pipe(0)
    pipe.set_ip_adapter_scale(0.7)
    black = Image.new("RGB", prompted.pictures[0].size)
    shown = [prompted.pictures[0], black]
    adapter = load_adapter(prompted.xlabs[0], torch.float32)
    eyes = fixtures.eyes()
    torch.manual_seed(1)
    latents = torch.randn(1, flux.LATENTS, 8, 12)
    cross, pooled = torch.randn(2, 7, flux.T5_WIDTH), torch.randn(2, flux.CLIP_WIDTH)
    with torch.no_grad():
        seen = eyes(torch.cat([pixels_for(one, eyes) for one in shown])).image_embeds
        tokens = adapter.projection(seen)
        layers = {
            f"transformer_blocks.{n}.attn": (adapter.keys[n](tokens), adapter.values[n](tokens))
            for n in range(flux.DOUBLES)
        }
        module = diffusers.FluxTransformer2DModel.from_pretrained(prompted.folder / "transformer")
        network = Flux(module, guidance=GUIDANCE)
        network.unwanted = (False, True)
        network.pictures = (ShownPicture(layers, 0.7, behind=True),)
        both = latents.expand(2, -1, -1, -1)
        tile = Tile(0, 0, 12, 8)
        found = network.predict(both, torch.tensor(500.0), cross, pooled, None, None, tile)
        for row in (0, 1):
            expected = pipe.transformer(
                hidden_states=pack(latents),
                encoder_hidden_states=cross[row : row + 1],
                pooled_projections=pooled[row : row + 1],
                timestep=torch.tensor([0.5]),
                guidance=torch.tensor([GUIDANCE]),
                img_ids=pipe._prepare_latent_image_ids(1, 4, 6, "cpu", torch.float32),
                txt_ids=torch.zeros(7, 3),
                joint_attention_kwargs={"ip_adapter_image_embeds": [seen[row : row + 1][None]]},
                return_dict=False,
            )[0]
            assert (pack(found[row : row + 1]) - expected).abs().max() < 1e-4, row


class InstantX:
    """What their authors do in the place of diffusers' attention."""

    def __init__(self, keys: Any, values: Any, scale: float) -> None:
        self.keys, self.values, self.scale = keys, values, scale

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        def heads(states: torch.Tensor) -> torch.Tensor:
            return states.view(1, -1, attn.heads, attn.head_dim).transpose(1, 2)

        query = attn.norm_q(heads(attn.to_q(hidden_states)))
        key = attn.norm_k(heads(attn.to_k(hidden_states)))
        value = heads(attn.to_v(hidden_states))
        theirs = heads(self.keys)
        theirs = theirs * torch.rsqrt(theirs.pow(2).mean(-1, keepdim=True) + 1e-5)
        seen = functional.scaled_dot_product_attention(query, theirs, heads(self.values))
        texts = 0
        if encoder_hidden_states is not None:
            texts = encoder_hidden_states.shape[1]
            more = attn.norm_added_q(heads(attn.add_q_proj(encoder_hidden_states)))
            query = torch.cat([more, query], dim=2)
            more = attn.norm_added_k(heads(attn.add_k_proj(encoder_hidden_states)))
            key = torch.cat([more, key], dim=2)
            value = torch.cat([heads(attn.add_v_proj(encoder_hidden_states)), value], dim=2)
        query = apply_rotary_emb(query, image_rotary_emb)
        key = apply_rotary_emb(key, image_rotary_emb)
        found = functional.scaled_dot_product_attention(query, key, value)
        found, seen = (one.transpose(1, 2).flatten(2) for one in (found, seen))
        own = found[:, texts:] + self.scale * seen
        if encoder_hidden_states is None:
            return own
        return attn.to_out[0](own), attn.to_add_out(found[:, :texts])


def test_instantx_adapters_act_within_every_block(prompted: Prompted) -> None:
    pipe, eyes = prompted.pipe(), fixtures.siglip()
    own = {name.partition(".")[2]: t for name, t in prompted.flat.items() if "image_proj" in name}
    size = {"height": fixtures.SIDE, "width": fixtures.SIDE}
    pixels = SiglipImageProcessorPil(size=size)(prompted.pictures[0], return_tensors="pt")
    assert (pixels_for(prompted.pictures[0], eyes) - pixels.pixel_values).abs().max() < 1e-5
    width = flux.T5_WIDTH
    with torch.no_grad():
        seen = eyes(pixels.pixel_values).pooler_output
        inner = functional.gelu(functional.linear(seen, own["proj.0.weight"], own["proj.0.bias"]))
        made = functional.linear(inner, own["proj.2.weight"], own["proj.2.bias"])
        tokens = functional.layer_norm(made.reshape(1, -1, width), (width,))
    processors = {}
    for n, name in enumerate(pipe.transformer.attn_processors):
        keys, values = (
            tokens @ prompted.flat[f"ip_adapter.{n}.to_{part}_ip.weight"].T for part in "kv"
        )
        processors[name] = InstantX(keys, values, 0.7)
    pipe.transformer.set_attn_processor(processors)
    found = prompted.ours((prompted.instantx, {"weight": 0.7}))
    assert apart(found, drawn(pipe)) < BOUND
    assert apart(found, prompted.ours()) > 20 * BOUND


def test_the_second_version_has_four_times_the_tokens(prompted: Prompted, tmp_path: Path) -> None:
    tensors = dict(prompted.tensors[0])
    for name in ("proj.weight", "proj.bias"):
        one = tensors[f"ip_adapter_proj_model.{name}"]
        tensors[f"ip_adapter_proj_model.{name}"] = torch.cat([one] * 4)
    file = fixtures.write_flux(tmp_path / "v2.safetensors", tensors, "base")
    adapter = load_adapter(file, torch.float32)
    assert adapter.projection(torch.randn(1, fixtures.PROJECTED)).shape == (1, 16, flux.T5_WIDTH)


@pytest.mark.parametrize("place", ["aside", "blocks", "leaves"])
def test_it_acts_on_a_model_that_is_streamed(
    prompted: Prompted, place: PartPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [(prompted.xlabs[0], {}), (prompted.instantx, {"weight": 0.5})]
    expected = prompted.ours(*prompts)
    whole = (prompted.server, prompted.ends)
    monkeypatch.setattr(Residency, "one_memory", False)
    monkeypatch.setattr(memory_plan, "SMALL", 0)
    monkeypatch.setattr(Residency, "_device_memory", lambda _: (2**40, 2**40))
    prompted.ends = Ends()
    settings = Configure(SETTINGS, prompted.root / "cache")
    prompted.server = Server(settings, prompted.ends, prompted.ends)  # type: ignore[arg-type]
    prompted.server._planner._bounds = MemoryBounds(denoiser=(place,))
    try:
        assert apart(prompted.ours(*prompts), expected) == 0
        assert place_of(prompted.server._parts.checkpoint(prompted.model).denoiser) == place
    finally:
        prompted.server, prompted.ends = whole


def test_it_acts_on_a_quantised_model(prompted: Prompted, tmp_path: Path) -> None:
    file = quantised.scaled_fp8(prompted.split, tmp_path / "fp8.safetensors", quantised.of_all)
    model = prompted.quantised(file)
    prompts = [(prompted.xlabs[0], {}), (prompted.instantx, {"weight": 0.5})]
    found = prompted.ours(*prompts, model=model)
    assert 0 < apart(found, prompted.ours(*prompts)) < 1.5
    assert apart(found, prompted.ours(model=model)) > 20 * BOUND
