"""config.toml and the environment become one Config, or one sentence that names what is wrong."""

import codecs
import io
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yarl
from dotenv import dotenv_values

from bot.config import SECTIONS, Config, ModelsSettings, WorkerSettings
from bot.shipped import INSTALLED
from generation import extra_model_paths, hub, toml_text
from generation.extra_model_paths import ExtraFolder, ExtraPathsError
from generation.hub import HuggingFaceSettings
from generation.messages import NO_CHECK
from generation.messaging.settings import NO_FILE, NatsSettings
from generation.model_settings import ModelSettings
from generation.name_search import nearest

Section = TypeVar("Section", bound=msgspec.Struct)

STORE_KEYS: Final = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"),
    *("AWS_ENDPOINT", "GOOGLE_SERVICE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
    "AZURE_STORAGE_ACCOUNT_KEY",
)
"""Secrets of object stores, by their names in the environment."""
OF_ALL_WORKERS: Final = ("stop_within", "webui_flags", "picture_check")
"""What the keys of `[worker]` begin with that hold for all of them."""
WORKER_NAME: Final = re.compile(r"[\w-]{1,40}", re.ASCII)

OBJECT_STORES: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "https", "http")
"""What addresses of pictures may begin with."""
QUOTED: Final = re.compile(r"[^@/=]{0,100}")
"""What is said again of a wrong setting: an address in the wrong place may have a password."""
ADDRESSES: Final = {"api": ("http", "https"), "gateway": ("ws", "wss")}
"""Addresses in `[discord]`, and what they may begin with."""
BACKSLASH_MARKS: Final = ("Unescaped '\\'", "Invalid hex value", "Illegal character")
BACKSLASH_HINT: Final = (
    " Write a path with slashes, as C:/models, or in single quotes, as 'C:\\models'."
)


KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
"""What msgspec calls kinds of values, in words."""


class ConfigError(Exception):
    """The configuration is wrong; the text says where and what to write instead."""


def load_config(
    file: Path, environment: Mapping[str, str] | None = None, *, needed: bool = True
) -> Config:
    """Read `file`, the environment and the `.env` beside the file.

    Relative paths are relative to the file's folder. One that is not there and not `needed` leaves
    the defaults. Raises ConfigError.
    """
    file = file.resolve()
    try:
        text = _text_of(file) if needed or file.exists() else ""
    except OSError as error:
        raise ConfigError(
            f"{file}: {error.strerror or error}. Name another with --config."
        ) from None
    try:
        tables = toml_text.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = BACKSLASH_HINT if any(mark in str(error) for mark in BACKSLASH_MARKS) else ""
        raise ConfigError(f"{file}: is no valid TOML: {error}{hint}") from None
    place = _Place(file, text)
    sections = _sections(tables, place)
    for name, schemes in ADDRESSES.items():
        _check_address(name, getattr(sections.get("discord"), name, ""), schemes, place)
    dotenv = _dotenv(file.parent / ".env")
    variables = dotenv | dict(os.environ if environment is None else environment)
    for table, settings in _worker_tables(sections).items():
        if settings.address and settings.engine != "darkroom":
            _check_address("address", settings.address, ("http", "https"), place, table)
    _check_whose_addresses(tables, place)
    found = sections.get("huggingface", HuggingFaceSettings())
    own = found.token or variables.get("HF_TOKEN", "")
    sections["huggingface"] = msgspec.structs.replace(found, token=_token(own, "HF_TOKEN"))
    sections["nats"] = _nats(sections.get("nats", NatsSettings()), variables, place)
    token = _token(variables.get("DISCORD_TOKEN", ""), "DISCORD_TOKEN")
    auth = variables.get("WEBUI_AUTH", "")
    config = _with_keys(Config(file=file, token=token, webui_auth=auth, **sections), dotenv)
    _check_processes(config, place)
    _check_pictures(config.storage.pictures, place)
    try:
        _path(Path, config.worker.picture_check_model)
    except ValueError as error:
        sentence = f"`picture_check_model` is wrong: {error}."
        raise place.error("worker", "picture_check_model", sentence) from None
    return _with_extra_folders(_with_absolute_paths(config, file.parent), place)


