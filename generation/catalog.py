"""Which models lie on disk: everything is read from file names, JSON and safetensors headers."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog
from rapidfuzz import process

from generation import model_probe
from generation.families import FAMILIES
from generation.models import ModelFile, ModelKind, Unusable
from generation.refusal import Refused
from generation.safetensors_header import HeaderError, read_header

log = structlog.get_logger(__name__)

PICKLES: Final = frozenset((".ckpt", ".pt", ".pth", ".bin"))
IGNORED_FOLDERS: Final = frozenset(
    (
        "embeddings",
        "clip",
        "clip_vision",
        "text_encoders",
        "vae_approx",
        "style_models",
        "hypernetworks",
        "gligen",
        "upscale_models",
        "esrgan",
        "realesrgan",
        "swinir",
        "scunet",
        "dat",
        "ldsr",
        "codeformer",
        "gfpgan",
        "karlo",
        "deepbooru",
        "torch_deepdanbooru",
        "photomaker",
        "insightface",
        "ipadapter",
        "sams",
        "ultralytics",
    )
)
"""Folders of A1111 and ComfyUI whose files no request can name."""

_Stamp = tuple[str, int, int]
"""Path, size, time of change: a file that has not changed is not read again."""


class Catalog:
    """The models in some folders, laid out as ComfyUI's or A1111's or in no order at all."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._read: dict[_Stamp, ModelFile | Unusable] = {}
        self._models: dict[tuple[ModelKind, str], ModelFile] = {}
        self.problems: tuple[Unusable, ...] = ()
        self._scanned = False

    async def scan(self) -> None:
        """Look again. What was read before and has not changed costs a look at its date."""
        await asyncio.to_thread(self._scan)

    @property
    def all(self) -> list[ModelFile]:
        """Everything that was found, by kind and name."""
        return sorted(self._models.values(), key=lambda model: (model.kind, model.name.casefold()))

    @property
    def checkpoints(self) -> list[ModelFile]:
        """The checkpoints, by name; also those of families that can't be run yet."""
        return self._of(ModelKind.CHECKPOINT)

    @property
    def loras(self) -> list[ModelFile]:
        """The LoRAs, by name."""
        return self._of(ModelKind.LORA)

    @property
    def controlnets(self) -> list[ModelFile]:
        """The ControlNets, by name."""
        return self._of(ModelKind.CONTROLNET)

    @property
    def vaes(self) -> list[ModelFile]:
        """The VAEs, by name."""
        return self._of(ModelKind.VAE)

    def get(self, kind: ModelKind, name: str) -> ModelFile:
        """The model of that name, whatever its case, with or without the file's ending.

        Raises Refused with the nearest names.
        """
        exact = self._models.get((kind, name))
        if exact is not None:
            return exact
        models = self._of(kind)
        wanted = name.casefold()
        for written in (wanted, wanted.removesuffix(".safetensors")):
            for model in models:
                if model.name.casefold() == written:
                    return model
        nearest = process.extract(name, [model.name for model in models], limit=3)
        raise Refused(
            f"{kind}_unknown", name=name[:80], nearest=", ".join(match[0] for match in nearest)
        )

    def _of(self, kind: ModelKind) -> list[ModelFile]:
        return [model for model in self.all if model.kind is kind]

    def _scan(self) -> None:
        found: dict[tuple[ModelKind, str], ModelFile] = {}
        problems: list[Unusable] = []
        seen: dict[_Stamp, ModelFile | Unusable] = {}
        entered: set[Path] = set()
        for folder in self._folders:
            if not folder.is_dir():
                problems.append(Unusable(folder, "folder_missing", {"folder": str(folder)}))
                continue
            for path in _candidates(folder, entered):
                try:
                    stamp = _stamp(path)
                except OSError as error:  # a link that leads nowhere
                    why = {"file": path.name, "why": error.strerror or ""}
                    problems.append(Unusable(path, "model_broken", why))
                    continue
                if stamp not in seen:
                    seen[stamp] = self._read[stamp] if stamp in self._read else _examine(path)
                match seen[stamp]:
                    case ModelFile() as model:
                        named = _unique(model, found, folder)
                        found[named.kind, named.name] = named
                    case Unusable() as problem:
                        problems.append(problem)
        away = _missing(problems)
        for stamp, known in self._read.items():
            # a drive that comes back need not be read again
            if any(Path(stamp[0]).is_relative_to(folder) for folder in away):
                seen.setdefault(stamp, known)
        if found != self._models or tuple(problems) != self.problems or not self._scanned:
            log.info("models found", count=len(found), unusable=len(problems))
        for folder in away - _missing(self.problems):
            log.warning("a model folder is not there", folder=str(folder))
        self._read, self._models, self.problems = seen, found, tuple(problems)
        self._scanned = True


