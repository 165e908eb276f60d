"""Which models lie on disk: everything is read from file names, JSON and safetensors headers."""

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from generation.assembly import Allows, Assembler
from generation.catalog_cache import CatalogCache, Readings
from generation.families import DESCRIBED
from generation.families.family import ALIKE
from generation.hub import HubModel, in_cache, read
from generation.model_folders import Candidate, Walk
from generation.model_reader import NAME_MAX, ModelReader, Reading
from generation.model_settings import ModelSettings
from generation.models import ENDINGS, ModelFile, ModelKind, Unusable
from generation.name_search import NameSearch, fold, is_short_of, short_name
from generation.refusal import Refused
from generation.regular_files import printable
from generation.vae_marks import Mark, family_by

log = structlog.get_logger(__name__)

NEAREST: Final = 3
SHOWN_FIRST: Final = 0.5
"""Seconds after which a first scan shows what it has found so far."""
SHOWN_AGAIN: Final = 1.0
"""And then once more after so many times as long as it has taken until now."""
UNUSABLE: Final = frozenset(
    (
        *("model_broken", "model_misnamed", "model_page", "model_lfs_pointer", "model_unreadable"),
        *("model_pickle", "model_convertible", "model_unknown_layout", "model_other"),
        *("model_variant", "model_weights_unread", "model_not_regular"),
        *("model_labels_missing", "model_labels_wrong"),
    )
)
"""What keeps a file from being drawn with; whoever asks for it by its name is told."""


class Models:
    """What a scan found, prepared for whoever asks. Never changes."""

    def __init__(
        self,
        models: Iterable[ModelFile] = (),
        settings: Mapping[str, ModelSettings] | None = None,
        allows: Allows | None = None,
        *,
        whole: bool = False,
    ) -> None:
        """With `whole` checkpoints have all the parts that they will have."""
        self.found = sorted(models, key=lambda model: (model.kind, fold(model.name)))
        """As they lie there, before checkpoints are given their parts."""
        self.all = self.found
        if not whole:
            assembler = Assembler(self.found, settings, allows)
            self.all = [assembler.whole(model) for model in self.found]
        self.by_kind: dict[ModelKind, list[ModelFile]] = {kind: [] for kind in ModelKind}
        self.by_name: dict[tuple[ModelKind, str], ModelFile] = {}
        self._by_fold: dict[tuple[ModelKind, str], ModelFile] = {}
        self._searches: dict[tuple[ModelKind, Hashable], NameSearch] = {}
        for model in self.all:
            self.by_kind[model.kind].append(model)
            self.by_name[model.kind, model.name] = model
            self._by_fold.setdefault((model.kind, fold(model.name)), model)

    def find(self, kind: ModelKind, name: str) -> ModelFile | None:
        """By its name, whatever its case, with or without the file's ending, or its short form."""
        exact = self.by_name.get((kind, name))
        if exact is not None:
            return exact
        folded = fold(name)
        for written in (folded, *(folded.removesuffix(ending) for ending in ENDINGS)):
            if (kind, written) in self._by_fold:
                return self._by_fold[kind, written]
        if "… #" in name:
            return next((m for m in self.by_kind[kind] if is_short_of(name, m.name)), None)
        return None

    def names(
        self,
        kind: ModelKind,
        key: Hashable,
        keep: Callable[[ModelFile], bool],
        told: Callable[[ModelFile], Iterable[str]],
    ) -> NameSearch:
        """The names of those to keep; prepared once for each `key`."""
        if (kind, key) not in self._searches:
            kept = (name for model in self.by_kind[kind] if keep(model) for name in told(model))
            self._searches[kind, key] = NameSearch(kept)
        return self._searches[kind, key]


