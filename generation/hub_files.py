"""Which files of a repository on the hub a model needs: each part once, in one precision."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from generation.name_search import nearest

WEIGHTS: Final = (".safetensors", ".gguf")
TEXTS: Final = (".json", ".txt")
READ: Final = (*WEIGHTS, *TEXTS)
"""What is fetched at all: nothing that could run."""
PICKLES: Final = (".ckpt", ".bin", ".pt", ".pth")
INDEX: Final = "model_index.json"
UNUSED: Final = frozenset(
    ("safety_checker", "feature_extractor", "image_encoder", "image_processor")
)
"""Parts of pipelines that nothing here draws with."""
PRECISIONS: Final = ("fp16", "bf16", "")
"""Of several copies of the same weights the first is taken; "" is the whole one."""
NAMED: Final = 12
"""Files of a repository that a sentence names."""
_WEIGHTS_NAME: Final = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>[a-z]\w*))?"
    r"(?P<shard>-\d+-of-\d+)?\.safetensors"
)
_INDEX_NAME: Final = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>(?!safetensors)[a-z]\w*))?"
    r"\.safetensors\.index(?:\.(?P<behind>[a-z]\w*))?\.json"
)


class HubFile(msgspec.Struct, frozen=True):
    """A file of a repository."""

    name: str
    size: int | None = None
    """Bytes; None where the hub does not say."""
    sha256: str = ""
    """Of large files."""
    git: str = ""
    """The SHA-1 of git's blob, of small ones."""


class NotNeededError(Exception):
    """Nothing of a repository can be used; the text goes on behind its id."""


def needed(files: Sequence[HubFile], wanted: str, index: Mapping[str, Any] | None) -> list[HubFile]:
    """Those that a model is made of.

    `wanted` is the one file that was asked for, or "". `index` is what model_index.json says, None
    where there is none. Raises NotNeededError.
    """
    if wanted:
        return [_one(files, wanted)]
    if index is not None:
        return _pipeline(files, index)
    names = {file.name for file in files}
    if "config.json" in names and any(_WEIGHTS_NAME.fullmatch(name) for name in names):
        return _part(files, "")
    return [_only(files)]


def _one(files: Sequence[HubFile], wanted: str) -> HubFile:
    if not wanted.lower().endswith(WEIGHTS):
        raise NotNeededError(
            f"has {wanted}, perhaps, but only {' and '.join(WEIGHTS)} files are fetched"
        )
    found = next((file for file in files if file.name == wanted), None)
    if found is None:
        near = nearest(wanted, [file.name for file in files if file.name.lower().endswith(WEIGHTS)])
        there = f" Nearest: {near[0]}" if near else ""
        raise NotNeededError(f"has no file {wanted}.{there}")
    return found


def _pipeline(files: Sequence[HubFile], index: Mapping[str, Any]) -> list[HubFile]:
    """The parts that model_index.json names."""
    parts = [
        name
        for name, made in index.items()
        if isinstance(made, list) and made[:1] != [None] and name not in UNUSED and "/" not in name
    ]
    first = [file for file in files if file.name == INDEX]
    return first + [file for part in parts for file in _part(files, f"{part}/")]


def _part(files: Sequence[HubFile], folder: str) -> list[HubFile]:
    """What lies in a folder of diffusers' or transformers': JSON, texts, its weights once."""
    own = {
        file.name.removeprefix(folder): file
        for file in files
        if file.name.startswith(folder) and "/" not in file.name.removeprefix(folder)
    }
    texts = [
        file
        for name, file in own.items()
        if name.lower().endswith(TEXTS)
        and ".index." not in name
        and (folder or name == "config.json")
    ]
    weights = _weights(own)
    if not weights and any(name.lower().endswith(PICKLES) for name in own):
        where = f" of {folder.rstrip('/')}" if folder else ""
        raise NotNeededError(
            f"holds the weights{where} as a pickle (.bin) alone, which can run code when it is"
            " opened: name a revision or another model that has .safetensors"
        )
    return texts + weights


def _weights(own: Mapping[str, HubFile]) -> list[HubFile]:
    """One copy of the weights in a folder: in one file, or in pieces with the list of them."""
    copies: dict[tuple[str, bool], list[str]] = {}
    for name in own:
        found = _WEIGHTS_NAME.fullmatch(name)
        if found:
            copies.setdefault((found["variant"] or "", bool(found["shard"])), []).append(name)
    for variant in (*PRECISIONS, *sorted(variant for variant, _ in copies)):
        if (variant, False) in copies:
            return [own[name] for name in copies[variant, False][:1]]
        if (variant, True) in copies:
            lists = [name for name in own if _is_list(name, variant)]
            return [own[name] for name in (*lists, *copies[variant, True])]
    return []


def _is_list(name: str, variant: str) -> bool:
    found = _INDEX_NAME.fullmatch(name)
    return found is not None and (found["variant"] or found["behind"] or "") == variant


def _only(files: Sequence[HubFile]) -> HubFile:
    """The one model in a repository of files."""
    found = [file for file in files if file.name.lower().endswith(WEIGHTS)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotNeededError(f"holds several models. Name one behind a colon: {_listed(found)}")
    if any(file.name.lower().endswith(PICKLES) for file in files):
        raise NotNeededError(
            "holds pickles alone (.ckpt, .bin, .pt), which can run code when they are opened:"
            " name a revision or another model that has .safetensors"
        )
    raise NotNeededError("holds no model: nothing in it ends in .safetensors or .gguf")


def _listed(files: Iterable[HubFile]) -> str:
    names = sorted(file.name for file in files)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
