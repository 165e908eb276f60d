"""What one file or diffusers folder is: from its JSON and its safetensors header alone."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from generation import diffusers_folder, florence2, gguf_names, hub, model_probe
from generation.bitsandbytes_layout import as_whole, has_states, states
from generation.families import DESCRIBED, FAMILIES
from generation.families.encoders import EYES_ALONE
from generation.families.few_steps import LCM
from generation.gguf_header import GgufHeader, read_gguf
from generation.model_folders import INDEX, PICKLES, WEIGHTS, Candidate
from generation.model_settings import ModelSettings, read_settings
from generation.models import GGUF, ONNX, ModelFile, ModelKind, Unusable
from generation.name_search import short_name
from generation.onnx_models import onnx_model
from generation.quantisation import (
    Quantisation,
    marked_layers,
    quantisation_of,
    without_scale,
)
from generation.regular_files import printable
from generation.safetensors_header import HeaderError, HeaderText, check_end, decode, read_text
from generation.side_notes import read_notes
from generation.vae_marks import Mark, mark_of

log = structlog.get_logger(__name__)

LAYOUTS_MAX: Final = 4096
"""Kept of the layouts that were met. A collection has far fewer than files: all LoRAs of one rank
for one family have the same."""
NAME_MAX: Final = 300
"""Characters of a name; signs that can't be shown take several."""
WHY_MAX: Final = 200
"""Characters of what a file says that is wrong with it."""
OF_NO_FAMILY: Final = frozenset((ModelKind.UPSCALER, ModelKind.FACE_RESTORER))
GGUF_KINDS: Final = frozenset(ModelKind) - {
    *(ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.UPSCALER, ModelKind.FACE_RESTORER),
    *(ModelKind.ANNOTATOR, ModelKind.IPADAPTER, ModelKind.CLIP_VISION, ModelKind.SEGMENTER),
}
"""What is read from GGUF files."""
OF_TRANSFORMERS: Final = (ModelKind.TEXT_ENCODER, ModelKind.ANNOTATOR, ModelKind.SEGMENTER)
"""What a folder in transformers' layout may be, by its tensors."""
VARIANT_TITLES: Final = {
    "inpainting": "a model for inpainting",
    "instruct-pix2pix": "a model that edits pictures (InstructPix2Pix)",
    "depth": "a model that needs a picture of depths, which nothing here makes; a ControlNet for"
    " depth steers any other model by one",
    LCM: "a model distilled for few steps that reads the guidance itself (LCM)",
    "t2i-adapter": "a T2I-Adapter",
    "fill": "a model that fills and extends pictures (Fill)",
    "omni": "a model that is shown pictures beside its text (Omni)",
    "layers": "a model that draws a picture in layers (Layered)",
}
"""Variants as the end of "it is …"."""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was found in a file or folder."""

    model: ModelFile | None = None
    problem: Unusable | None = None
    """Why it can't be used; beside a model, what is wrong with its settings."""
    vae_mark: Mark = ()
    """What its VAE can be told by, of a checkpoint or a VAE."""
    lasting: bool = True
    """False for what another look may mend though the file stays as it is: rights, a drive."""


class _Known(msgspec.Struct, frozen=True):
    contents: model_probe.TensorContents
    quantisation: Quantisation
    end: int