class Catalog:
    """The models in some folders, laid out as ComfyUI's or A1111's or in no order at all.

    `cache` is a file that keeps what was read over restarts. `settings` are those of checkpoints by
    their names: which files are their parts where several would do.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        cache: Path | None = None,
        settings: Mapping[str, ModelSettings] | None = None,
    ) -> None:
        self._settings = settings
        self._of_hub = _of_hub(settings or {})
        self._allows: Allows | None = None
        self._assembling = threading.Lock()
        self._folders = tuple(folders)
        self._cache = CatalogCache(cache)
        self._reader = ModelReader()
        self._read: Readings | None = None
        self._part_configs: dict[tuple[str, int, int, bool], bool] = {}
        self._models = Models()
        self.problems: tuple[Unusable, ...] = ()
        self._scanning = asyncio.Lock()
        self._ready = asyncio.Event()

    async def scan(self) -> None:
        """Look again. What was read before and has not changed costs a look at its date."""
        async with self._scanning:
            stopped = threading.Event()
            try:
                await _in_thread(lambda: self._scan(stopped))
            finally:
                stopped.set()
            self._ready.set()

    async def choose_by(self, allows: Allows) -> None:
        """From now on give checkpoints the most precise parts that memory allows."""

        def choose() -> None:
            with self._assembling:
                self._allows = allows
                self._models = Models(self._models.found, self._settings, allows)

        await _in_thread(choose)

    @property
    def scanned(self) -> bool:
        """Whether the folders have been read to their end once."""
        return self._ready.is_set()

    async def ready(self, seconds: float | None = None) -> bool:
        """Wait until the first scan is over, at most so many seconds; whether it is."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    @property
    def awaited(self) -> dict[str, HubModel]:
        """The checkpoints that the settings name by a model of the hub and that are not there yet,
        by their names.
        """
        there = self._models.find
        return {
            name: model
            for name, model in self._of_hub.items()
            if there(ModelKind.CHECKPOINT, name) is None
        }

    @property
    def all(self) -> list[ModelFile]:
        """Everything that was found, by kind and name."""
        return list(self._models.all)

    @property
    def checkpoints(self) -> list[ModelFile]:
        """The checkpoints, by name; also those of families that can't be run yet."""
        return list(self._models.by_kind[ModelKind.CHECKPOINT])

    @property
    def loras(self) -> list[ModelFile]:
        """The LoRAs, by name."""
        return list(self._models.by_kind[ModelKind.LORA])

    @property
    def controlnets(self) -> list[ModelFile]:
        """The ControlNets, by name."""
        return list(self._models.by_kind[ModelKind.CONTROLNET])

    @property
    def vaes(self) -> list[ModelFile]:
        """The VAEs, by name."""
        return list(self._models.by_kind[ModelKind.VAE])

    @property
    def text_encoders(self) -> list[ModelFile]:
        """The text encoders that lie alone, by name."""
        return list(self._models.by_kind[ModelKind.TEXT_ENCODER])

    @property
    def upscalers(self) -> list[ModelFile]:
        """The networks that enlarge pictures, by name."""
        return list(self._models.by_kind[ModelKind.UPSCALER])

    @property
    def face_restorers(self) -> list[ModelFile]:
        """The networks that restore faces, by name."""
        return list(self._models.by_kind[ModelKind.FACE_RESTORER])

    @property
    def face_detectors(self) -> list[ModelFile]:
        """The networks that find faces, by name."""
        return list(self._models.by_kind[ModelKind.FACE_DETECTOR])

    @property
    def background_removers(self) -> list[ModelFile]:
        """The networks that tell what stands before its background, by name."""
        return list(self._models.by_kind[ModelKind.BACKGROUND_REMOVER])

    @property
    def taggers(self) -> list[ModelFile]:
        """The networks that name what a picture shows, by name."""
        return list(self._models.by_kind[ModelKind.TAGGER])

    @property
    def captioners(self) -> list[ModelFile]:
        """The networks that say in a sentence what a picture shows, by name."""
        return list(self._models.by_kind[ModelKind.CAPTIONER])

    @property
    def segmenters(self) -> list[ModelFile]:
        """The networks that find in a picture what words name, by name."""
        return list(self._models.by_kind[ModelKind.SEGMENTER])

    @property
    def embeddings(self) -> list[ModelFile]:
        """The embeddings, which prompts call by their files' names, by name."""
        return list(self._models.by_kind[ModelKind.EMBEDDING])

    @property
    def ipadapters(self) -> list[ModelFile]:
        """The IP-Adapters, by name."""
        return list(self._models.by_kind[ModelKind.IPADAPTER])

    @property
    def clip_visions(self) -> list[ModelFile]:
        """The image encoders, by name."""
        return list(self._models.by_kind[ModelKind.CLIP_VISION])

    def annotator(self, sees: str) -> ModelFile | None:
        """The first, by name, of the annotators that see that in pictures; None where there is
        none.
        """
        found = self._models.by_kind[ModelKind.ANNOTATOR]
        return next((file for file in found if file.variant == sees), None)

    def get(self, kind: ModelKind, name: str) -> ModelFile:
        """The model of that name, whatever its case, with or without the file's ending.

        Also by the short form that `short_name` gives it. Raises Refused with what is wrong with a
        file of that name, with the nearest names, or while the folders are read for the first
        time or the model is fetched, saying so.
        """
        found = self.find(kind, name)
        if found is not None:
            return found
        if not self.scanned:
            raise Refused("models_being_read", found=len(self._models.all))
        folded = fold(name)
        if kind is ModelKind.CHECKPOINT and folded in map(fold, self.awaited):
            raise Refused("model_awaited", name=printable(name[:80]))
        for problem in self.problems:
            path = problem.path
            # what is called alike everywhere is known by its folder, too
            folder = path.parent.name if path.stem.lower() == "model" else path.stem
            written = (path.stem, path.name, folder)
            if problem.code in UNUSABLE and folded in map(fold, written):
                raise Refused(problem.code, **problem.params)
        alike = self.names(kind).nearest(name, NEAREST)
        raise Refused(f"{kind}_unknown", name=printable(name[:80]), nearest=", ".join(alike) or "—")

    def find(self, kind: ModelKind, name: str) -> ModelFile | None:
        """As `get`; None where there is no such model, or none yet."""
        return self._models.find(kind, name)

    def names(
        self,
        kind: ModelKind,
        key: Hashable = None,
        keep: Callable[[ModelFile], bool] = lambda _: True,
        told: Callable[[ModelFile], Iterable[str]] = lambda model: (model.name,),
    ) -> NameSearch:
        """The names of a kind, or of those of it to `keep`, prepared for searching; `told` are
        those of a model.

        They are prepared once after a scan for each `key`, which stands for what `keep` keeps and
        what is told.
        """
        return self._models.names(kind, key, keep, told)

    # in the thread

    def _scan(self, stopped: threading.Event) -> None:
        if self._read is None:
            self._read = self._cache.load()
            self._saved: Readings = dict(self._read)
        show = None if self.scanned else self._show
        look = _Look(self._read, self._reader, self._of_hub, show)
        walk = Walk(self._part_configs)
        for folder in self._folders:
            for found in walk.below(folder):
                if stopped.is_set():
                    return
                look.at(found)
        self._keep(look)

    def _show(self, models: Iterable[ModelFile]) -> None:
        with self._assembling:
            self._models = Models(models, self._settings, self._allows)

    def _keep(self, look: "_Look") -> None:
        problems = tuple(look.problems)
        away = _away(problems, self._folders)
        for path, entry in (self._read or {}).items():
            # a drive that comes back need not be read again
            if path not in look.seen and any(Path(path).is_relative_to(root) for root in away):
                look.seen[path] = entry
        with self._assembling:
            models = Models(look.models(), self._settings, self._allows)
            if models.all != self._models.all or problems != self.problems or not self.scanned:
                log.info("models found", count=len(models.all), unusable=len(problems))
            if models.all != self._models.all or not self.scanned:
                self._models = models
        for folder in away - _away(self.problems, self._folders):
            log.warning("a model folder is not there", folder=printable(str(folder)))
        self._read, self.problems = look.seen, problems
        if self._read != self._saved:
            self._cache.save(self._read)
            self._saved = self._read


