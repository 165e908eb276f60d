"""The breakages that tests are tried with still find the code that they break."""

import subprocess
import sys
import tomllib
from typing import Any

import pytest

from tests.mutations import PROJECT, TESTS, broken

SECTIONS: dict[str, list[dict[str, str]]] = tomllib.loads(
    (PROJECT / "tests" / "mutations.toml").read_text(encoding="utf-8")
)


def test_every_section_has_its_tests() -> None:
    assert SECTIONS.keys() == TESTS.keys()
    assert all((PROJECT / path).is_file() for path in TESTS.values())


@pytest.mark.parametrize(
    "mutation",
    [one for section in SECTIONS.values() for one in section],
    ids=lambda one: one["name"],
)
def test_what_is_broken_is_there_once_and_python_still(mutation: dict[str, Any]) -> None:
    """A file that can't be imported fails every test and shows nothing of the rule."""
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--isolated", "--select=F821", "-"]
    ran = subprocess.run(
        command, input=broken(mutation), capture_output=True, encoding="utf-8", check=False
    )
    assert ran.returncode == 0, ran.stdout
