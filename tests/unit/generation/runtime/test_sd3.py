"""Stable Diffusion 3 and 3.5 in every layout against diffusers' own on the same weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch

from generation.messages import Configure
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from generation.runtime.server import Server
from generation.runtime.tokenizers import VOCABULARY, load_t5_tokenizer, load_tokenizer
from tests.fixtures import sd3, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND
from tests.unit.generation.runtime.ends import SETTINGS, Ends
from tests.unit.generation.runtime.test_flux import HEIGHT, STEPS, WIDTH, Drawing

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
ALL = ("vae", "clip_l", "clip_g", "t5xxl")
WITHOUT = {"text_encoder_3": None, "tokenizer_3": None}


class Sd3Models(Drawing):
    """3.5 in three layouts, without T5 too, and 3."""

    usual: ClassVar[dict[str, Any]] = {
        "schedule": "Normal",
        "guidance_scale": 4.0,
        "negative_prompt": "fog",
    }

    def __init__(self, root: Path) -> None:
        self.folder = sd3.tiny_sd3(root / "later")
        self.first = sd3.tiny_sd3(root / "first", 1, later=False, t5=False)
        whole = sd3.one_file(self.folder, root / "whole.safetensors", *sd3.PARTS)
        bare = sd3.one_file(self.folder, root / "bare.safetensors")
        old = sd3.one_file(self.first, root / "old.safetensors", "clip_l", "clip_g")
        self.configs = sdxl.configs_of("sd3", self.folder, root / "configs")
        self.ends = Ends()
        settings = Configure(SETTINGS, root / "cache")
        self.server = Server(settings, self.ends, self.ends)  # type: ignore[arg-type]
        parts = sd3.parts_of(self.folder, root / "parts")
        without = {name: file for name, file in parts.items() if name != "t5xxl"}
        self.files = {
            "folder": _file(self.folder, carries=ALL),
            "whole": _file(whole, carries=ALL),
            "bare": _file(bare, carries=("vae",), parts=parts),
            "without t5": _file(bare, carries=("vae",), parts=without),
            "old folder": _file(self.first, "sd3", carries=ALL[:3]),
            "old file": _file(old, "sd3", carries=ALL[:3]),
        }


def _file(path: Path, family: str = "sd3.5", **fields: Any) -> ModelFile:
    kind = ModelKind.CHECKPOINT
    return ModelFile(kind=kind, name=path.stem, path=path, family=family, **fields)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sd3Models]:
    found = Sd3Models(tmp_path_factory.mktemp("sd3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CONFIGS", found.configs)
        yield found


def _drawn_by_diffusers(folder: Path, **parts: Any) -> np.ndarray[Any, Any]:
    # reading the words takes longest
    words = {
        "tokenizer": load_tokenizer(VOCABULARY),
        "tokenizer_2": load_tokenizer(sdxl.CONFIGS / "sdxl" / "tokenizer_2"),
        "tokenizer_3": load_t5_tokenizer(),
    }
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(folder, **{**words, **parts})
    pipe.set_progress_bar_config(disable=True)
    request = a_request()
    found = pipe(
        request.prompt,
        negative_prompt="fog",
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    )
    return np.asarray(found.images[0]).astype(float)


def test_every_layout_draws_diffusers_picture(models: Sd3Models) -> None:
    reference = _drawn_by_diffusers(models.folder)
    assert reference.std() > 20
    found = {name: models.draw(models.files[name]) for name in ("folder", "whole", "bare")}
    assert {name: np.abs(one - reference).mean() <= BOUND for name, one in found.items()} == {
        "folder": True,
        "whole": True,
        "bare": True,
    }


def test_without_t5_zeros_stand_for_it(models: Sd3Models) -> None:
    reference = _drawn_by_diffusers(models.folder, **WITHOUT)
    assert np.abs(models.draw(models.files["without t5"]) - reference).mean() <= BOUND


@pytest.mark.slow
def test_that_before_draws_too(models: Sd3Models) -> None:
    """Without norms, one attention a block."""
    reference = _drawn_by_diffusers(models.first, **WITHOUT)
    for name in ("old folder", "old file"):
        assert np.abs(models.draw(models.files[name]) - reference).mean() <= BOUND


@pytest.mark.slow
def test_one_after_the_other_draws_what_the_first_drew(models: Sd3Models) -> None:
    first = models.draw(models.files["bare"])
    assert not np.array_equal(models.draw(models.files["without t5"]), first)
    models.draw(models.files["old file"])
    assert np.array_equal(models.draw(models.files["bare"]), first)
    # weights act on what CLIP says
    assert not np.array_equal(
        models.draw(models.files["bare"], prompt="a (lighthouse:1.5) at dusk"), first
    )