def _missing(problems: Iterable[Unusable]) -> set[Path]:
    """The model folders that are not there."""
    return {problem.path for problem in problems if problem.code == "folder_missing"}


def _candidates(folder: Path, entered: set[Path]) -> Iterator[Path]:
    """Model files and diffusers folders below `folder`; entered once even through links."""
    real = folder.resolve()
    if real in entered:
        return
    entered.add(real)
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    if model_probe.is_model_folder(folder):
        yield folder
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            if entry.name.lower() not in IGNORED_FOLDERS:
                yield from _candidates(entry, entered)
        elif entry.suffix.lower() == ".safetensors" or entry.suffix.lower() in PICKLES:
            yield entry


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link of a kind that Windows can't follow
        return False


def _stamp(path: Path) -> _Stamp:
    """For a folder the newest of its files counts, and the sum of their sizes."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return str(path), sum(stat.st_size for stat in stats), newest


def _examine(path: Path) -> ModelFile | Unusable:
    """What a file or folder is."""
    try:
        if path.is_dir():
            return _examine_folder(path)
        if path.suffix.lower() in PICKLES:
            return Unusable(path, "model_pickle", {"file": path.name})
        return _examine_file(path)
    except HeaderError as error:
        return Unusable(path, error.code, {"file": path.name, "why": str(error)})
    except Exception as error:  # noqa: BLE001 - one odd file must not hide all the others
        return Unusable(path, "model_broken", {"file": path.name, "why": str(error)[:200]})


def _examine_file(path: Path) -> ModelFile | Unusable:
    header = read_header(path)
    kind = model_probe.kind_of(header.shapes)
    family = model_probe.family_of(kind, header, path.stem) if kind else ""
    if kind is None or not family:
        return Unusable(path, "model_unknown_layout", {"file": path.name})
    if (
        kind is ModelKind.CHECKPOINT
        and family in FAMILIES
        and (why := model_probe.lacking(header.shapes))
    ):
        return Unusable(path, "model_broken", {"file": path.name, "why": why})
    v_prediction, zero_terminal_snr = model_probe.prediction(header)
    return ModelFile(
        kind=kind,
        name=path.stem,
        path=path,
        family=family,
        v_prediction=v_prediction,
        zero_terminal_snr=zero_terminal_snr,
        context_width=model_probe.context_width(header.shapes),
        trigger_words=model_probe.trigger_words(header.metadata) if kind is ModelKind.LORA else (),
        size=path.stat().st_size,
    )


def _examine_folder(folder: Path) -> ModelFile | Unusable:
    kind, family, native_size, v_prediction, context_width = model_probe.folder_model(folder)
    if not family:
        return Unusable(folder, "model_unknown_layout", {"file": folder.name})
    parts = ("unet", "vae", "text_encoder") if family in FAMILIES else ("",)
    for part in parts if kind is ModelKind.CHECKPOINT else ("",):
        if not any((folder / part).rglob("*.safetensors")):
            code = "model_pickle" if any((folder / part).rglob("*.bin")) else "model_broken"
            name = f"{folder.name}/{part}".rstrip("/")
            return Unusable(folder, code, {"file": name, "why": "it holds no weights"})
    weights = sorted(folder.rglob("*.safetensors"))
    for file in weights:
        try:
            read_header(file)
        except HeaderError as error:
            name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
            return Unusable(folder, error.code, {"file": name, "why": str(error)})
    return ModelFile(
        kind=kind,
        name=folder.name,
        path=folder,
        family=family,
        native_size=native_size if family in FAMILIES else 0,
        v_prediction=v_prediction,
        context_width=context_width,
        size=sum(file.stat().st_size for file in weights),
    )


def _unique(
    model: ModelFile, found: dict[tuple[ModelKind, str], ModelFile], folder: Path
) -> ModelFile:
    """Two files of one name are told apart by the folders that they lie in."""
    if (model.kind, model.name) not in found:
        return model
    relative = model.path.relative_to(folder).with_suffix("")
    name = relative.as_posix()
    number = 2
    while (model.kind, name) in found:
        name = f"{relative.as_posix()} ({number})"
        number += 1
    return msgspec.structs.replace(model, name=name)
