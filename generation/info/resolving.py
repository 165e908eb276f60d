"""What of a file's data is here: its model, LoRAs, VAE, words, samplers, found or named as missing.

A file is found by a hash that is known, then by its name, whatever its case, folder and ending,
then by hashing files of its kind.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from generation import enlarging, hires, samplers
from generation.catalog import Catalog
from generation.info.file_hashes import FileHashes
from generation.info.found import Info, NamedFile
from generation.models import ModelFile, ModelKind
from generation.name_search import fold, nearest
from generation.regular_files import printable
from generation.request_parts import LoraUse

NEAREST: Final = 3
SHOWN_MAX: Final = 80
"""Characters of a name that is repeated."""
FORMER_ENDINGS: Final = (".ckpt", ".pt", ".pth", ".bin")
"""Of files that have a successor of the same name, made by `darkroom convert`."""


KINDS: Final = (
    *("checkpoint", "vae", "lora", "controlnet", "ipadapter", "embedding", "upscaler"),
    *("sampler", "schedule"),
)
"""What may be missing."""


class NotHere(msgspec.Struct, frozen=True):
    """What the picture was made with and is not here; `kind` is one of KINDS."""

    kind: str
    name: str
    hash: str = ""
    nearest: tuple[str, ...] = ()


class Resolved(msgspec.Struct, frozen=True):
    """The data by the names of what is here."""

    files: dict[str, str] = {}
    """By the option that names them."""
    loras: dict[str, LoraUse] = {}
    """By their names in the file."""
    missing: tuple[NotHere, ...] = ()
    """Without these another picture would be drawn."""
    missing_beside: tuple[NotHere, ...] = ()
    """These no request could ask for anyway."""


def resolve(info: Info, catalog: Catalog, hashes: FileHashes) -> Resolved:
    """Hold the data against what is here. Blocks: files may be read."""
    finder = _Finder(catalog, hashes)
    if info.request is not None:
        return _own(info, finder)
    files: dict[str, str] = {}
    loras: dict[str, LoraUse] = {}
    missing: list[NotHere] = []
    for option, named in info.files.items():
        if option == "hires_upscaler" and (enlarges := finder.upscaler(named.name)):
            files[option] = enlarges
            continue
        model = finder.find(named)
        if model is None:
            missing.append(finder.missing(named))
        else:
            files[option] = model.name
    for use in info.loras:
        named = NamedFile(ModelKind.LORA, use.name, info.lora_hashes.get(use.name, ""))
        model = finder.find(named)
        if model is None:
            missing.append(finder.missing(named))
        else:
            loras[use.name] = msgspec.structs.replace(use, name=model.name)
    missing += [finder.missing(word) for word in info.embeddings if finder.find(word) is None]
    beside = [finder.missing(each) for each in info.beside if finder.find(each) is None]
    missing += _sampling(info)
    return Resolved(files, loras, tuple(missing), tuple(beside))


def _own(info: Info, finder: "_Finder") -> Resolved:
    """Our own names are the catalogue's; here they may be another's."""
    request = info.request
    assert request is not None
    files: dict[str, str] = {}
    loras: dict[str, LoraUse] = {}
    missing: list[NotHere] = []
    named = {"model": request.checkpoint, "vae": request.vae, "refiner": request.refiner}
    kinds = {"model": "checkpoint", "vae": "vae", "refiner": "checkpoint"}
    for option, name in named.items():
        if name:
            kind = ModelKind(kinds[option])
            file = NamedFile(kind, name, info.hashes.get(f"{kind}:{name}", ""))
            model = finder.find(file)
            if model is None:
                missing.append(finder.missing(file))
            else:
                files[option] = model.name
    for use in request.loras:
        file = NamedFile(ModelKind.LORA, use.name, info.hashes.get(f"lora:{use.name}", ""))
        model = finder.find(file)
        if model is None:
            missing.append(finder.missing(file))
        else:
            loras[use.name] = msgspec.structs.replace(use, name=model.name)
    read_by = [(ModelKind.IPADAPTER, prompt.name) for prompt in request.image_prompts]
    for kind, name in read_by:
        file = NamedFile(kind, name, info.hashes.get(f"{kind}:{name}", ""))
        missing += [finder.missing(file)] if finder.find(file) is None else []
    return Resolved(files, loras, tuple(missing))


def _sampling(info: Info) -> list[NotHere]:
    found = []
    for prefix in ("", "hires_"):
        sampler = info.given.get(f"{prefix}sampler")
        if isinstance(sampler, str) and samplers.read(sampler) is None:
            alike = tuple(nearest(sampler, samplers.SAMPLERS, NEAREST))
            found.append(NotHere("sampler", _shown(sampler), nearest=alike))
        schedule = info.given.get(f"{prefix}schedule")
        if isinstance(schedule, str) and samplers.schedule(schedule) is None:
            alike = tuple(nearest(schedule, samplers.SCHEDULES, NEAREST))
            found.append(NotHere("schedule", _shown(schedule), nearest=alike))
    return found


class _Finder:
    def __init__(self, catalog: Catalog, hashes: FileHashes) -> None:
        self._catalog = catalog
        self._hashes = hashes

    def find(self, named: NamedFile) -> ModelFile | None:
        """The file that is meant, if it is here."""
        kind = named.kind
        several = [one for one in self._catalog.all if one.kind is kind]
        if named.hash and (known := self._hashes.known(named.hash, several)):
            return known
        for name in written(named.name):
            found = self._catalog.find(kind, name)
            if found is not None:
                return found
            if kind is ModelKind.EMBEDDING:
                word = next((one for one in several if fold(one.path.stem) == fold(name)), None)
                if word is not None:
                    return word
        return self._hashes.searched(named.hash, several) if named.hash else None

    def upscaler(self, name: str) -> str:
        """What enlarges by that name without a network; "" where there is none."""
        plain = (*hires.LATENT_UPSCALERS, *enlarging.PLAIN)
        return next((each for each in plain if fold(each) == fold(name)), "")

    def missing(self, named: NamedFile) -> NotHere:
        """What is said of one that is not here."""
        alike: Sequence[str] = ()
        if named.name:
            alike = self._catalog.names(named.kind).nearest(written(named.name)[-1], NEAREST)
        return NotHere(
            str(named.kind), _shown(named.name or named.hash), named.hash[:64], tuple(alike)
        )


def written(name: str) -> list[str]:
    """A file's name as catalogues may have it: with its folders and without, without its ending."""
    path = name.strip().replace("\\", "/").strip("/")
    found = [path, path.rpartition("/")[2]]
    for ending in FORMER_ENDINGS:
        found += [each[: -len(ending)] for each in found if each.casefold().endswith(ending)]
    return list(dict.fromkeys(each for each in found if each)) or [""]


def _shown(name: str) -> str:
    return printable(name.strip()[:SHOWN_MAX])
