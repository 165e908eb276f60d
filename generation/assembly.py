"""Models made of parts: which files are the text encoders and the VAE of a checkpoint."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from generation.families import FAMILIES, Family
from generation.families.autoencoders import FILES
from generation.families.encoders import BLIND, ENCODERS, EYES_ALONE
from generation.families.family import ALIKE
from generation.model_settings import ModelSettings, Quantise
from generation.models import ENDINGS, ModelFile, ModelKind
from generation.name_search import fold
from generation.refusal import Refused

VAE: Final = "vae"
"""The name of the part that makes pictures of latents; text encoders go by their make."""
NAMED: Final[Mapping[str, re.Pattern[str]]] = {
    "flux": re.compile(r"flux|(?<![a-z])ae(?![a-z])"),
    "sd3": re.compile(r"(?:sd|stable[\W_]*diffusion)[\W_]*3"),
}
"""Names of VAEs that nothing else tells apart: which of them they speak for."""

Allows = Callable[[ModelFile], bool]
"""Whether there is memory for a checkpoint with the parts that it has."""


def settings_for(model: ModelFile, tables: Mapping[str, ModelSettings]) -> ModelSettings:
    """What holds for a checkpoint: the owner's table, and below it what lies beside the file."""
    written = {_folded(name): name for name in tables}
    name = model.name if model.name in tables else written.get(fold(model.name), "")
    return tables.get(name, ModelSettings()).over(model.defaults)


class Missing(msgspec.Struct, frozen=True):
    """A part that a checkpoint needs and that lies nowhere."""

    part: str
    title: str
    file: str
    """The name that people know it by."""
    folder: str
    """Where it goes, as ComfyUI names it."""
    optional: bool = False
    """Whether pictures can be drawn without it."""


def parts_of(family: Family | None) -> tuple[str, ...]:
    """The names of the parts that checkpoints of a family need beside their denoiser; none where
    they always lie in the same file.
    """
    encoders = tuple(row.file for row in family.encoders if row.file) if family else ()
    return (*encoders, VAE) if encoders else ()


def missing(model: ModelFile) -> tuple[Missing, ...]:
    """What a checkpoint neither carries nor was given."""
    family = FAMILIES.get(model.family)
    if family is None or model.kind is not ModelKind.CHECKPOINT:
        return ()
    there = {*model.carries, *model.parts}
    optional = {row.file for row in family.encoders if row.optional}
    return tuple(
        _missing(part, family, part in optional) for part in parts_of(family) if part not in there
    )


def _missing(part: str, family: Family, optional: bool) -> Missing:
    if part == VAE:
        return Missing(part, "VAE", FILES.get(family.vaes, ""), "vae")
    make = ENCODERS[part]
    return Missing(part, make.title, make.file, "text_encoders", optional)


def check_whole(model: ModelFile, vae: str | None = None) -> None:
    """Refuse a checkpoint that lacks a part, naming the file; a `vae` that is chosen is there."""
    lacking = [one for one in missing(model) if not one.optional and not (one.part == VAE and vae)]
    if lacking:
        raise Refused("part_missing", model=model.name, **told(lacking))


def told(lacking: Sequence[Missing]) -> dict[str, str]:
    """What is missing, as a sentence names it."""
    return {
        "parts": ", ".join(one.title for one in lacking),
        "files": ", ".join(f"{one.folder}/{one.file}" for one in lacking),
    }


def check_chosen(model: ModelFile, encoders: Iterable[ModelFile]) -> None:
    """Refuse text encoders that `[models.NAME]` names and that can't be parts of the model."""
    family = FAMILIES[model.family]
    for encoder in encoders:
        if encoder.family not in parts_of(family):
            raise Refused(
                "text_encoder_mismatch",
                name=encoder.name,
                make=ENCODERS[encoder.family].title,
                model=model.name,
                family=family.title,
            )


def is_whole(model: ModelFile) -> bool:
    """Whether nothing is missing that it can't be drawn with without."""
    return all(one.optional for one in missing(model))


def as_before(
    model: ModelFile,
    hashes: Mapping[str, str],
    find: Callable[[ModelKind, str], ModelFile | None],
) -> ModelFile:
    """The checkpoint with the parts that pictures were made with once, as far as they are there.

    `hashes` are those of the files, by `kind:name`.
    """
    family = FAMILIES.get(model.family)
    needed = set(parts_of(family)) - {*model.carries}
    if family is None or not needed or not hashes:
        return model
    found: dict[str, ModelFile] = {}
    for key in hashes:
        kind, _, name = key.partition(":")
        if kind not in (ModelKind.TEXT_ENCODER, ModelKind.VAE):
            continue
        file = find(ModelKind(kind), name)
        if file is None or file.variant == EYES_ALONE:
            continue
        part = file.family if file.kind is ModelKind.TEXT_ENCODER else VAE
        now = model.parts.get(part)
        if now is not None and now.path == file.path:
            # with the part that it may have beside it
            found[part] = now
        elif part in needed and (part != VAE or family.takes_vae_of(file.family)):
            found[part] = file.made_for(model)
    without = {row.file for row in family.encoders if row.optional} - found.keys()
    present = {part: file for part, file in model.parts.items() if part not in without}
    return msgspec.structs.replace(model, parts=present | found)


def with_vae(model: ModelFile, vae: ModelFile) -> ModelFile:
    """The checkpoint with that VAE for a part, where it carries none of its own."""
    if VAE in model.carries or not parts_of(FAMILIES.get(model.family)):
        return model
    return msgspec.structs.replace(model, parts={**model.parts, VAE: vae})


