"""What follows a control picture with Flux.1, against diffusers' pipelines on the same weights."""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from generation.messages import Configure, Failed
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.networks.control import Control
from generation.runtime.networks.flux import Flux
from generation.runtime.networks.flux_control import added
from generation.runtime.server import Server
from generation.runtime.tiling import Tile
from generation.runtime.tokenizers import VOCABULARY, load_t5_tokenizer, load_tokenizer
from tests.fixtures import flux, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND
from tests.unit.generation.runtime.ends import SETTINGS, Ends
from tests.unit.generation.runtime.test_flux import (
    ALL,
    HEIGHT,
    STEPS,
    WIDTH,
    Drawing,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array:DeprecationWarning",
    # diffusers' own name for it is older than its place
    "ignore:`FluxPosEmbed` is deprecated:FutureWarning",
)
Pixels = np.ndarray[Any, Any]
EDGES = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
"""A control picture of the size that is drawn."""


class ControlModels(Drawing):
    """Flux.1 dev, and the same with a denoiser that follows a picture itself."""

    usual: ClassVar[dict[str, Any]] = {"schedule": "Simple"}

    def __init__(self, root: Path) -> None:
        self.folder = flux.tiny_flux(root / "dev")
        self.following = flux.tiny_control(root / "following", self.folder)
        self.split = flux.split(self.following, root / "split")
        self.configs = sdxl.configs_of("flux", self.folder, root / "configs")
        self.ends = Ends()
        settings = Configure(SETTINGS, root / "cache")
        self.server = Server(settings, self.ends, self.ends)  # type: ignore[arg-type]
        self.nets = {
            "lines": flux.tiny_controlnet(root / "lines", 1, 2),
            "pixels": flux.tiny_controlnet(root / "pixels", 3, 2, pixels=True),
            "union": flux.tiny_controlnet(root / "union", 2, 1, 1, modes=7),
        }
        own = {"variant": "control"}
        self.files = {
            "dev": _checkpoint(self.folder, carries=ALL),
            "folder": _checkpoint(self.following, carries=ALL, **own),
            "split": _checkpoint(self.split, parts=flux.parts_of(root / "split"), **own),
        }


def _checkpoint(path: Path, **fields: Any) -> ModelFile:
    return ModelFile(kind=ModelKind.CHECKPOINT, name=path.stem, path=path, family="flux", **fields)


def net_of(path: Path, **fields: Any) -> ModelFile:
    return ModelFile(kind=ModelKind.CONTROLNET, name=path.stem, path=path, family="flux", **fields)


