"""What follows a control picture with Stable Diffusion 3 and 3.5, against diffusers' pipeline."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch

from generation.messages import Configure
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.networks.control import Control
from generation.runtime.networks.sd3_control import added
from generation.runtime.server import Server
from generation.runtime.tiling import Tile
from generation.runtime.tokenizers import VOCABULARY, load_tokenizer
from tests.fixtures import flux, sd3, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND
from tests.unit.generation.runtime.ends import SETTINGS, Ends
from tests.unit.generation.runtime.test_flux import HEIGHT, STEPS, WIDTH, Drawing
from tests.unit.generation.runtime.test_flux_control import EDGES, Pixels, control

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
]
SCALE = 0.7
WITHOUT = {"text_encoder_3": None, "tokenizer_3": None}
"""Of a checkpoint without T5."""


class ControlModels(Drawing):
    """3.5 without T5, and ControlNets of its large model's make."""

    usual: ClassVar[dict[str, Any]] = {
        "schedule": "Normal",
        "guidance_scale": 4.0,
        "negative_prompt": "fog",
    }

    def __init__(self, root: Path) -> None:
        self.later = sd3.tiny_sd3(root / "later", t5=False)
        self.large = sd3.tiny_controlnet(root / "blur", reads_text=False)
        for name, kind in (("any", 2), ("lines", 1)):
            own = sd3.original_controlnet(sdxl.weights(self.large), kind)
            flux.save(own, root / f"{name}.safetensors")
        self.depth, self.edges = root / "any.safetensors", root / "lines.safetensors"
        self.configs = sdxl.configs_of("sd3", self.later, root / "configs")
        self.ends = Ends()
        settings = Configure(SETTINGS, root / "cache")
        self.server = Server(settings, self.ends, self.ends)  # type: ignore[arg-type]

    def steered(self, net: Path, folder: Path | None = None, family: str = "sd3.5") -> Pixels:
        """What that checkpoint draws with a ControlNet."""
        sha256, pictures = control()
        model = ModelFile(
            kind=ModelKind.CHECKPOINT,
            name="it",
            path=folder or self.later,
            family=family,
            carries=("vae", "clip_l", "clip_g"),
        )
        file = ModelFile(kind=ModelKind.CONTROLNET, name=net.stem, path=net, family=family)
        return self.draw(
            model,
            controls=[{"name": net.stem, "picture": sha256, "scale": SCALE}],
            controlnets=(file,),
            pictures=pictures,
        )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlModels]:
    found = ControlModels(tmp_path_factory.mktemp("sd3-control"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


def drawn_by_diffusers(folder: Path, net: Path, picture: Any) -> Pixels:
    """What its pipeline draws along a picture, of which it takes the latents' mean."""
    words = {
        "tokenizer": load_tokenizer(VOCABULARY),
        "tokenizer_2": load_tokenizer(sdxl.CONFIGS / "sdxl" / "tokenizer_2"),
        "controlnet": diffusers.SD3ControlNetModel.from_pretrained(net),
    }
    pipeline = diffusers.StableDiffusion3ControlNetPipeline
    pipe = pipeline.from_pretrained(folder, **words, **WITHOUT)
    pipe.set_progress_bar_config(disable=True)
    last = pipe.vae.encoder.conv_out
    with torch.no_grad():
        # it draws latents around their mean, with a spread of which nothing is left
        last.weight[flux.LATENTS :] = 0
        last.bias[flux.LATENTS :] = -100
    request = a_request()
    found = pipe(
        request.prompt,
        negative_prompt="fog",
        control_image=picture,
        controlnet_conditioning_scale=SCALE,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    )
    return np.asarray(found.images[0]).astype(float)


def test_stability_ais_for_large_draw_diffusers_picture(models: ControlModels) -> None:
    """Whatever their files are called."""
    expected = drawn_by_diffusers(models.later, models.large, EDGES)
    assert expected.std() > 20
    for net in (models.large, models.depth):
        assert np.abs(models.steered(net) - expected).mean() <= BOUND
    assert np.abs(models.steered(models.edges) - expected).mean() > BOUND


def test_that_for_edges_sees_them_as_it_was_trained_to(models: ControlModels) -> None:
    pixels = torch.from_numpy(np.array(EDGES)).permute(2, 0, 1)[None].float()
    # as the documentation of diffusers' pipeline has it
    expected = drawn_by_diffusers(models.later, models.large, pixels * 0.5 + 0.5)
    assert np.abs(models.steered(models.edges) - expected).mean() <= BOUND


def test_instantxs_for_3_draw_diffusers_picture(models: ControlModels, tmp_path: Path) -> None:
    """They read the text, no pooled state, and latents without their shift."""
    folder = sd3.tiny_sd3(tmp_path / "first", 1, later=False, t5=False)
    net = sd3.tiny_controlnet(tmp_path / "canny")
    expected = drawn_by_diffusers(folder, net, EDGES)
    file = tmp_path / "one.safetensors"
    file.write_bytes((net / "diffusion_pytorch_model.safetensors").read_bytes())
    for path in (net, file):
        assert np.abs(models.steered(path, folder, "sd3") - expected).mean() <= BOUND


def test_what_is_added_is_spread_over_the_blocks() -> None:
    """As diffusers' transformer does: each for some in a row."""
    own = [torch.full((1, 3, 2), float(number)) for number in range(2)]

    class Net:
        config = SimpleNamespace(force_zeros_for_pooled_projection=False)
        pos_embed, context_embedder = object(), None

        def __call__(self, **told: Any) -> tuple[list[torch.Tensor]]:
            return (own,)

    module = SimpleNamespace(transformer_blocks=range(5))
    told = {"hidden_states": torch.zeros(1, 4, 2, 2), "pooled_projections": torch.zeros(1, 2)}
    net = Control(Net(), torch.zeros(1, 4, 2, 2), 1.0)
    found = added(module, [net], told | {"timestep": torch.ones(1)}, Tile(0, 0, 2, 2))
    spread = found["block_controlnet_hidden_states"]
    assert [int(one[0, 0, 0]) for one in spread] == [0, 0, 0, 1, 1]
