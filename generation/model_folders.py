"""Walks the model folders: what in them may be a model, and by which mark a change is told."""

import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from generation.diffusers_folder import is_of_transformers, is_part
from generation.families.taggers import label_names
from generation.model_settings import BESIDE, IN_FOLDER
from generation.models import ENDINGS, ONNX, Unusable
from generation.regular_files import is_text, printable
from generation.side_notes import ENDINGS as NOTES

WEIGHTS: Final = ".safetensors"
INDEX: Final = ".safetensors.index.json"
LABELS: Final = (".csv", "tags.txt", "tag_mapping.json")
"""How the names end of lists of tags."""
PICKLES: Final = frozenset((".ckpt", ".pt", ".pth", ".bin"))
ENTRIES_MAX: Final = 200_000
"""Of one folder, of any kind: what lies behind them is not looked at."""
FILES_MAX: Final = 10_000
"""Of one model in diffusers' layout."""
DEPTH_MAX: Final = 24
"""Folders within folders; only a circle is deeper."""
MACHINE: Final = frozenset(("proc", "sys", "dev"))
"""Folders that are made of the running machine: no model lies there, but links without end do."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODEL_KINDS: Final = _names(
    """checkpoints stable_diffusion diffusers diffusion_models unet loras lora lycoris vae
    controlnet t2i_adapter wd14_tagger taggeronnx"""
)
"""Folders of A1111 and ComfyUI whose files can be models, as `_kind_name` writes them."""
IGNORED_FOLDERS: Final = _names(
    # kinds of files that no request can name
    """aesthetic_embeddings vae_approx
    vae_taesd style_models hypernetworks gligen configs model_patches audio_encoders
    latent_upscale_models animatediff_models animatediff_motion_lora"""
    # what programs fetch for themselves
    """ ldsr facexlib insightface karlo deepbooru torch_deepdanbooru blip clip_interrogator
    adetailer ultralytics mmdets sams sam2 grounding_dino photomaker
    instantid pulid zoedepth
    llm_gguf prompt_expansion safety_checker layer_model film_net_fp32 frame_interpolation"""
    # and of the programs themselves, where their own folder is named
    """ venv extensions extensions_builtin custom_nodes repositories site_packages node_modules
    python_embeded __pycache__"""
)
"""Folders of A1111 and ComfyUI whose files no request can name, as `_kind_name` writes them."""
CONVERTIBLE: Final = _names(
    """embeddings upscale_models esrgan realesrgan bsrgan swinir dat hat
    gfpgan codeformer facerestore facerestore_models clipseg clipseg_weights"""
)
"""Folders whose pickles are nobody's mistake, for there are hardly others, and can be converted."""
OTHERS: Final = CONVERTIBLE | _names(
    """text_encoders text_encoder clip
    scunet facedetection face_detection background_removal rembg u2net birefnet rmbg
    openpose midas leres opencv sam onnx svd z123 llm inpaint torch reactor
    annotator annotators depthanything depth_anything controlnetpreprocessor
    outputs output"""
)
"""Folders in which programs keep pickles of their own; what else lies there is looked at."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A file or a diffusers folder that may be a model."""

    path: Path
    root: Path
    """The model folder that it lies in."""
    mark: str
    """Another one whenever the model, or what lies beside it, has changed."""
    settings: Path | None = None
    notes: tuple[Path, ...] = ()
    """What other programs laid beside it."""
    labels: tuple[Path, ...] = ()
    """Of an ONNX file: what may name its classes."""
    files: tuple[str, ...] | None = None
    """Of a diffusers folder: its files by their paths within it, with slashes; None for a file."""


Found = Candidate | Unusable


