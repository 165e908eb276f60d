"""Models of Hugging Face's hub: how they are written, by which settings they are fetched, and what
the process that fetches them says.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

OWN_CACHE: Final = Path(__file__).resolve().parent.parent / "models" / "huggingface"
CACHED: Final = "models--"
"""How the folders of repositories begin in the hub's cache."""
_SEGMENT: Final = r"[A-Za-z0-9](?:[\w.-]*\w)?"
_WRITTEN: Final = re.compile(
    rf"(?P<repository>{_SEGMENT}/{_SEGMENT})(?:@(?P<revision>[\w./-]+))?(?::(?P<file>.+))?",
    re.ASCII,
)
_PAGE: Final = re.compile(
    rf"https?://[^/]+/(?P<repository>{_SEGMENT}/{_SEGMENT})"
    r"(?:/(?:resolve|blob|tree)/(?P<revision>[\w.-]+)(?:/(?P<file>[^?#]+))?)?/?(?:[?#].*)?",
    re.ASCII,
)
"""The address of a model's page, or of a file on it."""
HOW: Final = "write OWNER/NAME as its page on the hub has it, or OWNER/NAME:FILE for one file of it"
MAIN: Final = "main"
LENGTH_MAX: Final = 96
"""Characters of a repository's id, as the hub has it."""
KEPT: Final = ("HF_HOME", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN")
"""Of the hub's own variables those that hold for the process that fetches, too."""


class HubModel(msgspec.Struct, frozen=True):
    """A repository of the hub, or one file in it, at a branch, a tag or a commit."""

    repository: str
    revision: str = ""
    """"" for the main branch."""
    file: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{revision}" + (f":{self.file}" if self.file else "")


def read(text: str) -> HubModel:
    """A model as people write it: OWNER/NAME[@REVISION][:FILE], or the address of its page.

    Raises ValueError with what is wrong in words.
    """
    found = _PAGE.fullmatch(text.strip()) or _WRITTEN.fullmatch(text.strip())
    repository = found["repository"] if found else ""
    if found is None or "--" in repository or ".." in repository or len(repository) > LENGTH_MAX:
        raise ValueError(f"it is no model of the hub: {HOW}")
    revision, file = found["revision"] or "", found["file"] or ""
    revision = "" if revision == MAIN else revision
    if ".." in revision or (file and not is_plain(file)):
        raise ValueError(f"it is no model of the hub: {HOW}")
    return HubModel(repository, revision, file)


def is_plain(file: str) -> bool:
    """Whether a file's path within a repository stays within its folder, on every system."""
    return file.isprintable() and all(
        segment.strip(". ")
        and segment.strip() == segment
        and not re.search(r'[\\:*?"<>|]', segment)
        for segment in file.split("/")
    )


def in_cache(path: Path) -> tuple[str, str] | None:
    """The repository of what lies in the hub's cache, and its path within that; None elsewhere.

    Laid out as `models--ORGANISATION--NAME/snapshots/COMMIT/…`.
    """
    parts = path.parts
    for place, part in enumerate(parts[:-2]):
        if part.startswith(CACHED) and parts[place + 1] == "snapshots":
            repository = part.removeprefix(CACHED).replace("--", "/", 1)
            return repository, "/".join(parts[place + 3 :])
    return None


class HuggingFaceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[huggingface]`: where models are fetched from, and into which folder."""

    endpoint: str = ""
    """A mirror; empty for the hub itself."""
    token: str = ""
    cache: Path = Path()
    offline: bool = False

    @property
    def folder(self) -> Path:
        """Where models are kept, laid out as the hub's cache is."""
        return OWN_CACHE if self.cache == Path() else self.cache

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["token"] = "…" if self.token else ""
        values = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"HuggingFaceSettings({values})"

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """That of the process that fetches, and of no other: this process' `own`, and what is set
        here.
        """
        found = {
            name: value
            for name, value in own.items()
            if name in KEPT or not name.upper().startswith(("HF_", "HUGGING", "DISCORD_TOKEN"))
        }
        said = {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": self.token}
        return {
            **found,
            **{name: value for name, value in said.items() if value},
            "HF_HUB_CACHE": os.fspath(self.folder),
            # plain downloads can be gone on with, and mirrors know no others
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_SYMLINKS_WARNING": "1",
            "PYTHONUTF8": "1",
        }


class FilePlan(msgspec.Struct, frozen=True):
    """A file that a model needs."""

    name: str
    size: int
    """Bytes."""


class FetchPlan(msgspec.Struct, frozen=True, tag=True):
    """What will be fetched."""

    files: list[FilePlan]
    there: int
    """Bytes of it that are on disk already."""
    free: int
    """Bytes on that disk."""

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Fetching(msgspec.Struct, frozen=True, tag=True):
    """How far it is."""

    done: int
    """Bytes, with those that were there before."""
    file: str


class Fetched(msgspec.Struct, frozen=True, tag=True):
    """All is there."""

    snapshot: str
    """The folder in the cache."""
    files: list[str]


class NotFetched(msgspec.Struct, frozen=True, tag=True):
    """It can't be fetched."""

    why: str
    """A sentence that says what to do."""
    lasting: bool = True
    """False where another try may do, as it stands."""


FetchEvent = FetchPlan | Fetching | Fetched | NotFetched
EVENT: Final = msgspec.json.Decoder(FetchEvent)
