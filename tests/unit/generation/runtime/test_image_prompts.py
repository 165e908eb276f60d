"""IP-Adapters against diffusers' own pipelines on the same weights."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor

from generation.messages import Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import convert
from generation.runtime.image_encoders import pixels_for
from generation.runtime.networks.image_attention import BLOCKS, cross_layers
from tests.fixtures import image_prompts as fixtures
from tests.fixtures import loras, models, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import (
    BOUND,
    HEIGHT,
    WIDTH,
    Drawing,
    Pixels,
    apart,
    checkpoint,
    pixels_of,
)
from tests.unit.generation.runtime.test_inpainting import CFG, STEPS, euler

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
PIPES: dict[str, Any] = {
    "sd1": diffusers.StableDiffusionPipeline,
    "sdxl": diffusers.StableDiffusionXLPipeline,
}


class Prompted(Drawing):
    """Tiny models of both families, and two pictures."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        self.root = root
        self.models = {
            "sd1": checkpoint(models.tiny_stable_diffusion(root / "sd"), "sd1"),
            "sdxl": checkpoint(sdxl.tiny_sdxl(root / "xl"), "sdxl"),
        }
        self.eyes = fixtures.write_eyes(root / "eyes.safetensors")
        self.pictures = [Image.new("RGB", (120, 80), colour) for colour in ("red", "navy")]
        for number, picture in enumerate(self.pictures):
            ImageDraw.Draw(picture).ellipse((10, 5 + 20 * number, 90, 70), "gold")

    @property
    def contents(self) -> dict[str, bytes]:
        """The pictures' files by their hashes."""
        found = {}
        for picture in self.pictures:
            file = io.BytesIO()
            picture.save(file, "PNG")
            found[hashlib.sha256(file.getvalue()).hexdigest()] = file.getvalue()
        return found

    @property
    def hashes(self) -> list[str]:
        return list(self.contents)

    def pipe(self, family: str) -> Any:
        """diffusers', with the eyes."""
        size = {"size": {"shortest_edge": fixtures.SIDE}}
        crop = {"crop_size": {"height": fixtures.SIDE, "width": fixtures.SIDE}}
        pipe = PIPES[family].from_pretrained(
            self.models[family].path,
            image_encoder=fixtures.eyes(),
            feature_extractor=CLIPImageProcessor(**size, **crop),
        )
        pipe.set_progress_bar_config(disable=True)
        return euler(pipe)

    def adapter(self, family: str, variant: str, seed: int = 6) -> tuple[ModelFile, Any]:
        """Its file, and its tensors as a pipeline takes them."""
        unet = self.pipe(family).unet
        path = self.root / f"{family}-{variant}-{seed}.safetensors"
        tensors = fixtures.adapter_tensors(unet, variant, seed)
        parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        return fixtures.write_adapter(path, unet, variant, family, seed), parts

    def ours(
        self, family: str, *prompts: tuple[ModelFile, dict[str, Any]], **changes: Any
    ) -> Pixels:
        """Drawn with these adapters and what is told of each."""
        contents, hashes = self.contents, self.hashes
        told = [
            {
                "name": file.name,
                **how,
                "pictures": [hashes[n] for n in how.get("pictures", (0,))],
            }
            for file, how in prompts
        ]
        answer = self.answer(
            self.models[family],
            schedule="Uniform",
            steps=STEPS,
            image_prompts=told,
            adapters=tuple(file for file, _ in prompts),
            eyes=(self.eyes,),
            pictures=contents,
            **CFG,
            **changes,
        )
        assert isinstance(answer, Picture), answer
        # its files are told with the picture
        told_files = {f"ipadapter:{file.name}" for file, _ in prompts}
        assert {*told_files, "clip_vision:eyes"} <= answer.hashes.keys()
        return pixels_of(answer)

    def theirs(self, pipe: Any, images: Any) -> Pixels:
        request = a_request()
        found = pipe(
            prompt=request.prompt,
            ip_adapter_image=images,
            width=WIDTH,
            height=HEIGHT,
            num_inference_steps=STEPS,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            **CFG,
        )
        return np.asarray(found.images[0]).astype(float)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Prompted:
    return Prompted(tmp_path_factory.mktemp("prompted"))


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.slow)])
@pytest.mark.parametrize("variant", ["base", "plus"])
def test_a_picture_is_a_prompt(prompted: Prompted, family: str, variant: str) -> None:
    file, parts = prompted.adapter(family, variant)
    pipe = prompted.pipe(family)
    pipe.load_ip_adapter(parts, subfolder=None, weight_name=None)
    pipe.set_ip_adapter_scale(0.7)
    found = prompted.ours(family, (file, {"weight": 0.7}))
    assert apart(found, prompted.theirs(pipe, prompted.pictures[0])) < BOUND
    assert apart(found, prompted.ours(family)) > 20 * BOUND
    # of several, one stands behind the other
    two = prompted.ours(family, (file, {"weight": 0.7, "pictures": (0, 1)}))
    assert apart(two, prompted.theirs(pipe, [prompted.pictures])) < BOUND
    assert apart(two, found) > BOUND


@pytest.mark.slow
def test_two_adapters_act_together(prompted: Prompted) -> None:
    one, first = prompted.adapter("sd1", "base")
    other, second = prompted.adapter("sd1", "plus", 7)
    pipe = prompted.pipe("sd1")
    pipe.load_ip_adapter([first, second], subfolder=[None, None], weight_name=[None, None])
    pipe.set_ip_adapter_scale([0.7, 0.4])
    found = prompted.ours("sd1", (one, {"weight": 0.7}), (other, {"weight": 0.4, "pictures": (1,)}))
    assert apart(found, prompted.theirs(pipe, prompted.pictures)) < BOUND