class Walk:
    """One look at all model folders; what is linked to twice is entered once."""

    def __init__(self, part_configs: dict[tuple[str, int, int, bool], bool]) -> None:
        self._entered: set[object] = set()
        self._part_configs = part_configs
        """Whether a config.json is that of a model, by path, size and time, and whether what lies
        beside it is one model of transformers: read once."""

    def below(self, root: Path) -> Iterator[Found]:
        """What lies in a model folder, in the order of the names."""
        if not is_text(str(root)):
            yield _misnamed(root)
            return
        try:
            status = root.stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            yield Unusable(root, "folder_missing", {"folder": printable(str(root))})
            return
        except OSError as error:
            yield _unreadable(root, error)
            return
        if not stat.S_ISDIR(status.st_mode):
            params = {"folder": printable(str(root))}
            if _suffix(root.name) in (".yaml", ".yml"):
                yield Unusable(root, "folder_is_yaml", params)
            else:
                yield Unusable(root, "folder_is_file", params)
            return
        yield from self._folder(root, root, 0, silent_pickles=_kind_name(root.name) in OTHERS)

    def _folder(
        self, folder: Path, root: Path, depth: int, silent_pickles: bool
    ) -> Iterator[Found]:
        try:
            entering = self._enters(folder)
            if entering and depth > DEPTH_MAX:
                yield Unusable(folder, "folder_too_deep", {"folder": printable(str(folder))})
                return
            entries, whole = _entries(folder) if entering else ({}, True)
        except FileNotFoundError:
            return  # it went while it was looked for
        except OSError as error:
            yield _unreadable(folder, error)
            return
        if not whole:
            params = {"folder": printable(str(folder)), "most": str(ENTRIES_MAX)}
            yield Unusable(folder, "folder_crowded", params)
        if self._is_model(entries):
            yield self._model_folder(folder, root)
            return
        folders = {name for name, entry in entries.items() if _is_folder(entry)}
        # beside folders of models, other programs keep pickles in folders of their own
        silent_below = silent_pickles or any(_kind_name(name) in MODEL_KINDS for name in folders)
        for name in sorted(entries):
            if name not in folders:
                if _suffix(name) in PICKLES and f"{_stem(name)}{WEIGHTS}" in entries:
                    continue  # it is converted already
                if not (silent_pickles and _suffix(name) in PICKLES):
                    yield from _file(entries, name, folder, root)
                elif _kind_name(folder.name) in CONVERTIBLE and is_text(name):
                    file = printable(name)
                    yield Unusable(folder / name, "model_convertible", {"file": file})
            elif not is_text(name):
                yield _misnamed(folder / name)
            elif _kind_name(name) not in IGNORED_FOLDERS:
                plain = _kind_name(name)
                silent = plain in OTHERS or (silent_below and plain not in MODEL_KINDS)
                yield from self._folder(folder / name, root, depth + 1, silent)

    def _enters(self, folder: Path) -> bool:
        """Whether a folder is not entered yet, through whatever links or mounts it is reached."""
        status = folder.stat()
        real = folder.resolve()
        if os.name == "posix" and _of_the_machine(real):
            return False
        key = (status.st_dev, status.st_ino) if status.st_ino else str(real)
        if key in self._entered:
            return False
        self._entered.add(key)
        return True

    def _is_model(self, entries: "dict[str, os.DirEntry[str]]") -> bool:
        if "model_index.json" in entries:
            return True
        config = entries.get("config.json")
        try:
            status = config.stat() if config is not None else None
        except OSError:
            return False
        if config is None or status is None or not stat.S_ISREG(status.st_mode):
            return False
        weights = [name for name in entries if _suffix(name) == WEIGHTS]
        # a text encoder alone; beside other files a config.json of one is just left there
        alone = bool(weights) and all(name.startswith("model") for name in weights)
        key = (config.path, status.st_size, status.st_mtime_ns, alone)
        if key not in self._part_configs:
            path = Path(config.path)
            self._part_configs[key] = is_part(path) or (alone and is_of_transformers(path))
        return self._part_configs[key]

    def _model_folder(self, folder: Path, root: Path) -> Found:
        """A diffusers folder with all its files."""
        mark = hashlib.blake2b(digest_size=16)
        files: list[str] = []
        try:
            for name, status in _files(folder):
                if not is_text(name):
                    return _misnamed(folder / name)
                if not stat.S_ISREG(status.st_mode):
                    shown = f"{printable(folder.name)}/{printable(name)}"
                    return Unusable(folder, "model_not_regular", {"file": shown})
                if len(files) == FILES_MAX:
                    params = {"folder": printable(str(folder)), "most": str(FILES_MAX)}
                    return Unusable(folder, "folder_crowded", params)
                files.append(name)
                mark.update(f"{name}\n{status.st_size}\n{status.st_mtime_ns}\n".encode())
        except OSError as error:
            return _unreadable(folder, error)
        settings = folder / IN_FOLDER if IN_FOLDER in files else None
        return Candidate(folder, root, mark.hexdigest(), settings, files=tuple(files))