def _with_keys(config: Config, dotenv: Mapping[str, str]) -> Config:
    """With the keys of an object store that stand in `.env`; those of the environment are found by
    the store itself.
    """
    found = {name.lower(): dotenv[name] for name in STORE_KEYS if dotenv.get(name)}
    options = found | dict(config.storage.picture_options)
    storage = msgspec.structs.replace(config.storage, picture_options=options)
    return msgspec.structs.replace(config, storage=storage)


def _check_processes(config: Config, place: "_Place") -> None:
    discord, storage = config.discord, config.storage
    if discord.shards and max(discord.shards) >= discord.shard_count:
        sentence = "`shards` are counted from 0: set `shard_count` to how many there are in all."
        raise place.error("discord", "shards", sentence)
    if len(set(discord.shards)) < len(discord.shards):
        sentence = "`shards` names one twice: it would be connected twice."
        raise place.error("discord", "shards", sentence)
    if discord.shards and not storage.process:
        sentence = "a process with some of the shards needs a name: set `process` in [storage]."
        raise place.error("discord", "shards", sentence)
    if storage.process and not storage.database.startswith("postgresql"):
        sentence = "several processes share a PostgreSQL server: name it in `database`."
        raise place.error("storage", "process", sentence)


def _check_pictures(pictures: str, place: "_Place") -> None:
    """A folder or an object store, whose keys stand elsewhere. Raises ConfigError."""
    scheme, store, rest = pictures.partition("://")
    sentence = ""
    if not store:
        try:
            _path(Path, pictures)
        except ValueError as error:
            sentence = f"`pictures` is wrong: {error}."
    elif scheme not in OBJECT_STORES or not rest.strip("/"):
        sentence = "`pictures` is no address of an object store: write s3://BUCKET, or a folder."
    elif "@" in rest or "?" in rest:
        sentence = (
            "`pictures` has a key in it: write that into picture_options, or into the"
            " environment, as AWS_SECRET_ACCESS_KEY."
        )
    if sentence:
        raise place.error("storage", "pictures", sentence)


def _check_whose_addresses(tables: Mapping[str, Any], place: "_Place") -> None:
    """That nobody names a program's address and forgets to have it draw. Raises ConfigError."""
    for_all = tables.get("worker", {})
    several = tables.get("workers", {})
    # what is said for all of several may concern but some
    named = {f"workers.{name}": table for name, table in several.items()} or {"worker": for_all}
    for name, table in named.items():
        engine = table.get("engine", for_all.get("engine", "darkroom"))
        if table.get("address") and engine == "darkroom":
            sentence = (
                "`address` is that of a program that draws:"
                ' write engine = "comfyui" or engine = "webui" beside it.'
            )
            raise place.error(name, "address", sentence)


def _nats(found: NatsSettings, variables: Mapping[str, str], place: "_Place") -> NatsSettings:
    """With what need not stand in the file. Raises ConfigError."""
    wrong = found.problem()
    if wrong:
        key = re.findall("`(\\w+)`", wrong)[0]
        raise place.error("nats", key, f"{wrong}.")
    return msgspec.structs.replace(
        found,
        password=found.password or variables.get("NATS_PASSWORD", ""),
        token=found.token or variables.get("NATS_TOKEN", ""),
    )


def _with_extra_folders(config: Config, place: "_Place") -> Config:
    found: list[ExtraFolder] = []
    for paths in config.models.extra_model_paths:
        try:
            found += extra_model_paths.read(paths)
        except ExtraPathsError as error:
            raise place.error("models", "extra_model_paths", f"{paths}: {error}.") from None
    return msgspec.structs.replace(config, extra_folders=tuple(found))


def _text_of(file: Path) -> str:
    """The text of a file as Windows' editors and PowerShell write them, too. Raises OSError."""
    content = file.read_bytes()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text. Save it as UTF-8.") from None
    return text.replace("\r\n", "\n")


def _token(text: str, name: str) -> str:
    """The token as its page shows it, however it was pasted. Raises ConfigError."""
    token = text.strip().strip("\"'“”‘’`").strip()
    token = re.sub(r"^(Bot|Bearer)\s+", "", token)
    if not re.fullmatch(r"[!-~]*", token):
        where = "your application" if name == "DISCORD_TOKEN" else "your tokens"
        raise ConfigError(
            f"{name} is no token: it has spaces, line breaks or signs in it that none has."
            f" Copy it again from the page of {where}."
        )
    return token


