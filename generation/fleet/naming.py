"""One list of models of what several machines have: a file has one name wherever it lies."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from generation.assembly import is_whole
from generation.messaging.wire import identity_of
from generation.models import ModelFile, ModelKind
from generation.name_search import fold

_Key = tuple[ModelKind, str]


def named_alike(
    own: Sequence[ModelFile],
    identities: Mapping[Path, str],
    hosts: Mapping[str, Sequence[ModelFile]],
) -> tuple[list[ModelFile], dict[str, list[ModelFile]]]:
    """All models, each once, and those of each host by the names that they have among all.

    A file is called as it is here, else as on the first host that has it. Another file of a name
    that is taken has its host's name added. Where a checkpoint lacks parts here and a host has
    them, it is listed with those.
    """
    names: dict[_Key, str] = {}
    all_: dict[tuple[ModelKind, str], ModelFile] = {}
    taken: set[tuple[ModelKind, str]] = set()
    for model in own:
        identity = identities.get(model.path, "")
        if identity:
            names.setdefault((model.kind, identity), model.name)
        all_[model.kind, model.name] = model
        taken.add((model.kind, fold(model.name)))
    for host in sorted(hosts):
        for model in hosts[host]:
            key = (model.kind, identity_of(model.path))
            if key not in names:
                names[key] = _free(model, host, taken)
                taken.add((model.kind, fold(names[key])))
    lists: dict[str, list[ModelFile]] = {}
    for host in sorted(hosts):
        here: dict[tuple[ModelKind, str], ModelFile] = {}
        for model in hosts[host]:
            named = _named(model, names)
            here.setdefault((named.kind, named.name), named)
        lists[host] = list(here.values())
        for key, model in here.items():
            if key not in all_ or (not is_whole(all_[key]) and is_whole(model)):
                all_[key] = model
    return list(all_.values()), lists


def _free(model: ModelFile, host: str, taken: set[tuple[ModelKind, str]]) -> str:
    return next(name for name in _names(model.name, host) if (model.kind, fold(name)) not in taken)


def _names(name: str, host: str) -> Iterator[str]:
    yield name
    yield f"{name} ({host})"
    number = 2
    while True:
        yield f"{name} ({host} {number})"
        number += 1


def _named(model: ModelFile, names: Mapping[_Key, str]) -> ModelFile:
    """The model and its parts by their names among all."""
    name = names.get((model.kind, identity_of(model.path)), model.name)
    parts = {part: _named(file, names) for part, file in model.parts.items()}
    return msgspec.structs.replace(model, name=name, parts=parts)
