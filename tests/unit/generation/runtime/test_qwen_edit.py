"""Qwen-Image-Edit, whose text encoder sees the pictures too, against diffusers' pipelines."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import transformers
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as first
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus
from PIL import Image
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from generation.families import FAMILIES
from generation.families.encoders import EYES_ALONE
from generation.families.qwen_image import EDITING
from generation.messages import Failed, Generate
from generation.models import ModelFile
from generation.runtime import checkpoints
from generation.runtime.encoders.qwen2_vl import PLACE, SeeingModel, seen_by_eyes
from generation.runtime.networks.qwen_image import CLEAN, read
from generation.runtime.references import seen
from generation.runtime.tokenizers import load_qwen_tokenizer
from tests.fixtures import flux, gguf_files, qwen_image, sdxl
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
)

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
ALL = ("vae", "qwen2.5-vl-7b")
NATIVE = 64
"""Side of the pictures that the tiny models are shown."""
NEGATIVE, GUIDANCE = "fog", 4.0


class Edit(Drawing):
    """Tiny models of the first and of 2511, and what they edit."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        pipe = qwen_image.tiny_qwen_image(root / "edit")
        self.encoder = pipe.text_encoder
        self.split = qwen_image.split(root / "edit", root / "split")
        self.root = root
        qwen_image.tiny_clean(root / "plus", root / "edit")
        self.pipes = {
            "edit": first.QwenImageEditPipeline(**pipe.components, processor=None),
            "edit-plus": plus.QwenImageEditPlusPipeline(
                **{**pipe.components, "transformer": qwen_image.load_transformer(root / "plus")},
                processor=None,
            ),
        }
        self.files = {
            "edit": self.file(root / "edit", "edit"),
            "edit-plus": self.file(root / "plus", "edit-plus"),
        }
        pictures = [
            Image.radial_gradient("L").resize((300, 100)).convert("RGB"),
            Image.linear_gradient("L").resize((80, 120)).convert("RGB"),
        ]
        self.pictures = {_file_of(picture): picture for picture in pictures}

    def file(self, path: Path, variant: str, **more: Any) -> ModelFile:
        more = {"carries": ALL, **more}
        return checkpoint(path, "qwen-image", variant=variant, native_size=NATIVE, **more)

    def given(self, count: int = 1) -> dict[str, Any]:
        """What a request is given for so many pictures."""
        files = list(self.pictures)[:count]
        hashes = tuple(hashlib.sha256(file).hexdigest() for file in files)
        names = ("init_picture", "second_picture")
        return {
            **dict(zip(names, hashes, strict=False)),
            "references": hashes,
            "pictures": dict(zip(hashes, files, strict=True)),
            "negative_prompt": NEGATIVE,
            "guidance_scale": GUIDANCE,
        }

    def drawn_by_diffusers(self, variant: str, seen: Sequence[Image.Image]) -> Pixels:
        """`seen` are the pictures as the text encoder sees them."""
        request, pipe = a_request(), self.pipes[variant]
        pipe.set_progress_bar_config(disable=True)
        found = pipe(
            image=list(self.pictures.values())[: len(seen)],
            prompt_embeds=self.states(variant, request.prompt, seen),
            negative_prompt_embeds=self.states(variant, NEGATIVE, seen),
            true_cfg_scale=GUIDANCE,
            width=WIDTH,
            height=HEIGHT,
            num_inference_steps=STEPS,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )
        return np.asarray(found.images[0]).astype(float)

    def states(self, variant: str, prompt: str, seen: Sequence[Image.Image]) -> torch.Tensor:
        """As the pipeline has them, but that diffusers 0.42 does not tell transformers 5.23 which
        tokens are pictures', without which their rows and columns are lost.
        """
        pipe = self.pipes[variant]
        shown = Qwen2VLImageProcessorPil()(images=list(seen), return_tensors="pt")
        marks = [PLACE * int(sides.prod() // 4) for sides in shown["image_grid_thw"]]
        start = "<|vision_start|>{}<|vision_end|>"
        if variant == "edit":
            text = pipe.prompt_template_encode.replace(PLACE, marks[0]).replace("{}", prompt)
        else:
            said = "".join(f"Picture {n}: {start.format(m)}" for n, m in enumerate(marks, 1))
            text = pipe.prompt_template_encode.replace("{}", said + prompt)
        ids = torch.tensor([load_qwen_tokenizer()(text).input_ids])
        with torch.no_grad():
            states: torch.Tensor = self.encoder(
                input_ids=ids,
                pixel_values=shown["pixel_values"],
                image_grid_thw=shown["image_grid_thw"],
                mm_token_type_ids=(ids == self.encoder.config.image_token_id).int(),
                output_hidden_states=True,
            ).hidden_states[-1]
        return states[:, pipe.prompt_template_encode_start_idx :]


def _file_of(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def edit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edit]:
    found = Edit(tmp_path_factory.mktemp("edit"))
    usual = first.calculate_dimensions
    configs = sdxl.configs_of("qwen-image", found.root / "edit", found.root / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CONFIGS", configs)
        for module in (first, plus):
            # the published size is too large for a test
            patch.setattr(module, "calculate_dimensions", lambda _a, r: usual(NATIVE**2, r))
        patch.setattr(plus, "calculate_dimensions", lambda _a, r: usual(NATIVE**2, r)[:2])
        yield found


def sized(picture: Image.Image, wide: int, high: int) -> Image.Image:
    return picture.resize((wide, high), Image.Resampling.LANCZOS)


def test_an_edit_is_diffusers_picture(edit: Edit) -> None:
    """The text encoder sees the picture in the size in which the denoiser is shown it."""
    picture, _ = edit.pictures.values()
    reference = edit.drawn_by_diffusers("edit", [sized(picture, 96, 32)])
    assert apart(edit.draw(edit.files["edit"], **edit.given()), reference) <= BOUND
    parts = edit.file(
        edit.split, "edit", carries=(), parts=qwen_image.parts_of(edit.root / "split")
    )
    assert apart(edit.draw(parts, **edit.given()), reference) <= BOUND


def test_several_pictures_are_diffusers_picture(edit: Edit) -> None:
    """Seen smaller than they are shown; the denoiser is told that they have no noise (2511)."""
    one, other = edit.pictures.values()
    reference = edit.drawn_by_diffusers("edit-plus", [sized(one, 32, 32), sized(other, 32, 32)])
    # what the text encoder said of one alone is not what it says of both
    alone = edit.draw(edit.files["edit-plus"], **edit.given(1))
    found = edit.draw(edit.files["edit-plus"], **edit.given(2))
    assert apart(found, reference) <= BOUND
    assert apart(found, alone) > BOUND


def test_what_is_said_of_a_picture_is_as_transformers_has_it(edit: Edit) -> None:
    """Its tokens stand in rows and columns, not in a row as words do."""
    encoder = edit.server._parts.checkpoint(edit.files["edit"]).encoders[0]
    seen = [sized(next(iter(edit.pictures.values())), 168, 112)]
    (found,) = encoder.encode(["a cat"], 1, {}, "a1111", seen).values()
    assert torch.allclose(found.states, edit.states("edit", "a cat", seen), atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "sizes"), [("edit", [(96, 32), (64, 64)]), ("edit-plus", [(32, 32), (32, 32)])]
)
def test_the_text_encoder_sees_them_in_a_size_of_its_own(
    variant: str, sizes: list[tuple[int, int]], edit: Edit
) -> None:
    """Of 64 pixels, for so small a model: all of them, or as 384 are of 1024."""
    file, given = edit.files[variant], edit.given(2)
    work = {name: given[name] for name in ("references", "pictures")}
    model = edit.server._parts.checkpoint(file)
    found = seen(Generate("1", a_request(), file, **work), model)
    assert [picture.size for picture in found] == sizes


@pytest.mark.parametrize("variant", ["edit", "edit-plus"])
def test_they_are_asked_as_diffusers_asks_them(variant: str, edit: Edit) -> None:
    row = FAMILIES["qwen-image"].version(variant).encoders[0]
    pipe = edit.pipes[variant]
    said = (
        row.template if variant == "edit-plus" else row.template.replace("{}", f"{row.picture}{{}}")
    )
    assert said == pipe.prompt_template_encode
    assert row.unseen == pipe.prompt_template_encode_start_idx


@pytest.mark.parametrize("size", [(96, 32), (1024, 1024), (300, 200), (28, 30), (1184, 896)])
def test_a_picture_is_cut_up_as_transformers_does(size: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 80).convert("RGB")
    bounds = {"shortest_edge": 56**2, "longest_edge": 12_845_056}
    expected = Qwen2VLImageProcessorPil(size=bounds)(images=[picture], return_tensors="pt")
    seen = seen_by_eyes(picture)
    assert [[1, seen.high, seen.wide]] == expected["image_grid_thw"].tolist()
    assert torch.allclose(seen.patches, expected["pixel_values"], atol=1e-5)


def test_a_prompt_holds_no_place_of_a_picture(edit: Edit) -> None:
    """What stands for one would be filled with what is not there."""
    encoder = edit.server._parts.checkpoint(edit.files["edit"]).encoders[0]
    assert isinstance(encoder, SeeingModel)
    shown = [seen_by_eyes(picture) for picture in edit.pictures.values()][:1]
    plain = encoder.ids("make it red", "a1111", shown)
    assert encoder.ids(f"make {PLACE}it red<|video_pad|>", "a1111", shown) == plain
    assert plain.count(encoder.module.config.image_token_id) == shown[0].tokens


def test_a_text_encoder_without_eyes_is_named(edit: Edit, tmp_path: Path) -> None:
    words = sdxl.weights(edit.root / "edit" / "text_encoder")
    blind = {name: tensor for name, tensor in words.items() if "visual." not in name}
    flux.save(blind, tmp_path / "blind.safetensors")
    parts = dict(qwen_image.parts_of(edit.root / "split"))
    name = "qwen2.5-vl-7b"
    parts[name] = checkpoint(tmp_path / "blind.safetensors", name)
    answer = edit.answer(edit.file(edit.split, "edit", carries=(), parts=parts), **edit.given())
    assert isinstance(answer, Failed)
    assert (answer.code, answer.params) == ("encoder_blind", {"file": "blind.safetensors"})


def test_a_file_says_that_what_is_shown_has_no_noise(edit: Edit) -> None:
    weights = sdxl.weights(edit.root / "edit" / "transformer")
    config, own = read({**weights, CLEAN: torch.zeros(1)}, {})
    assert config["zero_cond_t"]
    assert own.keys() == weights.keys()
    assert not read(weights, {})[0]["zero_cond_t"]


def test_what_sees_is_planned_by_its_size() -> None:
    """As published, of which nothing is loaded."""
    config = transformers.Qwen2_5_VLConfig(vision_config={"hidden_size": 1280}).vision_config
    with torch.device("meta"):
        eyes = modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel._from_config(config)
    size = 2 * sum(parameter.numel() for parameter in eyes.parameters())
    for version in EDITING.values():
        assert version.encoders[0].eyes == pytest.approx(size, rel=0.001)


def test_what_sees_may_be_llama_cpps(edit: Edit, tmp_path: Path) -> None:
    """Its file has the same weights in pieces, under other names."""
    tensors = sdxl.weights(edit.root / "split" / "text_encoders")
    eyes = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}
    words = {name: tensor for name, tensor in tensors.items() if name not in eyes}
    assert words
    assert eyes
    flux.save(words, tmp_path / "words.safetensors")
    written = {}
    for name, tensor in eyes.items():
        for own, part in _llama_cpps(name.removeprefix("visual."), tensor):
            written[own] = "F32", tuple(part.shape), part.float().numpy().tobytes()
    mmproj = gguf_files.write(tmp_path / "mmproj.gguf", written, "clip")
    usual = edit.file(
        edit.split, "edit", carries=(), parts=qwen_image.parts_of(edit.root / "split")
    )
    whole = usual.parts["qwen2.5-vl-7b"]
    beside = msgspec.structs.replace(whole, path=mmproj, variant=EYES_ALONE)
    path = tmp_path / "words.safetensors"
    blind = msgspec.structs.replace(whole, path=path, parts={EYES_ALONE: beside})
    model = msgspec.structs.replace(usual, parts={**usual.parts, "qwen2.5-vl-7b": blind})
    expected = edit.draw(usual, **edit.given())
    assert np.array_equal(edit.draw(model, **edit.given()), expected)


def _llama_cpps(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A weight of the part that sees as llama.cpp's converter writes it."""
    if name.startswith("patch_embed."):
        yield "v.patch_embd.weight", tensor[:, :, 0]
        yield "v.patch_embd.weight.1", tensor[:, :, 1]
        return
    if name.startswith("merger."):
        rest = name.removeprefix("merger.")
        yield rest.replace("mlp.", "mm.").replace("ln_q.", "v.post_ln."), tensor
        return
    _, block, rest = name.split(".", 2)
    part, _, end = rest.rpartition(".")
    if part == "attn.qkv":
        for letter, piece in zip("qkv", tensor.chunk(3), strict=True):
            yield f"v.blk.{block}.attn_{letter}.{end}", piece
        return
    named = {"attn.proj": "attn_out", "norm1": "ln1", "norm2": "ln2"}
    ffn = part.replace("mlp.", "ffn_").removesuffix("_proj")
    yield f"v.blk.{block}.{named.get(part, ffn)}.{end}", tensor
