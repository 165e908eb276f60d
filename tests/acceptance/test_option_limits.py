"""The limits of config.toml: Discord holds people to them before anything is sent."""

import asyncio

import pytest

from generation.rules import Limits
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, with_limits
from tests.acceptance.test_imagine import imagine


async def bounds(person: Person) -> dict[str, tuple[float, float]]:
    """What is registered for the numbers of `/imagine`."""
    commands = (await person.state())["commands"]
    [imagine] = [command for command in commands if command["name"] == "imagine"]
    numbers: list[Json] = [o for o in imagine["options"] if "max_value" in o]
    return {o["name"]: (o["min_value"], o["max_value"]) for o in numbers}


async def test_discord_is_told_the_configured_limits(rig: Rig, ada: Person) -> None:
    found = await bounds(ada)
    assert found["steps"] == (1, 60)
    assert found["width"] == found["height"] == (64, 512)
    assert found["count"] == (1, 4)
    # what no limit of the settings is about is as the request declares it
    assert found["guidance"] == (0, 30)
    assert found["denoising"] == (0, 1)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"steps": 150, "side": 2048, "count": 10}, {"steps": 150, "width": 2048, "count": 10}),
        ({"side": Limits().side}, {"width": 2048, "height": 2048}),
        # 100 is no multiple of 8, and nobody is offered what is refused
        ({"steps": 1, "side": 100, "count": 1}, {"steps": 1, "width": 96, "count": 1}),
    ],
)
async def test_changed_limits_are_registered_anew(
    rig: Rig, ada: Person, limits: dict[str, int], expected: dict[str, int]
) -> None:
    rig.config = with_limits(rig.config, **limits)
    await rig.restart()
    found = await bounds(ada)
    assert {name: found[name][1] for name in expected} == expected


async def test_a_side_between_two_steps_is_drawn_at_the_nearest(
    rig: Rig, ada: Person, general: str
) -> None:
    await imagine(ada, general, width=100, height=69)
    request = (await rig.job(1)).request
    assert (request.width, request.height) == (96, 72)


async def test_unchanged_limits_are_not(rig: Rig, ada: Person) -> None:
    await rig.control.forget_requests()
    await rig.restart()
    await asyncio.sleep(0.1)
    assert not [r for r in await rig.control.requests() if r["method"] == "PUT"]