def control(picture: Image.Image = EDGES) -> tuple[str, dict[str, bytes]]:
    """A control picture's hash, and what a job is handed of it."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return sha256, {sha256: file.getvalue()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlModels]:
    found = ControlModels(tmp_path_factory.mktemp("flux-control"))
    with pytest.MonkeyPatch.context() as patch:
        # single files carry no sizes of their VAE and of CLIP
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


@pytest.fixture(scope="module")
def parts(models: ControlModels) -> dict[str, Any]:
    """What diffusers' pipelines are made of; its VAE's latents are their mean."""
    # the words are the same everywhere, and reading them takes longest
    words = {"tokenizer": load_tokenizer(VOCABULARY), "tokenizer_2": load_t5_tokenizer()}
    found = diffusers.FluxPipeline.from_pretrained(models.folder, **words).components
    last = found["vae"].encoder.conv_out
    with torch.no_grad():
        # it draws latents around their mean, with a spread of which nothing is left
        last.weight[flux.LATENTS :] = 0
        last.bias[flux.LATENTS :] = -100
    return {name: part for name, part in found.items() if part is not None}


def drawn_by_diffusers(pipe: Any, picture: Any, **options: Any) -> Pixels:
    """What one of its pipelines draws along a picture."""
    pipe.set_progress_bar_config(disable=True)
    request = a_request()
    generator = torch.Generator("cpu").manual_seed(request.seed)
    noise = torch.randn(1, flux.LATENTS, HEIGHT // 8, WIDTH // 8, generator=generator)
    found = pipe(
        request.prompt,
        control_image=picture,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        latents=pipe._pack_latents(noise, 1, flux.LATENTS, HEIGHT // 8, WIDTH // 8),
        **options,
    )
    return np.asarray(found.images[0]).astype(float)


@pytest.fixture(scope="module")
def followed(models: ControlModels, parts: dict[str, Any]) -> Pixels:
    """What diffusers draws with a model that follows a picture itself."""
    folder = models.following / "transformer"
    own = {"transformer": diffusers.FluxTransformer2DModel.from_pretrained(folder)}
    pipe = diffusers.FluxControlPipeline(**{**_without_eyes(parts), **own})
    return drawn_by_diffusers(pipe, EDGES, guidance_scale=10.0)


def _without_eyes(parts: dict[str, Any]) -> dict[str, Any]:
    return {n: p for n, p in parts.items() if n not in ("image_encoder", "feature_extractor")}


@pytest.mark.parametrize("layout", ["folder", pytest.param("split", marks=pytest.mark.slow)])
def test_a_model_that_follows_a_picture_itself_draws_diffusers_picture(
    layout: str, models: ControlModels, followed: Pixels
) -> None:
    model, (sha256, pictures) = models.files[layout], control()
    uses = [{"name": model.name, "picture": sha256}]
    found = models.draw(model, controls=uses, pictures=pictures, guidance_scale=10.0)
    assert followed.std() > 20
    assert np.abs(found - followed).mean() <= BOUND
    # whatever its size, it is fitted to what is drawn
    sha256, pictures = control(EDGES.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    other = models.draw(
        model,
        controls=[{"name": model.name, "picture": sha256}],
        pictures=pictures,
        guidance_scale=10.0,
    )
    assert np.abs(other - followed).mean() > BOUND


def test_it_draws_nothing_without_a_picture(models: ControlModels) -> None:
    answer = models.answer(models.files["folder"])
    assert isinstance(answer, Failed)
    assert (answer.code, answer.params) == ("control_picture_needed", {"model": "following"})


@pytest.fixture(scope="module")
def control_lora(
    models: ControlModels, parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelFile, Callable[[float], Pixels]]:
    """A LoRA that has dev follow a picture, and what diffusers draws with it at a strength."""
    folder = models.folder / "transformer"
    transformer = diffusers.FluxTransformer2DModel.from_pretrained(folder)
    ours, theirs = flux.control_lora(transformer)
    path = tmp_path_factory.mktemp("lora") / "depth.safetensors"
    save_file(theirs, path)
    pipe = diffusers.FluxControlPipeline(**{**_without_eyes(parts), "transformer": transformer})
    pipe.load_lora_weights(dict(ours), adapter_name="depth")

    def draw(strength: float) -> Pixels:
        pipe.set_adapters("depth", strength)
        return drawn_by_diffusers(pipe, EDGES, guidance_scale=3.5)

    kind = ModelKind.LORA
    return ModelFile(kind=kind, name="depth", path=path, family="flux", variant="control"), draw


def followed_by(models: ControlModels, lora: ModelFile, strength: float = 1.0) -> Pixels:
    """What dev draws along a picture with a LoRA."""
    sha256, pictures = control()
    return models.draw(
        models.files["dev"],
        loras=(lora,),
        strengths=(strength,),
        controls=[{"name": lora.name, "picture": sha256}],
        pictures=pictures,
    )


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_a_lora_has_dev_follow_a_picture_as_with_diffusers(
    strength: float, models: ControlModels, control_lora: Any
) -> None:
    lora, draw = control_lora
    expected = draw(strength)
    found = followed_by(models, lora, strength)
    assert expected.std() > 20
    assert np.abs(found - expected).mean() <= BOUND


def test_nothing_is_left_of_such_a_lora(models: ControlModels, control_lora: Any) -> None:
    """To the bit: without it, with it, and without it again; and with a ControlNet in between."""
    lora, _ = control_lora
    dev = models.files["dev"]
    before, with_it = models.draw(dev), followed_by(models, lora)
    assert np.abs(before - with_it).mean() > 1
    assert np.array_equal(models.draw(dev), before)
    assert np.array_equal(followed_by(models, lora), with_it)
    steered(models, (net_of(models.nets["lines"]), {}))
    assert np.array_equal(models.draw(dev), before)


def steered(models: ControlModels, *uses: tuple[ModelFile, dict[str, Any]]) -> Pixels:
    """What dev draws with these ControlNets, all along one picture."""
    sha256, pictures = control()
    return models.draw(
        models.files["dev"],
        controls=[{"name": net.name, "picture": sha256, **use} for net, use in uses],
        controlnets=tuple(net for net, _ in uses),
        pictures=pictures,
    )


@pytest.fixture(scope="module")
def reference(models: ControlModels, parts: dict[str, Any]) -> Callable[..., Pixels]:
    """What diffusers draws with ControlNets of these names, all along one picture."""
    class_ = diffusers.FluxControlNetModel
    loaded = {name: class_.from_pretrained(path) for name, path in models.nets.items()}

    def draw(*names: str, **options: Any) -> Pixels:
        nets = [loaded[name] for name in names]
        several = len(nets) > 1
        net = diffusers.FluxMultiControlNetModel(nets) if several else nets[0]
        pipe = diffusers.FluxControlNetPipeline(**parts, controlnet=net)
        shown = [EDGES] * len(nets) if several else EDGES
        return drawn_by_diffusers(pipe, shown, guidance_scale=3.5, **options)

    return draw


def test_a_controlnet_draws_diffusers_picture(
    models: ControlModels, reference: Callable[..., Pixels], tmp_path: Path
) -> None:
    expected = reference("lines", controlnet_conditioning_scale=0.7)
    folder = net_of(models.nets["lines"])
    file = tmp_path / "lines.safetensors"
    shutil.copy(folder.path / "diffusion_pytorch_model.safetensors", file)
    for net in (folder, net_of(file)):
        found = steered(models, (net, {"scale": 0.7}))
        assert np.abs(found - expected).mean() <= BOUND
    assert np.abs(expected - models.draw(models.files["dev"])).mean() > BOUND


def test_one_that_reads_pixels_draws_diffusers_picture(
    models: ControlModels, reference: Callable[..., Pixels], tmp_path: Path
) -> None:
    """XLabs' make, as a folder and in their own names."""
    expected = reference("pixels", controlnet_conditioning_scale=0.7)
    folder = net_of(models.nets["pixels"])
    file = net_of(flux.xlabs(folder.path, tmp_path / "pixels.safetensors"))
    for net in (folder, file):
        found = steered(models, (net, {"scale": 0.7}))
        assert np.abs(found - expected).mean() <= BOUND
    assert np.abs(expected - models.draw(models.files["dev"])).mean() > BOUND