class _Look:
    """One scan while it goes on."""

    def __init__(
        self,
        known: Readings,
        reader: ModelReader,
        of_hub: Mapping[str, HubModel],
        show: Callable[[Iterable[ModelFile]], None] | None,
    ) -> None:
        self._known = known
        self._reader = reader
        self._of_hub = {(hub.repository, hub.file): name for name, hub in of_hub.items()}
        self._show = show
        self._show_at = time.monotonic() + SHOWN_FIRST
        self._began = time.monotonic()
        self.found: dict[tuple[ModelKind, str], ModelFile] = {}
        self._marks: dict[Path, Mark] = {}
        self.problems: list[Unusable] = []
        self.seen: Readings = {}

    def at(self, found: Candidate | Unusable) -> None:
        """Take what the walk found, and read it where it is new."""
        if isinstance(found, Unusable):
            self.problems.append(found)
            return
        path = str(found.path)
        mark, reading = self._known.get(path, ("", Reading()))
        if mark != found.mark or not reading.lasting:
            try:
                reading = self._reader.read(found)
            except FileNotFoundError:
                return  # it went while it was looked for
        self.seen[path] = (found.mark, reading)
        if reading.problem is not None:
            self.problems.append(reading.problem)
        if reading.model is not None:
            named = _unique(self._called(reading.model), self.found, found.root)
            self.found[named.kind, named.name] = named
            if reading.vae_mark:
                self._marks[named.path] = reading.vae_mark
        if self._show is not None and time.monotonic() > self._show_at:
            self._show(self.models())
            now = time.monotonic()
            self._show_at = now + (now - self._began) * SHOWN_AGAIN

    def _called(self, model: ModelFile) -> ModelFile:
        """A checkpoint of the hub by the name that its owner gave it."""
        cached = in_cache(model.path) if self._of_hub else None
        if cached is None or model.kind is not ModelKind.CHECKPOINT:
            return model
        name = self._of_hub.get(cached) or self._of_hub.get((cached[0], ""))
        return msgspec.structs.replace(model, name=name) if name else model

    def models(self) -> list[ModelFile]:
        """What was found; VAEs of unknown version are told by those within checkpoints."""
        known: dict[str, list[Mark]] = {}
        for model in self.found.values():
            mark = self._marks.get(model.path)
            if mark and model.kind is ModelKind.CHECKPOINT and model.family in DESCRIBED:
                known.setdefault(DESCRIBED[model.family].vaes, []).append(mark)
            elif mark and model.kind is ModelKind.VAE and model.family not in ALIKE:
                known.setdefault(model.family, []).append(mark)
        return [self._told(model, known) for model in self.found.values()]

    def _told(self, model: ModelFile, known: Mapping[str, Sequence[Mark]]) -> ModelFile:
        if model.kind is not ModelKind.VAE or model.family not in ALIKE:
            return model
        alike = {family: known.get(family, ()) for family in ALIKE[model.family]}
        family = family_by(self._marks.get(model.path, ()), alike)
        return msgspec.structs.replace(model, family=family) if family else model


def _of_hub(settings: Mapping[str, ModelSettings]) -> dict[str, HubModel]:
    """The models of the hub that settings name."""
    return {name: read(said.hub) for name, said in settings.items() if said.hub}


def _away(problems: Iterable[Unusable], folders: Iterable[Path]) -> set[Path]:
    """The model folders that are not there."""
    roots = set(folders)
    return {problem.path for problem in problems if problem.path in roots}


def _unique(
    model: ModelFile, found: dict[tuple[ModelKind, str], ModelFile], root: Path
) -> ModelFile:
    """Two files of one name are told apart by the folders that they lie in."""
    if (model.kind, model.name) not in found:
        return model
    within = model.path.relative_to(root).parent.as_posix()
    if model.path == root:
        within = root.parent.name
    base = model.name if within in (".", "") else f"{printable(within)}/{model.name}"
    base = short_name(base, NAME_MAX)
    name = base
    number = 2
    while (model.kind, name) in found:
        name = f"{base} ({number})"
        number += 1
    return msgspec.structs.replace(model, name=name)


async def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that the process need not wait for: a drive may never answer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is waited for
            error = raised
        try:
            loop.call_soon_threadsafe(tell, error)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=run, name="catalog", daemon=True).start()
    await done