def test_it_acts_over_its_part_of_the_steps(prompted: Prompted) -> None:
    file, _ = prompted.adapter("sd1", "base")
    nothing = prompted.ours("sd1")
    whole = prompted.ours("sd1", (file, {}))
    first, rest = (
        prompted.ours("sd1", (file, {"start": start, "end": end}))
        for start, end in ((0.0, 0.5), (0.5, 1.0))
    )
    for one in (first, rest):
        assert apart(one, nothing) > BOUND
        assert apart(one, whole) > BOUND
    assert apart(prompted.ours("sd1", (file, {"weight": 0.0})), nothing) == 0
    # what acted leaves the network as it was
    assert apart(prompted.ours("sd1"), nothing) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "beside",
    [
        "lora",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("start picture", "mask", "hires pass")),
    ],
)
def test_it_acts_beside_what_else_there_is_the_same_each_time(
    prompted: Prompted, beside: str, tmp_path: Path
) -> None:
    file, _ = prompted.adapter("sd1", "base")
    start = prompted.hashes[1]
    told: dict[str, dict[str, Any]] = {
        "start picture": {"init_picture": start, "denoising_strength": 0.8},
        "mask": {"init_picture": start, "mask": prompted.hashes[0], "denoising_strength": 0.9},
        "hires pass": {"hires": "1.5", "hires_upscaler": "Latent", "hires_denoising": 0.6},
        "lora": {},
    }
    changes = told[beside]
    if beside == "lora":
        pairs = loras.pairs(loras.layers(loras.sd1()["unet"]))
        save_file(loras.kohya(pairs), tmp_path / "ink.safetensors")
        lora = ModelFile(
            kind=ModelKind.LORA, name="ink", path=tmp_path / "ink.safetensors", family="sd1"
        )
        changes = {"loras": (lora,)}
    plain = prompted.ours("sd1", **changes)
    found = prompted.ours("sd1", (file, {"weight": 0.7}), **changes)
    assert apart(found, plain) > 10 * BOUND
    if beside != "hires pass":
        assert apart(found, prompted.ours("sd1", (file, {"weight": 0.7}))) > 10 * BOUND
    # as /replay draws it
    assert apart(prompted.ours("sd1", (file, {"weight": 0.7}), **changes), found) == 0


def test_the_mean_of_two_pictures_goes_from_one_to_the_other(prompted: Prompted) -> None:
    file, _ = prompted.adapter("sd1", "base")

    def mean(*shares: float) -> Pixels:
        told = {"pictures": (0, 1), "join": "average", "shares": list(shares)}
        return prompted.ours("sd1", (file, told))

    one, other = (prompted.ours("sd1", (file, {"pictures": (n,)})) for n in (0, 1))
    assert apart(mean(1, 0), one) < BOUND
    assert apart(mean(0, 5), other) < BOUND
    assert apart(mean(1, 1), mean()) < BOUND
    assert min(apart(mean(1, 1), one), apart(mean(1, 1), other)) > BOUND


@pytest.mark.parametrize(
    ("kind", "scale"),
    [
        ("style", {"up": {"block_0": [0.0, 0.7, 0.0]}}),
        ("composition", {"down": {"block_2": [0.0, 0.7]}}),
    ],
)
def test_style_and_composition_are_blocks_of_xl(kind: str, scale: dict[str, Any]) -> None:
    """As InstantStyle has them, of a UNet with SDXL's blocks."""
    torch.manual_seed(0)
    unet: Any = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 16),
        norm_num_groups=4,
        layers_per_block=2,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
    ).eval()
    names = [name for name in cross_layers(unet) if name.startswith(BLOCKS[kind])]
    others = [name for name in cross_layers(unet) if not name.startswith(BLOCKS[kind])]
    assert names
    assert len(others) > len(names)
    wanted = {}
    for name in cross_layers(unet):
        # up_blocks.0.attentions.1.… is the second of block_0 on the way up
        side, block, _, place = name.split(".")[:4]
        blocks = scale.get(side.removesuffix("_blocks"), {})
        row = blocks.get(f"block_{block}")
        wanted[name] = row[int(place)] if row else 0.0
    assert {name for name, by in wanted.items() if by} == set(names)


def test_clip_sees_the_middle_as_its_own_processor_has_it() -> None:
    picture = Image.effect_noise((130, 75), 80).convert("RGB")
    processor = CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    expected = processor(picture, return_tensors="pt").pixel_values
    assert (pixels_for(picture, fixtures.eyes()) - expected).abs().max() < 1e-5


@pytest.mark.slow
def test_an_adapter_of_another_make_is_refused(prompted: Prompted) -> None:
    file, _ = prompted.adapter("sdxl", "base")
    wrong = ModelFile(
        kind=ModelKind.IPADAPTER,
        name=file.name,
        path=file.path,
        family="sd1",
        variant="base",
        input_channels=fixtures.PROJECTED,
    )
    answer: Callable[..., Any] = prompted.answer
    found = answer(
        prompted.models["sd1"],
        image_prompts=[{"name": file.name, "pictures": ["0" * 64]}],
        adapters=(wrong,),
        eyes=(prompted.eyes,),
        pictures={"0" * 64: b""},
    )
    assert found.code == "ipadapter_mismatch"


def test_an_adapter_that_is_a_pickle_is_converted(prompted: Prompted, tmp_path: Path) -> None:
    """Its tensors lie in two halves there, and under one name each in safetensors."""
    file, parts = prompted.adapter("sd1", "base")
    torch.save(parts, tmp_path / "ip-adapter_sd15.bin")
    found = convert.read(tmp_path / "ip-adapter_sd15.bin")
    expected = load_file(file.path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
