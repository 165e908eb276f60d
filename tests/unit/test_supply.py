"""What an installation is made of: every pin has its hashes, and both lists say the same."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
RUNNING = ("postgres", "nats", "objects")
"""The extras of those who run the bot."""
OF_TORCH = re.compile(r"torch|torchvision|triton|setuptools|nvidia-.*|cuda-.*")
"""There are several builds of these, each with hashes of its own."""


def pinned() -> dict[str, str]:
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def hashed() -> dict[str, tuple[str, list[str]]]:
    """Name -> version and hashes."""
    text = (PROJECT / "constraints-hashed.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        requirement = Requirement(line.split(" --hash")[0])
        [version] = [specifier.version for specifier in requirement.specifier]
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
        found[str(canonicalize_name(requirement.name))] = (version, hashes)
    return found


def test_both_lists_have_the_same_versions_and_each_its_hashes() -> None:
    pins = pinned()
    for name, (version, hashes) in hashed().items():
        assert pins.get(name, version) == version, name
        assert hashes, name
        assert not OF_TORCH.fullmatch(name), f"{name}: add it to OF_TORCH of the Makefile"


def test_what_is_asked_for_is_in_both_lists() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    used = ("postgres", "objects", "nats", "tracing")
    needed_lines = project["dependencies"] + [line for name in used for line in extras[name]]
    needed = {Requirement(line) for line in needed_lines}
    for requirement in needed:
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(pinned()[name]), name
        assert name in hashed() or OF_TORCH.fullmatch(name), name
    assert "spandrel" in hashed()
    for line in (line for extra in extras.values() for line in extra):
        assert canonicalize_name(Requirement(line).name) in pinned(), line


def test_no_pin_is_one_that_another_pinned_package_can_not_take() -> None:
    pins = pinned()
    checked = 0
    for name in pins:
        try:
            wants = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        for requirement in map(Requirement, wants):
            other = canonicalize_name(requirement.name)
            if other not in pins or (requirement.marker and not requirement.marker.evaluate()):
                continue
            allows = requirement.specifier.contains(pins[other], prereleases=True)
            assert allows, f"{name} wants {requirement}, and {pins[other]} is pinned"
            checked += 1
    assert checked > 100