def _entries(folder: Path) -> "tuple[dict[str, os.DirEntry[str]], bool]":
    """What matters of a folder, by name; and whether that is all."""
    found: dict[str, os.DirEntry[str]] = {}
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count == ENTRIES_MAX:
                return found, False
            name = entry.name
            if not name.startswith(".") and (_matters(name) or _is_folder(entry)):
                found[name] = entry
    return found, True


def _matters(name: str) -> bool:
    lower = name.lower()
    return (
        lower.endswith((*ENDINGS, *PICKLES, BESIDE, *NOTES, *LABELS)) or lower == "model_index.json"
    )


def _file(
    entries: "dict[str, os.DirEntry[str]]", name: str, folder: Path, root: Path
) -> Iterator[Found]:
    if _suffix(name) not in ENDINGS and _suffix(name) not in PICKLES:
        return
    path = folder / name
    if not is_text(name):
        yield _misnamed(path)
        return
    try:
        status = entries[name].stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            why = {"file": printable(name), "why": error.strerror or ""}
            yield Unusable(path, "model_broken", why)
        return
    except OSError as error:
        yield _unreadable(path, error)
        return
    if not stat.S_ISREG(status.st_mode):
        yield Unusable(path, "model_not_regular", {"file": printable(name)})
        return
    mark = f"{status.st_size} {status.st_mtime_ns}"
    beside: dict[str, Path] = {}
    for ending in (BESIDE, *NOTES) if _suffix(name) in ENDINGS else ():
        entry = entries.get(_stem(name) + ending)
        try:
            there = entry.stat() if entry is not None else None
        except OSError:
            continue
        if entry is not None and there is not None:
            beside[ending] = Path(entry.path)
            mark += f" {ending} {there.st_size} {there.st_mtime_ns}"
    settings = beside.pop(BESIDE, None)
    labels, marks = _labels(entries, name) if _suffix(name) == ONNX else ((), "")
    yield Candidate(path, root, mark + marks, settings, tuple(beside.values()), labels)


def _labels(entries: "dict[str, os.DirEntry[str]]", name: str) -> tuple[tuple[Path, ...], str]:
    """What may name the classes of an ONNX file, and by which mark a change of it is told."""
    there = {entry.lower(): entry for entry in entries}
    found: list[Path] = []
    mark = ""
    for wanted in label_names(_stem(name)):
        entry = entries.get(there.get(wanted.lower(), ""))
        try:
            status = entry.stat() if entry is not None else None
        except OSError:
            continue
        if entry is not None and status is not None and is_text(entry.name):
            found.append(Path(entry.path))
            mark += f" {entry.name} {status.st_size} {status.st_mtime_ns}"
    return tuple(found), mark


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The files of a model, in order; what leads nowhere is not there for its readers either."""
    entered: set[Path] = set()

    def within(below: str) -> Iterator[tuple[str, os.stat_result]]:
        real = (folder / below).resolve()
        if real in entered:
            return
        entered.add(real)
        with os.scandir(folder / below) as entries:
            found = list(itertools.islice(entries, FILES_MAX + 1))
        for entry in sorted(found, key=lambda entry: entry.name):
            name = f"{below}{entry.name}"
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                yield from within(f"{name}/")
                continue
            try:
                yield name, entry.stat()
            except FileNotFoundError:
                continue

    return within("")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link of a kind that Windows can't follow
        return False


def _of_the_machine(real: Path) -> bool:
    # shared memory is a place like others
    return real.parts[1:2] != () and real.parts[1] in MACHINE and real.parts[1:3] != ("dev", "shm")


def _kind_name(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file would cost too much


def _misnamed(path: Path) -> Unusable:
    return Unusable(path, "name_not_text", {"file": printable(path.name or str(path))})


def _unreadable(path: Path, error: OSError) -> Unusable:
    why = printable(error.strerror or type(error).__name__)
    return Unusable(path, "model_unreadable", {"file": printable(path.name), "why": why})
