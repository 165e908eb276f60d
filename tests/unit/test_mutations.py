"""The breakages that tests are tried with still find the code that they break."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.mutations import PROJECT, TESTS, broken

SECTIONS: dict[str, list[dict[str, str]]] = tomllib.loads(
    (PROJECT / "tests" / "mutations.toml").read_text(encoding="utf-8")
)


def test_every_section_has_its_tests() -> None:
    assert SECTIONS.keys() == TESTS.keys()
    assert all((PROJECT / path).is_file() for path in TESTS.values())


def test_what_is_broken_is_there_once_and_python_still(tmp_path: Path) -> None:
    """A file that can't be imported fails every test and shows nothing of the rule."""
    mutations = [one for section in SECTIONS.values() for one in section]
    assert len({one["name"] for one in mutations}) > 100
    for number, mutation in enumerate(mutations):
        file = tmp_path / f"mutation_{number}.py"
        file.write_text(broken(mutation), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821", "--no-cache"]
    command += ["--output-format=concise", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    wrong = {int(number) for number in re.findall(r"mutation_(\d+)\.py:", ran.stdout)}
    assert {mutations[number]["name"] for number in wrong} == set(), ran.stdout
    assert ran.returncode == 0, ran.stdout + ran.stderr