def quantised(model: ModelFile, to: Quantise) -> ModelFile:
    """A checkpoint or a part of one whose whole weights become that when they are loaded."""
    parts = {part: quantised(file, to) for part, file in model.parts.items()}
    if (model.quantise, model.parts) == (to, parts):
        return model
    return msgspec.structs.replace(model, quantise=to, parts=parts)


class Assembler:
    """Gives checkpoints the files of the parts that they don't carry.

    `chosen` are the settings of checkpoints by their names; `allows` says whether there is memory
    for a checkpoint with its parts.
    """

    def __init__(
        self,
        models: Iterable[ModelFile],
        chosen: Mapping[str, ModelSettings] | None = None,
        allows: Allows | None = None,
    ) -> None:
        self._chosen = chosen or {}
        self._allows = allows
        self._encoders: dict[str, list[ModelFile]] = {}
        self._vaes: list[ModelFile] = []
        for model in models:
            if model.kind is ModelKind.TEXT_ENCODER:
                self._encoders.setdefault(model.family, []).append(model)
            elif model.kind is ModelKind.VAE:
                self._vaes.append(model)
            elif model.kind is ModelKind.CHECKPOINT and model.is_folder:
                self._take_apart(model)

    def whole(self, model: ModelFile) -> ModelFile:
        """The checkpoint with its parts, as far as they are there; anything else as it is."""
        family = FAMILIES.get(model.family)
        if model.kind is not ModelKind.CHECKPOINT or family is None:
            return model
        settings = settings_for(model, self._chosen)
        model = quantised(model, settings.quantise or "")
        seeing = {row.file for row in family.version(model.variant).encoders if row.picture}
        fitting: dict[str, Sequence[ModelFile]] = {}
        for part in parts_of(family):
            if part in model.carries:
                continue
            if part == VAE:
                vaes = [vae for vae in self._vaes if family.takes_vae_of(vae.family)]
                named, files = _named(vaes, settings.vae), _likeliest(vaes, family)
            else:
                files = self._of_make(part, seeing=part in seeing)
                named = _named(files, *settings.text_encoders or ())
            fitting[part] = [named] if named else sorted(files, key=lambda f: (-f.size, f.name))
        return self._most_precise(model, {part: files for part, files in fitting.items() if files})

    def _most_precise(
        self, model: ModelFile, fitting: Mapping[str, Sequence[ModelFile]]
    ) -> ModelFile:
        """With the largest files, which are the most precise, as far as memory allows: of what is
        the largest of several the next is taken, until it does.
        """
        taken = dict.fromkeys(fitting, 0)
        while True:
            parts = {
                part: quantised(fitting[part][at].made_for(model), model.quantise)
                for part, at in taken.items()
            }
            whole = msgspec.structs.replace(model, parts=parts) if parts else model
            smaller = [part for part, at in taken.items() if at + 1 < len(fitting[part])]
            if self._allows is None or not smaller or self._allows(whole):
                return whole
            taken[max(smaller, key=lambda part: parts[part].size)] += 1

    def _of_make(self, make: str, *, seeing: bool) -> list[ModelFile]:
        """Text encoders of a make; where they are to be `seeing` those that are, and of llama.cpp's
        each with the file of the part that sees, one that lies beside it before others.
        """
        files = self._encoders.get(make, [])
        eyes = [file for file in files if file.variant == EYES_ALONE]
        whole = [file for file in files if file.variant != EYES_ALONE]
        if not seeing:
            return whole
        found = [file for file in whole if file.variant != BLIND]
        for file in whole if eyes else ():
            if file.variant == BLIND:
                folder = file.path.parent
                own = min(eyes, key=lambda f: (f.path.parent != folder, -f.size, f.name))
                found.append(msgspec.structs.replace(file, parts={EYES_ALONE: own}))
        return found

    def _take_apart(self, model: ModelFile) -> None:
        """The parts of a diffusers folder can be those of another model."""
        family = FAMILIES.get(model.family)
        if family is None or not parts_of(family):
            return
        for row in family.encoders:
            if row.file in model.carries:
                self._encoders.setdefault(row.file, []).append(
                    _within(model, row.part, ModelKind.TEXT_ENCODER, row.file)
                )
        if VAE in model.carries:
            self._vaes.append(_within(model, "vae", ModelKind.VAE, family.vaes))


def _within(model: ModelFile, folder: str, kind: ModelKind, family: str) -> ModelFile:
    name = f"{model.name}/{folder}"
    return ModelFile(kind=kind, name=name, path=model.path / folder, family=family)


def _named(fitting: Iterable[ModelFile], *names: str | None) -> ModelFile | None:
    wanted = {_folded(name) for name in names if name}
    return next((file for file in fitting if fold(file.name) in wanted), None)


def _folded(name: str) -> str:
    """As names are compared, without a file's ending."""
    written = fold(name)
    return next((written.removesuffix(end) for end in ENDINGS if written.endswith(end)), written)


def _likeliest(fitting: Sequence[ModelFile], family: Family) -> Sequence[ModelFile]:
    """Of VAEs those that are told to be the family's; else those that may be, by their names."""
    own = [vae for vae in fitting if vae.family == family.vaes]
    named = [vae for vae in fitting if _speaks_for(vae) == family.vaes]
    return own or named or [vae for vae in fitting if not _speaks_for(vae)]


def _speaks_for(vae: ModelFile) -> str:
    """Of the families that nothing in its file tells apart the one that its name tells, or ""."""
    for family in ALIKE.get(vae.family, ()):
        if family in NAMED and NAMED[family].search(vae.name.lower()):
            return family
    return ""
