"""What one file or diffusers folder is: from its JSON and its safetensors header alone."""

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from generation import model_probe
from generation.families import FAMILIES
from generation.model_folders import INDEX, PICKLES, WEIGHTS, Candidate
from generation.model_settings import ModelSettings, read_settings
from generation.models import ModelFile, ModelKind, Unusable
from generation.name_search import short_name
from generation.regular_files import printable
from generation.safetensors_header import HeaderError, HeaderText, check_end, decode, read_text

LAYOUTS_MAX: Final = 4096
"""Kept of the layouts that were met. A collection has far fewer than files: all LoRAs of one rank
for one family have the same."""
NAME_MAX: Final = 300
"""Characters of a name; signs that can't be shown take several."""
WHY_MAX: Final = 200
"""Characters of what a file says that is wrong with it."""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was found in a file or folder."""

    model: ModelFile | None = None
    problem: Unusable | None = None
    """Why it can't be used; beside a model, what is wrong with its settings."""
    lasting: bool = True
    """False for what another look may mend though the file stays as it is: rights, a drive."""


class _Known(msgspec.Struct, frozen=True):
    layout: model_probe.Layout
    end: int


class ModelReader:
    """Reads candidates; remembers the layouts of tensors that it met."""

    def __init__(self) -> None:
        self._layouts: dict[bytes, _Known] = {}

    def read(self, candidate: Candidate) -> Reading:
        """What it is. Raises FileNotFoundError where it has gone."""
        path = candidate.path
        file = printable(path.name)
        try:
            if candidate.files is not None:
                reading = self._folder(path, candidate.files)
            elif path.suffix.lower() in PICKLES:
                reading = Unusable(path, "model_pickle", {"file": file})
            else:
                reading = self._file(path)
        except HeaderError as error:
            reading = Unusable(path, error.code, {"file": file, "why": str(error)})
        except FileNotFoundError:
            raise
        except OSError as error:
            why = printable(error.strerror or type(error).__name__)
            problem = Unusable(path, "model_unreadable", {"file": file, "why": why})
            return Reading(None, problem, lasting=False)
        except Exception as error:  # noqa: BLE001 - one odd file must not hide all the others
            why = printable(str(error))[:WHY_MAX] or type(error).__name__
            reading = Unusable(path, "model_broken", {"file": file, "why": why})
        if isinstance(reading, Unusable):
            return Reading(None, reading)
        return _with_settings(reading, candidate.settings)

    def _file(self, path: Path) -> ModelFile | Unusable:
        text = read_text(path)
        layout = self._layout(text)
        family = model_probe.family_of(layout, text.metadata, path.stem)
        if layout.kind is None or not family:
            return Unusable(path, "model_unknown_layout", {"file": printable(path.name)})
        if layout.lacking and family in FAMILIES:
            params = {"file": printable(path.name), "why": layout.lacking}
            return Unusable(path, "model_broken", params)
        is_lora = layout.kind is ModelKind.LORA
        words = model_probe.trigger_words(text.metadata) if is_lora else ()
        return ModelFile(
            kind=layout.kind,
            name=short_name(printable(path.stem), NAME_MAX),
            path=path,
            family=family,
            v_prediction=model_probe.prediction(layout, text.metadata),
            zero_terminal_snr=layout.zero_terminal_snr,
            context_width=layout.context_width,
            trigger_words=words,
            size=path.stat().st_size,
        )

    def _layout(self, text: HeaderText) -> model_probe.Layout:
        """Of the tensors: decoded once for all files that have the same."""
        digest = hashlib.sha256(text.tensors).digest()
        known = self._layouts.get(digest)
        if known is None:
            tensors = decode(text.tensors)
            known = _Known(model_probe.layout_of(tensors.shapes), tensors.end)
            if len(self._layouts) == LAYOUTS_MAX:
                self._layouts.clear()
            self._layouts[digest] = known
        check_end(known.end, text.weights)
        return known.layout

    def _folder(self, folder: Path, files: tuple[str, ...]) -> ModelFile | Unusable:
        kind, family, native_size, v_prediction, context_width = model_probe.folder_model(folder)
        shown = printable(folder.name)
        if not family:
            return Unusable(folder, "model_unknown_layout", {"file": shown})
        parts = ("unet/", "vae/", "text_encoder/") if family in FAMILIES else ("",)
        for part in parts if kind is ModelKind.CHECKPOINT else ("",):
            of_part = [name.lower() for name in files if name.startswith(part)]
            if not any(name.endswith(WEIGHTS) for name in of_part):
                pickled = any(name.endswith(".bin") for name in of_part)
                why = {"file": f"{shown}/{part}".rstrip("/"), "why": "it holds no weights"}
                return Unusable(folder, "model_pickle" if pickled else "model_broken", why)
        problem = self._weights(folder, files)
        if problem is not None:
            return problem
        weights = [folder / name for name in files if name.lower().endswith(WEIGHTS)]
        return ModelFile(
            kind=kind,
            name=short_name(shown, NAME_MAX),
            path=folder,
            family=family,
            native_size=native_size if family in FAMILIES else 0,
            v_prediction=v_prediction,
            context_width=context_width,
            size=sum(file.stat().st_size for file in weights),
        )

    def _weights(self, folder: Path, files: tuple[str, ...]) -> Unusable | None:
        """What is wrong with a folder's weights: each must be whole, and those named be there."""
        for name in files:
            shown = f"{printable(folder.name)}/{printable(name)}"
            if name.lower().endswith(WEIGHTS):
                try:
                    self._layout(read_text(folder / name))
                except HeaderError as error:
                    return Unusable(folder, error.code, {"file": shown, "why": str(error)})
            elif name.lower().endswith(INDEX):
                within = name[: name.rfind("/") + 1]
                for shard in sorted(model_probe.shards(folder / name)):
                    if within + shard not in files:
                        why = f"{printable(shard)[:100]}, which it names, is not there"
                        return Unusable(folder, "model_broken", {"file": shown, "why": why})
        return None


def _with_settings(model: ModelFile, file: Path | None) -> Reading:
    """The model with what was laid beside it; where that is wrong, without it."""
    if file is None:
        return Reading(model)
    shown = f"{printable(file.parent.name)}/{printable(file.name)}"
    try:
        if model.kind is not ModelKind.CHECKPOINT:
            raise ValueError("only checkpoints have such settings")
        settings: ModelSettings = read_settings(file)
    except OSError as error:
        why = {"file": shown, "why": printable(error.strerror or type(error).__name__)}
        return Reading(model, Unusable(file, "model_settings_wrong", why), lasting=False)
    except ValueError as error:
        why = {"file": shown, "why": str(error)}
        return Reading(model, Unusable(file, "model_settings_wrong", why))
    return Reading(msgspec.structs.replace(model, defaults=settings))
