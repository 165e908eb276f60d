"""What the flags of `darkroom imagine` leave to the prompt."""

import pytest

from bot.__main__ import command_line
from bot.cli.imagine import give_back_prompt


@pytest.mark.parametrize(
    ("typed", "prompt", "flags"),
    [
        (("--differential", "a cat"), "a cat", {"differential": "on"}),
        (("--faces", "a cat"), "a cat", {"faces": "all"}),
        (("--cutout", "a cat"), "a cat", {"cutout": "auto"}),
        (("--faces", "--cutout", "a cat"), "a cat", {"faces": "all", "cutout": "auto"}),
        (("--differential", "fox"), "fox", {"differential": "on"}),
        (("--differential", "OFF", "a cat"), "a cat", {"differential": "OFF"}),
        (("a cat", "--faces", "biggest"), "a cat", {"faces": "biggest"}),
        (("--cutout", "BiRefNet"), None, {"cutout": "BiRefNet"}),
        (("--faces", "2", "--prompts", "file"), None, {"faces": "2"}),
        (("--faces", "a cat", "--prompts", "file"), None, {"faces": "a cat"}),
    ],
)
def test_a_flag_that_may_stand_alone_gives_the_prompt_back(
    typed: tuple[str, ...], prompt: str | None, flags: dict[str, str]
) -> None:
    arguments = command_line().parse_args(["imagine", *typed])
    give_back_prompt(arguments)
    assert arguments.prompt == prompt
    assert {name: getattr(arguments, name) for name in flags} == flags
