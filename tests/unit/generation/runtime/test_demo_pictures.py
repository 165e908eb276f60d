"""The demo draws what it drew: every sampler and schedule, prompts, LoRAs, start pictures."""

import asyncio
from itertools import combinations
from typing import Final

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import demo_pictures
from tests.fixtures.demo_pictures import CASES, DATA, file_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")]

MEAN: Final = 0.1
"""Of 255, by which another processor's pictures may differ; two samplers differ by more."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image.Image]:
    works = {name: work for name, (_, work) in asyncio.run(demo_pictures.requests()).items()}
    return demo_pictures.draw(works, tmp_path_factory.mktemp("cache"))


def mean(one: Image.Image, other: Image.Image) -> float:
    values = (np.asarray(picture, np.float32) for picture in (one, other))
    first, second = values
    return float(np.abs(first - second).mean())


def kept(name: str) -> Image.Image:
    with Image.open(file_of(name)) as picture:
        return picture.convert("RGB")


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_what_it_was(name: str, drawn: dict[str, Image.Image]) -> None:
    assert kept(name).size == drawn[name].size
    assert mean(kept(name), drawn[name]) <= MEAN


def test_there_is_no_picture_too_many() -> None:
    assert {path.name for path in DATA.iterdir()} == {file_of(name).name for name in CASES}


ALIKE: Final = (
    {"sampler DPM++ 2M", "schedule Uniform", "schedule Normal"},
    {"sampler Euler a", "sampler DDPM"},
    {"schedule Automatic", "schedule Karras"},
    {"schedule Exponential", "schedule Polyexponential"},
    {"schedule SGM Uniform", "schedule Simple"},
)
"""By their definition, at the demo's range of noise."""


def test_the_kept_pictures_tell_cases_apart() -> None:
    """Two cases of one picture would notice nothing."""
    for one, other in combinations(CASES, 2):
        first, second = kept(one), kept(other)
        if first.size == second.size and mean(first, second) <= MEAN:
            assert any({one, other} <= group for group in ALIKE), (one, other)
