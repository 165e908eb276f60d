"""Midjourney's flags in a prompt."""

import pytest

from playground.person import Person
from tests.acceptance.conftest import Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_refusals import refused


async def test_flags_mean_what_the_options_mean(rig: Rig, ada: Person, general: str) -> None:
    await imagine(ada, general, prompt="a lighthouse --ar 3:2 --seed 5 --no fog —steps 3")
    request = (await rig.job(1)).request
    assert request.prompt == "a lighthouse"
    assert request.negative_prompt == "fog"
    assert (request.width, request.height) == (160, 104)
    assert (request.seed, request.steps) == (5, 3)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a cat --stylize 50", "--stylize has no counterpart here."),
        ("a cat --ar 9:1", "9:1 is no shape that can be drawn."),
        ("a cat --seed 5", "--seed is given twice, with different values."),
        ("--no dogs", "Write what the picture should show first"),
    ],
)
async def test_a_wrong_flag_is_named(
    rig: Rig, ada: Person, general: str, prompt: str, said: str
) -> None:
    assert said in await refused(ada, general, prompt=prompt, seed=6)
    assert await rig.studio.jobs.get(1) is None