def _dotenv(file: Path) -> dict[str, str]:
    try:
        text = _text_of(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}.") from None
    values = dotenv_values(stream=io.StringIO(text))
    return {key: value for key, value in values.items() if value is not None}


class _Place(msgspec.Struct, frozen=True):
    """The file's text, to name the line of what is wrong in it."""

    file: Path
    text: str

    def error(self, table: str, key: str, sentence: str) -> ConfigError:
        return ConfigError(f"{self.file}, line {self.line(table, key)}: {sentence}")

    def line(self, table: str, key: str) -> int:
        """The line on which `key` is set in `[table]`; the table's own where it is not found."""
        current, table_line = "", 1
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
            if header:
                current = header[1].replace('"', "").replace("'", "").replace(" ", "")
                if current == table:
                    table_line = number
                if current == (f"{table}.{key}" if table else key):
                    return number
            elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                return number
        return table_line


def _worker_tables(sections: Mapping[str, Any]) -> dict[str, WorkerSettings]:
    """The settings of workers, by the table that they stand in."""
    several = sections.get("workers", {})
    tables = {f"workers.{name}": settings for name, settings in several.items()}
    return tables or {"worker": sections.get("worker", WorkerSettings())}


def _check_address(
    name: str, address: str, schemes: tuple[str, ...], place: _Place, table: str = "discord"
) -> None:
    """Raise ConfigError for what is no address; an empty one is Discord's own."""
    try:
        url = yarl.URL(address)
        right = url.scheme in schemes and bool(url.host) and not re.search(r"\s", address)
    except ValueError:
        right = False
    if (address or table != "discord") and not right:
        example = f"{schemes[-1] if table == 'discord' else schemes[0]}://…"
        raise place.error(table, name, f"`{name}` is no address: write {example}.")


def _sections(tables: Mapping[str, Any], place: _Place) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in (*SECTIONS, "workers"):
            raise place.error("", name, _unknown(name, [*SECTIONS, "workers"], "table"))
        if not isinstance(table, dict):
            raise place.error("", name, f"`{name}` is a table: write [{name}] above its keys.")
        if name == "models":
            found[name] = _models(table, place)
        elif name == "workers":
            found[name] = _workers(table, tables.get("worker", {}), place)
        else:
            found[name] = _decode(table, SECTIONS[name], name, place)
    return found


def _workers(
    tables: Mapping[str, Any], for_all: Mapping[str, Any], place: _Place
) -> dict[str, WorkerSettings]:
    """`[workers.NAME]`: what a worker does otherwise than `[worker]` says."""
    found: dict[str, WorkerSettings] = {}
    devices: dict[str, str] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not WORKER_NAME.fullmatch(name):
            sentence = "write [workers.NAME] above the keys of each, NAME of letters and digits."
            raise place.error("workers", name, sentence)
        for key in table:
            if key.startswith(OF_ALL_WORKERS):
                sentence = f"`{key}` holds for all workers: write it in [worker]."
                raise place.error(f"workers.{name}", key, sentence)
        settings = _decode({**for_all, **table}, WorkerSettings, f"workers.{name}", place)
        device, key = settings.program_address or settings.device, "device"
        if settings.engine != "darkroom":
            key = "address"
        if device in devices:
            sentence = (
                f"worker {devices[device]} has {device} already: give each its own device, as"
                ' "cuda:0" and "cuda:1".'
            )
            if key == "address":
                sentence = f"worker {devices[device]} draws with the program there already."
            raise place.error(f"workers.{name}", key, sentence)
        devices[device] = name
        found[name] = settings
    return found