@pytest.mark.parametrize(("pixels", "order"), [(False, "aabb"), (True, "abab")])
def test_what_is_added_is_spread_over_the_blocks(pixels: bool, order: str) -> None:
    """As their authors do: InstantX' each for some in a row, XLabs' in turns."""
    own = {name: torch.full((1, 3, 2), float(ord(name))) for name in "ab"}

    class Net:
        union, input_hint_block = False, object() if pixels else None
        config = SimpleNamespace(guidance_embeds=False)

        def __call__(self, **told: Any) -> tuple[list[torch.Tensor], None]:
            return [own["a"], own["b"]], None

    module = SimpleNamespace(transformer_blocks=range(4), single_transformer_blocks=range(2))
    told = {"hidden_states": torch.zeros(1, 3, 2)}
    hint = torch.zeros(1, 3, 2)
    found = added(module, [(Control(Net(), hint, 1.0), hint)], told, 1.0)
    assert list(found) == ["controlnet_block_samples"]
    spread = found["controlnet_block_samples"]
    assert "".join(chr(int(one[0, 0, 0])) for one in spread) == order


def test_a_union_is_told_the_kind_of_its_picture(
    models: ControlModels, reference: Callable[..., Pixels]
) -> None:
    union = net_of(models.nets["union"], variant="union")
    kinds = {None: 0, "depth": 2}
    found = {kind: steered(models, (union, {"kind": kind})) for kind in kinds}
    for kind, mode in kinds.items():
        expected = reference("union", control_mode=mode, controlnet_conditioning_scale=1.0)
        off = {other: np.abs(one - expected).mean() for other, one in found.items()}
        assert off.pop(kind) <= min(BOUND, *off.values()) / 10


def test_several_act_at_once_and_each_over_its_steps(
    models: ControlModels, reference: Callable[..., Pixels]
) -> None:
    lines, union = net_of(models.nets["lines"]), net_of(models.nets["union"], variant="union")
    expected = reference(
        *("lines", "lines"),
        controlnet_conditioning_scale=[0.5, 0.4],
        control_guidance_end=[1.0, 0.5],
    )
    found = steered(models, (lines, {"scale": 0.5}), (lines, {"scale": 0.4, "end": 0.5}))
    assert np.abs(found - expected).mean() <= BOUND
    # of other numbers of blocks, of which diffusers drops some
    one = steered(models, (lines, {}))
    both = steered(models, (lines, {}), (union, {"kind": "depth"}))
    assert np.abs(both - one).mean() > BOUND


@pytest.mark.slow
def test_one_of_another_size_is_refused(models: ControlModels, tmp_path: Path) -> None:
    wide = diffusers.FluxControlNetModel(
        num_layers=1,
        num_single_layers=0,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=flux.T5_WIDTH,
        pooled_projection_dim=flux.CLIP_WIDTH,
        axes_dims_rope=[2, 6, 8],
    )
    wide.save_pretrained(tmp_path / "wide")
    net = net_of(tmp_path / "wide")
    sha256, pictures = control()
    answer = models.answer(
        models.files["dev"],
        controls=[{"name": "wide", "picture": sha256}],
        controlnets=(net,),
        pictures=pictures,
    )
    assert isinstance(answer, Failed)
    assert answer.code == "controlnet_mismatch"


def test_what_is_shown_beside_is_left_as_it_is(models: ControlModels) -> None:
    """A ControlNet sees what is drawn; behind it stand the pictures that are edited."""
    parts = models.server._parts
    module = parts.checkpoint(models.files["dev"]).denoiser
    net = parts.controlnet(net_of(models.nets["union"], variant="union"))
    generator = torch.Generator("cpu").manual_seed(1)
    latents, shown, hint = torch.randn(3, 1, flux.LATENTS, 4, 6, generator=generator)
    text, pooled = torch.zeros(1, 3, flux.T5_WIDTH), torch.zeros(1, flux.CLIP_WIDTH)
    told = (latents, torch.tensor(500.0), text, pooled, None, None, Tile(0, 0, 32, 48))

    def answer(scale: float) -> torch.Tensor:
        network = Flux(module, [Control(net, hint, scale, factor=8)], 3.5)
        with torch.no_grad():
            return network.predict(*told, references=(shown,))

    with torch.no_grad():
        alone = Flux(module, (), 3.5).predict(*told, references=(shown,))
    assert torch.equal(answer(0.0), alone)
    assert (answer(1.0) - alone).abs().mean() > 0.01