class _File(msgspec.Struct, frozen=True):
    """What a single file says of itself, whatever its format."""

    contents: model_probe.TensorContents
    quantisation: Quantisation
    metadata: Mapping[str, str]
    vae_mark: Mark = ()


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
                reading = Reading(None, Unusable(path, "model_pickle", {"file": file}))
            elif path.suffix.lower() == ONNX:
                found = onnx_model(path, _onnx_name(candidate), candidate.labels)
                usable = found if isinstance(found, ModelFile) else None
                reading = Reading(usable, found if isinstance(found, Unusable) else None)
            else:
                reading = self._file(path, candidate.notes)
        except HeaderError as error:
            why = {"file": file, "why": str(error)}
            reading = Reading(None, Unusable(path, error.code, why))
        except FileNotFoundError:
            raise
        except OSError as error:
            why = {"file": file, "why": printable(error.strerror or type(error).__name__)}
            return Reading(None, Unusable(path, "model_unreadable", why), lasting=False)
        except Exception as error:  # noqa: BLE001 - one odd file must not hide all the others
            log.warning(
                "a file of another make", path=printable(str(path)), error=repr(error)[:500]
            )
            why = {"file": file, "why": "it is laid out as nothing here reads it"}
            reading = Reading(None, Unusable(path, "model_broken", why))
        return _with_settings(reading, candidate.settings)

    def _file(self, path: Path, beside: tuple[Path, ...]) -> Reading:
        said = _gguf(path) if path.suffix.lower() == GGUF else self._safetensors(path)
        contents, metadata, quantisation = said.contents, said.metadata, said.quantisation
        size = path.stat().st_size
        notes = read_notes(beside, size)
        family = model_probe.family_of(contents, metadata, notes.base)
        words = notes.trigger_words
        if contents.kind in (ModelKind.LORA, ModelKind.EMBEDDING):
            words = words or model_probe.trigger_words(metadata)
        file = printable(path.name)
        if contents.what:
            return _unusable(path, "model_other", file=file, what=contents.what)
        if contents.kind is None or not (family or contents.kind in OF_NO_FAMILY):
            return _unusable(path, "model_unknown_layout", file=file)
        if path.suffix.lower() == GGUF and contents.kind not in GGUF_KINDS:
            what = f"a GGUF file of a {contents.kind}, which is read from .safetensors alone"
            return _unusable(path, "model_other", file=file, what=what)
        if quantisation.unread:
            return _unusable(path, "model_weights_unread", file=file, what=quantisation.unread)
        if quantisation.lacking:
            return _unusable(path, "model_broken", file=file, why=quantisation.lacking)
        if contents.lacking and (
            family in DESCRIBED or contents.kind in (ModelKind.VAE, ModelKind.TEXT_ENCODER)
        ):
            return _unusable(path, "model_broken", file=file, why=contents.lacking)
        name = _name(path, path.stem)
        title = metadata.get("modelspec.title", "")
        model = ModelFile(
            kind=contents.kind,
            name=name,
            path=path,
            family=family,
            variant=_variant(contents.kind, family, contents.variant, name, title, notes.base),
            input_channels=contents.input_channels,
            v_prediction=model_probe.prediction(contents, metadata),
            zero_terminal_snr=contents.zero_terminal_snr,
            context_width=contents.context_width,
            quantisation=quantisation.name,
            carries=contents.carries,
            trigger_words=words,
            base=notes.base,
            titles=tuple(filter(None, (title[:NAME_MAX], *notes.titles))),
            hashes=_hashes(notes.hashes, metadata),
            size=size,
        )
        return _drawable(model, file) or Reading(model, _note(model, contents, file), said.vae_mark)

    def _safetensors(self, path: Path) -> _File:
        text = read_text(path)
        known = self._of_four_bits(path, text) if has_states(text) else self._known(text)
        quantisation = known.quantisation
        if layers := marked_layers(text.metadata):
            bare = without_scale(layers, decode(text.tensors).shapes)
            lacking = f"the scales of {printable(bare[0])[:WHY_MAX]} are not in it" if bare else ""
            quantisation = msgspec.structs.replace(
                quantisation, lacking=quantisation.lacking or lacking
            )
        has_vae = known.contents.kind in (ModelKind.CHECKPOINT, ModelKind.VAE)
        mark = mark_of(path, text) if has_vae else ()
        return _File(known.contents, quantisation, text.metadata, mark)

    def _of_four_bits(self, path: Path, text: HeaderText) -> _Known:
        """As `_known`, of a file that keeps the shapes of its weights beside them."""
        tensors = decode(text.tensors)
        check_end(tensors.end, text.weights)
        shapes, kinds = as_whole(tensors.shapes, tensors.kinds, states(path, text))
        contents = model_probe.contents_of(shapes)
        return _Known(contents, quantisation_of(shapes, kinds), tensors.end)

    def _known(self, text: HeaderText) -> _Known:
        """What the tensors tell: decoded once for all files that have the same."""
        digest = hashlib.sha256(text.tensors).digest()
        known = self._layouts.get(digest)
        if known is None:
            tensors = decode(text.tensors)
            contents = model_probe.contents_of(tensors.shapes)
            known = _Known(contents, quantisation_of(tensors.shapes, tensors.kinds), tensors.end)
            if len(self._layouts) == LAYOUTS_MAX:
                self._layouts.clear()
            self._layouts[digest] = known
        check_end(known.end, text.weights)
        return known

    def _folder(self, folder: Path, files: tuple[str, ...]) -> Reading:
        if "model_index.json" not in files and diffusers_folder.is_of_transformers(
            folder / "config.json"
        ):
            problem = self._weights(folder, files)
            if problem is None and florence2.is_florence2(folder / "config.json"):
                return self._captioner(folder, files)
            return problem or self._text_encoder(folder, files)
        found = diffusers_folder.folder_model(folder)
        shown = printable(folder.name)
        if found.what:
            return _unusable(folder, "model_other", file=shown, what=found.what)
        if not found.family:
            return _unusable(folder, "model_unknown_layout", file=shown)
        is_checkpoint = found.kind is ModelKind.CHECKPOINT
        for part in diffusers_folder.parts_of(found.family) if is_checkpoint else ("",):
            of_part = [name.lower() for name in files if name.startswith(part)]
            if not any(name.endswith(WEIGHTS) for name in of_part):
                pickled = any(name.endswith(".bin") for name in of_part)
                code = "model_pickle" if pickled else "model_broken"
                where = f"{shown}/{part}".rstrip("/")
                return _unusable(folder, code, file=where, why="it holds no weights")
        wordless = diffusers_folder.wordless(found.family, files) if is_checkpoint else ""
        if wordless:
            where = f"{shown}/{wordless}"
            return _unusable(folder, "model_broken", file=where, why="it holds no words")
        problem = self._weights(folder, files)
        if problem is not None:
            return problem
        weights = [folder / name for name in files if name.lower().endswith(WEIGHTS)]
        name = _name(folder, folder.name)
        model = ModelFile(
            kind=found.kind,
            name=name,
            path=folder,
            family=found.family,
            variant=_variant(found.kind, found.family, found.variant, name),
            input_channels=found.input_channels,
            native_size=found.native_size if found.family in DESCRIBED else 0,
            v_prediction=found.v_prediction,
            zero_terminal_snr=found.zero_terminal_snr,
            context_width=found.context_width,
            carries=diffusers_folder.carried_by(found.family, files, WEIGHTS)
            if is_checkpoint
            else (),
            size=sum(file.stat().st_size for file in weights),
        )
        return _drawable(model, shown) or Reading(model, vae_mark=self._mark(folder, files))

    def _captioner(self, folder: Path, files: tuple[str, ...]) -> Reading:
        """A Florence-2, whose weights are whole."""
        shown = printable(folder.name)
        weights = [name for name in files if name.lower().endswith(WEIGHTS) and "/" not in name]
        shapes = [decode(read_text(folder / name).tensors).shapes for name in weights]
        variant = florence2.variant_of({name: () for each in shapes for name in each})
        if variant is None:
            return _unusable(folder, "model_unknown_layout", file=shown)
        if florence2.WORDS not in files:
            why = f"{florence2.WORDS} is not in it"
            return _unusable(folder, "model_broken", file=shown, why=why)
        return Reading(
            ModelFile(
                kind=ModelKind.CAPTIONER,
                name=_name(folder, folder.name),
                path=folder,
                family=florence2.FAMILY,
                variant=variant,
                size=sum((folder / name).stat().st_size for name in weights),
            )
        )

    def _text_encoder(self, folder: Path, files: tuple[str, ...]) -> Reading:
        """A model of transformers that lies alone, in one file or several."""
        shapes: dict[str, tuple[int, ...]] = {}
        kinds: dict[str, str] = {}
        shown, size = printable(folder.name), 0
        for name in files:
            if name.lower().endswith(WEIGHTS) and "/" not in name:
                text = read_text(folder / name)
                tensors = decode(text.tensors)
                own = tensors.shapes, tensors.kinds
                if has_states(text):
                    own = as_whole(*own, states(folder / name, text))
                shapes |= own[0]
                kinds |= own[1]
                size += (folder / name).stat().st_size
        contents = model_probe.contents_of(shapes)
        if contents.kind not in OF_TRANSFORMERS:
            what = contents.what or "a model of transformers"
            return _unusable(folder, "model_other", file=shown, what=what)
        if contents.lacking:
            return _unusable(folder, "model_broken", file=shown, why=contents.lacking)
        quantisation = quantisation_of(shapes, kinds)
        if quantisation.unread:
            return _unusable(folder, "model_weights_unread", file=shown, what=quantisation.unread)
        model = ModelFile(
            kind=contents.kind,
            name=_name(folder, folder.name),
            path=folder,
            family=contents.family,
            variant=contents.variant,
            quantisation=quantisation.name,
            size=size,
        )
        return Reading(model)

    def _mark(self, folder: Path, files: tuple[str, ...]) -> Mark:
        """Of the VAE of a folder, or that is the folder."""
        within = "vae/" if any(name.startswith("vae/") for name in files) else ""
        for name in files:
            if name.startswith(within) and name.lower().endswith(WEIGHTS):
                mark = mark_of(folder / name, read_text(folder / name))
                if mark:
                    return mark
        return ()

    def _weights(self, folder: Path, files: tuple[str, ...]) -> Reading | None:
        """What is wrong with a folder's weights: each must be whole, and those named be there."""
        for name in files:
            shown = f"{printable(folder.name)}/{printable(name)}"
            if name.lower().endswith(WEIGHTS):
                try:
                    self._known(read_text(folder / name))
                except HeaderError as error:
                    return _unusable(folder, error.code, file=shown, why=str(error))
            elif name.lower().endswith(INDEX):
                within = name[: name.rfind("/") + 1]
                for shard in sorted(diffusers_folder.shards(folder / name)):
                    if within + shard not in files:
                        why = f"{printable(shard)[:100]}, which it names, is not there"
                        return _unusable(folder, "model_broken", file=shown, why=why)
        return None


