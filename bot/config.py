"""Every setting, as config.toml has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from bot.shipped import SHIPPED_MODELS, models_folder
from generation.describing import DescribingSettings
from generation.enlarging import EnlargingSettings
from generation.extra_model_paths import ExtraFolder
from generation.hires import HiresSettings
from generation.hub import HuggingFaceSettings
from generation.messages import RuntimeSettings
from generation.messaging.settings import NatsSettings
from generation.model_settings import ModelSettings
from generation.picture_files import OutputSettings
from generation.rules import Limits, Rules
from generation.webui_flags import FlagAnswer, followed
from storage.retention import RetentionSettings

DISCORD_API: Final = "https://discord.com/api"
ONLY_WORKER: Final = "main"
"""What the worker is called where there is one."""

USUAL_ADDRESSES: Final = {"comfyui": "http://127.0.0.1:8188", "webui": "http://127.0.0.1:7860"}
"""Where programs have their pages that draw as engines."""


class DiscordSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[discord]`. Empty addresses are Discord's own. The token is in the environment only."""

    api: str = ""
    gateway: str = ""
    guilds: tuple[Annotated[int, Meta(gt=0, le=2**63 - 1)], ...] = ()
    presence: bool = True
    """Whether the list of members shows how many wait, and which model draws."""
    shard_count: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Of all processes together; 0 for as many as Discord says."""
    shards: tuple[Annotated[int, Meta(ge=0, lt=10_000)], ...] = ()
    """Those of this process; empty for all."""
    welcome: bool = True
    help_link: str = ""


class PlaygroundSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[playground]`: the local Discord, started when there is no token."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 8100


class ModelsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[models]` and its tables `[models.NAME]`."""

    folders: tuple[Path, ...] = ()
    extra_model_paths: tuple[Path, ...] = ()
    """Files as ComfyUI's extra_model_paths.yaml."""
    default: str = ""
    settings: Mapping[str, ModelSettings] = {}


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[storage]`: where the database and the pictures lie."""

    folder: Path = Path("data")
    database: str = ""
    """An SQLAlchemy async URL; empty for SQLite in the folder."""
    pictures: str = ""
    """A folder of their own, or the address of an object store; empty for a folder in `folder`."""
    picture_options: Mapping[str, str] = {}
    """Of an object store: its endpoint, region and whatever else it needs."""
    process: Annotated[
        str,
        Meta(pattern="^[A-Za-z0-9_-]{0,40}$", description="of up to 40 letters, digits, - and _"),
    ] = ""
    """What this process is called among several that share a database."""

    @property
    def picture_folder(self) -> Path | None:
        """Where all pictures lie; None for an object store."""
        if "://" in self.pictures:
            return None
        return Path(self.pictures) if self.pictures else self.folder / "pictures"


class WorkerSettings(RuntimeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[worker]`: what the worker process is told, and how long it may be silent."""

    engine: Literal["darkroom", "comfyui", "webui"] = "darkroom"
    """What draws: a process of this program, or a ComfyUI or an A1111 webui that runs."""
    address: str = ""
    """Of that one; empty for its usual one on this machine."""
    hang_after: Annotated[float, Meta(ge=5, le=3600)] = 120.0
    """Seconds."""
    stop_within: Annotated[float, Meta(ge=0.5, le=600)] = 10.0
    """Seconds that a stop may take, whatever is being drawn."""
    webui_flags: Annotated[str, Meta(max_length=4000)] = ""
    """Flags of other programs."""

    @property
    def program_address(self) -> str:
        """Where the page of the program is that draws in the place of this one; "" for none."""
        usual = USUAL_ADDRESSES.get(self.engine, "")
        return usual and (self.address or usual)

    def runtime(self) -> RuntimeSettings:
        """The part that the worker process is told, with what `webui_flags` change."""
        return self._followed()[0]

    def flag_answers(self) -> tuple[FlagAnswer, ...]:
        """What became of each of `webui_flags`."""
        return self._followed()[1]

    def _followed(self) -> tuple[RuntimeSettings, tuple[FlagAnswer, ...]]:
        names = RuntimeSettings.__struct_fields__
        own = RuntimeSettings(**{name: getattr(self, name) for name in names})
        return followed(self.webui_flags, own)


class DirectMessagesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[direct_messages]`: what holds there, and on servers where the bot is no member, since no
    server's own settings do. 0 is no limit beside those of `[limits]`.
    """

    enabled: bool = True
    quota: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Pictures of one person a day."""
    waiting: Annotated[int, Meta(ge=0, le=1000)] = 0
    blocklist: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=500)], ...], Meta(max_length=500)
    ] = ()
    blocked: tuple[int, ...] = ()
    """Discord's ids of people who may ask for nothing there."""
    picture_check: Literal["off", "blur", "block"] = "off"
    spoiler: bool = False


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[queue]`: in which order requests are drawn."""

    model_affinity: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """Seconds that others may be kept waiting so that a loaded model need not be swapped."""


class WildcardsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[wildcards]`: what prompts can draw from."""

    folder: Path = Path("wildcards")
    """Of text files, a choice a line."""


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[metrics]`: where Prometheus finds figures, and others whether the bot does its work."""

    host: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9.:_%-]{1,255}$", description="an address of this machine"),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """0 for none."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. Paths are absolute."""

    file: Path
    discord: DiscordSettings = DiscordSettings()
    playground: PlaygroundSettings = PlaygroundSettings()
    models: ModelsSettings = ModelsSettings()
    extra_folders: tuple[ExtraFolder, ...] = ()
    """Those that the files of `extra_model_paths` name."""
    storage: StorageSettings = StorageSettings()
    worker: WorkerSettings = WorkerSettings()
    workers: Mapping[str, WorkerSettings] = {}
    """Where there are several, by name: each over `worker`."""
    limits: Limits = Limits()
    enlarging: EnlargingSettings = EnlargingSettings()
    describing: DescribingSettings = DescribingSettings()
    output: OutputSettings = OutputSettings()
    hires: HiresSettings = HiresSettings()
    direct_messages: DirectMessagesSettings = DirectMessagesSettings()
    queue: QueueSettings = QueueSettings()
    wildcards: WildcardsSettings = WildcardsSettings()
    huggingface: HuggingFaceSettings = HuggingFaceSettings()
    nats: NatsSettings = NatsSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    token: str = ""
    webui_auth: str = ""
    """`user:password`, for a webui that asks for it."""

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """The owner's `models/`, then those that they named, each once.

        Before them go those that ComfyUI's file says come first, behind them the hub's cache, and
        what comes with an installed program.
        """
        own = self.own_models
        first = (folder.path for folder in self.extra_folders if folder.first)
        others = (folder.path for folder in self.extra_folders if not folder.first)
        cache = self.huggingface.cache
        cached = () if cache == Path() or cache.is_relative_to(own) else (cache,)
        # an installed program may be asked something in a folder that has none
        owned = (own,) if own == SHIPPED_MODELS or own.is_dir() else ()
        named = (*first, *owned, *self.models.folders, *others, *cached, SHIPPED_MODELS)
        return tuple(dict.fromkeys(named))

    @property
    def engines(self) -> Mapping[str, WorkerSettings]:
        """The settings of each worker of this machine, by its name."""
        return self.workers or {ONLY_WORKER: self.worker}

    @property
    def own_models(self) -> Path:
        """The folder that models are dropped into where no other is named."""
        return models_folder(self.file)

    @property
    def drawing(self) -> Mapping[str, WorkerSettings]:
        """Those of them that draw for the bot on this machine."""
        return self.engines if self.nats.draw_here or not self.nats.url else {}

    @property
    def only_programs(self) -> bool:
        """Whether nothing draws but programs of others."""
        drawing = self.drawing.values()
        others = any(settings.engine == "darkroom" for settings in drawing)
        return bool(drawing) and not others and not self.nats.url

    @property
    def only_comfyui(self) -> bool:
        """Whether nothing draws but ComfyUI."""
        others = any(settings.engine != "comfyui" for settings in self.drawing.values())
        return self.only_programs and not others

    @property
    def rules(self) -> Rules:
        """What turns a draft into a request on this machine."""
        return Rules(
            default_model=self.models.default,
            models=self.models.settings,
            limits=self.limits,
            enlarging=self.enlarging,
            describing=self.describing,
            output=self.output,
            hires=self.hires,
            conventions="comfyui" if self.only_comfyui else "a1111",
            wildcards=self.wildcards.folder,
        )


SECTIONS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "discord": DiscordSettings,
    "playground": PlaygroundSettings,
    "models": ModelsSettings,
    "storage": StorageSettings,
    "worker": WorkerSettings,
    "limits": Limits,
    "enlarging": EnlargingSettings,
    "describing": DescribingSettings,
    "output": OutputSettings,
    "hires": HiresSettings,
    "direct_messages": DirectMessagesSettings,
    "queue": QueueSettings,
    "wildcards": WildcardsSettings,
    "huggingface": HuggingFaceSettings,
    "nats": NatsSettings,
    "retention": RetentionSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
}