def _models(table: Mapping[str, Any], place: _Place) -> ModelsSettings:
    own = [name for name in ModelsSettings.__struct_fields__ if name != "settings"]
    settings = {}
    values = {}
    for name, value in table.items():
        if isinstance(value, dict):
            for key in value:
                if isinstance(value[key], dict):
                    sentence = f'a name with a dot is written in quotes: [models."{name}.{key}"].'
                    raise place.error(f"models.{name}", key, sentence)
            settings[name] = _decode(value, ModelSettings, f"models.{name}", place)
            try:
                hub.read(settings[name].hub or "a/b")
            except ValueError as error:
                raise place.error(f"models.{name}", "hub", f"`hub` is wrong: {error}.") from None
        elif name in own:
            values[name] = value
        else:
            raise place.error("models", name, _unknown(name, own, "key"))
    models = _decode(values, ModelsSettings, "models", place)
    return msgspec.structs.replace(models, settings=settings)


def _decode(table: Mapping[str, Any], type_: type[Section], name: str, place: _Place) -> Section:
    for key in table:
        if key not in type_.__struct_fields__:
            raise place.error(name, key, _unknown(key, list(type_.__struct_fields__), "key"))
    try:
        return msgspec.convert(table, type_, dec_hook=_path)
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at `$.")
        key = re.split(r"[.\[`]", where, maxsplit=1)[0]
        wanted = _wanted(type_, key)
        if wanted and where == f"{key}`" and isinstance(table[key], str):
            plain = QUOTED.fullmatch(table[key])
            sentence = f"{repr(table[key]) if plain else 'what stands there'} is {wanted}"
        sentence = re.sub(r"`(\w+)`", lambda kind: KINDS.get(kind[1], kind[0]), sentence)
        sentence = sentence.replace("number <= ", "number of at most ")
        sentence = sentence.replace("number >= ", "number of at least ")
        raise place.error(name, key, f"`{key}` is wrong: {sentence}.") from None


def _wanted(type_: type[msgspec.Struct], key: str) -> str:
    """What is said of a text that a key may not be."""
    info = msgspec.inspect.type_info(type_)
    assert isinstance(info, msgspec.inspect.StructType)
    found = next((field.type for field in info.fields if field.name == key), None)
    if isinstance(found, msgspec.inspect.LiteralType):
        quoted = sorted(f'"{value}"' for value in found.values)
        return f"none of {', '.join(quoted)}"
    if isinstance(found, msgspec.inspect.Metadata) and found.extra_json_schema:
        return f"not {found.extra_json_schema['description']}"
    return ""


def _path(type_: type, value: object) -> Path:
    if type_ is Path and isinstance(value, str):
        if any(character < " " for character in value):
            raise ValueError(f"`{value!r}` is no path.{BACKSLASH_HINT}")
        try:
            return Path(value).expanduser()
        except RuntimeError as error:  # of a user whom this machine does not know
            raise ValueError(str(error)) from None
    raise ValueError(f"Expected a path, got `{value!r}`")


def _unknown(name: str, known: list[str], what: str) -> str:
    [alike] = nearest(name, known)
    return f"there is no {what} `{name[:80]}`. Did you mean `{alike}`?"


def _with_absolute_paths(config: Config, base: Path) -> Config:
    replace = msgspec.structs.replace
    classifier = config.worker.picture_check_model
    cache = config.huggingface.cache
    if cache == Path() and INSTALLED:
        cache = config.own_models / "huggingface"
    return replace(
        config,
        storage=replace(
            config.storage,
            folder=base / config.storage.folder.expanduser(),
            pictures=config.storage.pictures
            if "://" in config.storage.pictures or not config.storage.pictures
            else str(base / Path(config.storage.pictures).expanduser()),
        ),
        wildcards=replace(config.wildcards, folder=base / config.wildcards.folder.expanduser()),
        worker=replace(
            config.worker,
            picture_check_model=str(base / _path(Path, classifier))
            if classifier not in ("", NO_CHECK)
            else classifier,
        ),
        nats=replace(
            config.nats,
            **{
                name: base / file.expanduser()
                for name in ("credentials", "nkey", "tls_ca", "tls_cert", "tls_key")
                if (file := getattr(config.nats, name)) != NO_FILE
            },
        ),
        huggingface=replace(
            config.huggingface, cache=cache if cache == Path() else base / cache.expanduser()
        ),
        models=replace(
            config.models,
            folders=tuple(base / folder.expanduser() for folder in config.models.folders),
            extra_model_paths=tuple(
                base / file.expanduser() for file in config.models.extra_model_paths
            ),
        ),
    )