def _gguf(path: Path) -> _File:
    header = read_gguf(path)
    contents = model_probe.contents_of(header.shapes)
    architecture = header.architecture
    is_text = architecture not in gguf_names.PICTURES or "token_embd.weight" in header.tensors
    if contents.kind is None and not contents.what and is_text:
        what = f"a language model ({printable(architecture)[:WHY_MAX] or 'GGUF'})"
        contents = model_probe.TensorContents(what=what)
        if architecture == gguf_names.EYES:
            contents = _eyes(header)
    return _File(contents, Quantisation(header.main_packing), header.metadata)


def _eyes(header: GgufHeader) -> model_probe.TensorContents:
    """The part of a language model that sees pictures, as llama.cpp has it."""
    found = gguf_names.SEEING.get(header.metadata.get(gguf_names.PROJECTOR, ""))
    if found is None or header.shapes.get(found[1]) != (found[2],):
        what = "the part of a language model that sees pictures (mmproj)"
        return model_probe.TensorContents(what=what)
    return model_probe.TensorContents(
        kind=ModelKind.TEXT_ENCODER, family=found[0], variant=EYES_ALONE
    )


def _unusable(path: Path, code: str, **params: str) -> Reading:
    return Reading(None, Unusable(path, code, params))


def _name(path: Path, own: str) -> str:
    """Its own name; in the hub's cache, where that is a hash, its repository's."""
    cached = hub.in_cache(path)
    if cached is not None:
        own = f"{cached[0]}/{own}" if cached[1] else cached[0]
    return short_name(printable(own), NAME_MAX)


