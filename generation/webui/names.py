"""What a webui has: its settings, and its names for files, samplers and schedule types."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final

import msgspec

from generation.models import ModelFile, ModelKind
from generation.refusal import Refused

FOLDERS: Final[Mapping[ModelKind, str]] = {
    ModelKind.CHECKPOINT: "models/Stable-diffusion",
    ModelKind.LORA: "models/Lora",
    ModelKind.VAE: "models/VAE",
    ModelKind.CONTROLNET: "models/ControlNet",
    ModelKind.EMBEDDING: "embeddings",
    ModelKind.UPSCALER: "models/ESRGAN",
}
"""Where its owner puts files of a kind."""
_HASH: Final = re.compile(r" \[[0-9a-f]{8,64}\]$")
"""What stands behind the names of ControlNets."""


class TheirFile(msgspec.Struct, frozen=True):
    """A file as the webui knows it."""

    name: str
    """By which it is asked for."""
    path: str
    """On the webui's machine; "" where it does not say."""
    sha256: str = ""
    """As far as the webui has hashed it."""


class WebuiNames(msgspec.Struct, frozen=True, kw_only=True):
    """What a webui said of itself."""

    forge: bool
    """Whether it is Forge, which takes a VAE as a module."""
    tells: bool
    """Whether it says of each task whether it waits or runs: it does where it has its page."""
    samplers: frozenset[str]
    schedulers: frozenset[str]
    upscalers: frozenset[str]
    """Those of latents too."""
    face_restorers: frozenset[str]
    files: Mapping[ModelKind, tuple[TheirFile, ...]]
    scripts: frozenset[str]
    """Always-on scripts, in lower case."""
    options: Mapping[str, Any]
    """Its settings as they were."""

    def of(self, file: ModelFile) -> TheirFile:
        """The webui's entry of a file: of those with its name the one whose folders are most like
        its own. Raises Refused where it has none.
        """
        own = [part.casefold() for part in file.path.parts]
        found = [(_alike(own, each), each) for each in self.files.get(file.kind, ())]
        likeness = max((alike for alike, _ in found), default=0)
        if not likeness:
            folder = FOLDERS.get(file.kind, "models")
            raise Refused("webui_file", file=file.shown, folder=folder)
        return next(each for alike, each in found if alike == likeness)

    def pinned(self, settings: Mapping[str, object]) -> dict[str, object]:
        """Those of these settings that it knows: it breaks at others."""
        return {name: value for name, value in settings.items() if name in self.options}


def _alike(own: Sequence[str], theirs: TheirFile) -> int:
    """How many parts of two paths are the same, from their ends; of one that is known by its name
    alone, whether that is the file's.
    """
    if not theirs.path:
        return int(_HASH.sub("", theirs.name).casefold() == PurePosixPath(own[-1]).stem)
    parts = [part.casefold() for part in path_of(theirs.path).parts]
    count = 0
    for one, other in zip(reversed(own), reversed(parts), strict=False):
        if one != other:
            break
        count += 1
    return count


def path_of(text: str) -> PurePath:
    """A path of the webui's machine, which may be a Windows."""
    return PureWindowsPath(text) if "\\" in text else PurePosixPath(text)


def names_of(said: Any, key: str = "name") -> frozenset[str]:
    """One key of each in a list. Raises ValueError for what it never says."""
    try:
        return frozenset(str(each[key]) for each in said)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a list of names can't be read: {error!r}") from error


def files_of(said: Any, name: str, path: str) -> tuple[TheirFile, ...]:
    """The files of a list, by these keys. Raises ValueError for what it never says."""
    try:
        return tuple(
            TheirFile(str(each[name]), str(each[path] or ""), str(each.get("sha256") or ""))
            for each in said
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a list of files can't be read: {error!r}") from error