def _onnx_name(candidate: Candidate) -> str:
    """Many lie as model.onnx in a folder that has their name."""
    path = candidate.path
    told = path.stem.lower() != "model" or path.parent == candidate.root
    return _name(path, path.stem if told else path.parent.name)


def _hashes(noted: tuple[str, ...], metadata: Mapping[str, str]) -> tuple[str, ...]:
    """With that of its weights that kohya's trainer keeps in a LoRA, by which A1111 knows it."""
    own = metadata.get("sshs_model_hash", "").casefold()
    return (*noted, own) if re.fullmatch("[0-9a-f]{64}", own) else noted


def _variant(kind: ModelKind, family: str, told: str, *texts: str) -> str:
    """The variant of a file that its tensors or its folder tell to be `told`: "" where they don't,
    and its name may.
    """
    row = FAMILIES.get(family)
    if kind is not ModelKind.CHECKPOINT or row is None or told not in row.variants:
        return told
    return row.variant_named(told, *texts)


def _drawable(model: ModelFile, file: str) -> Reading | None:
    """Why a model of a family that can be drawn with can't be drawn with itself."""
    family = FAMILIES.get(model.family)
    if model.kind not in (ModelKind.CHECKPOINT, ModelKind.CONTROLNET) or family is None:
        return None
    if model.variant not in family.variants:
        what = VARIANT_TITLES.get(model.variant, f"a model whose input has {model.variant}")
        return _unusable(model.path, "model_variant", file=file, what=what)
    return None


def _note(model: ModelFile, contents: model_probe.TensorContents, file: str) -> Unusable | None:
    """What of a good file is left out."""
    if contents.unused:
        params = {"file": file, "name": printable(contents.unused[0])[:WHY_MAX]}
        params["count"] = str(len(contents.unused))
        return Unusable(model.path, "model_unused_tensors", params)
    return None


def _with_settings(reading: Reading, file: Path | None) -> Reading:
    """The model with what was laid beside it; where that is wrong, without it."""
    model = reading.model
    if file is None or model is None:
        return reading
    shown = f"{printable(file.parent.name)}/{printable(file.name)}"
    try:
        if model.kind is not ModelKind.CHECKPOINT:
            raise ValueError("only checkpoints have such settings")
        settings: ModelSettings = read_settings(file)
    except OSError as error:
        why = {"file": shown, "why": printable(error.strerror or type(error).__name__)}
        wrong = Unusable(file, "model_settings_wrong", why)
        return msgspec.structs.replace(reading, problem=wrong, lasting=False)
    except ValueError as error:
        why = {"file": shown, "why": str(error)}
        wrong = Unusable(file, "model_settings_wrong", why)
        return msgspec.structs.replace(reading, problem=wrong)
    model = msgspec.structs.replace(model, defaults=settings)
    return msgspec.structs.replace(reading, model=model)
