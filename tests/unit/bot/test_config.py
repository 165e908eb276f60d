"""config.toml: defaults, paths, and what a wrong one is answered with."""

import argparse
from pathlib import Path

import msgspec
import pytest

from bot.app import elsewhere
from bot.cli import worker
from bot.config import SECTIONS, Config
from bot.config_file import ConfigError, load_config
from bot.shipped import PROJECT
from bot.storage_folder import StartError
from storage.settings import ElsewhereSettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def load(file: Path, text: str, **environment: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return load_config(file, environment)


def test_the_file_that_is_shipped_states_the_defaults(file: Path) -> None:
    shipped = load_config(PROJECT / "config.toml", {})
    built_in = load(file, "")
    assert shipped.models.settings == {}
    for section in (
        "discord",
        "playground",
        "worker",
        "limits",
        "direct_messages",
        "queue",
        "huggingface",
        "log",
    ):
        assert getattr(shipped, section) == getattr(built_in, section), section
    text = (PROJECT / "config.toml").read_text(encoding="utf-8")
    sections = (built_in.worker, built_in.limits, built_in.direct_messages, built_in.models)
    names = {name for section in sections for name in section.__struct_fields__} - {"settings"}
    for name in names:
        assert f"\n{name} = " in text, f"{name} is not in config.toml"


def test_paths_are_relative_to_the_file(file: Path) -> None:
    config = load(file, '[storage]\nfolder = "x"\n[models]\nfolders = ["../m", "/abs"]')
    assert config.storage.folder == file.parent / "x"
    assert config.model_folders == (PROJECT / "models", file.parent / "../m", Path("/abs"))


def test_tables_of_models(file: Path) -> None:
    config = load(file, '[models]\ndefault = "a b"\n[models."a b"]\nsteps = 9\n')
    assert config.rules.default_model == "a b"
    assert config.rules.models["a b"].steps == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[worker]\n\nmemry = 'high'", "line 3: there is no key `memry`. Did you mean `memory`?"),
        ("[wrker]", "line 1: there is no table `wrker`. Did you mean `worker`?"),
        ("\n[models]\nfolder = []", "line 3: there is no key `folder`. Did you mean `folders`?"),
        ("[models.demo]\nstep = 3", "line 2: there is no key `step`. Did you mean `steps`?"),
        (
            "[limits]\nside = 5000",
            "line 2: `side` is wrong: Expected a whole number of at most 2048.",
        ),
        (
            "[log]\nlevel = 'loud'",
            'line 2: `level` is wrong: \'loud\' is none of "debug", "error", "info", "warning".',
        ),
        (
            "[limits]\nsteps = 'many'",
            "line 2: `steps` is wrong: Expected a whole number, got a text.",
        ),
        (
            "[worker]\ndevice = 'gpu'",
            '\'gpu\' is none of "auto", "cpu", "cuda", "cuda:0", "cuda:1"',
        ),
        ("[discord]\nshards = [0]", "set `shard_count` to how many there are in all"),
        ("[discord]\nshard_count = 2\nshards = [0]", "set `process` in [storage]"),
        ("[storage]\nprocess = 'a b'", "'a b' is not of up to 40 letters, digits, - and _"),
        ("[log]\nlevel = 'loud'", '\'loud\' is none of "debug", "error", "info"'),
        ("[nats]\nurl = 'nats://host:99999'", "`url` is no address of NATS"),
        ("[nats]\nurl = 'nats://host:port'", "`url` is no address of NATS"),
        ("[nats]\nurl = ' , '", "`url` has no address in it"),
        ("[discord]\nshard_count = 2\nshards = [1, 1]", "`shards` names one twice"),
        ("[discord]\nguilds = [-1]", "line 2: `guilds` is wrong"),
        ("[metrics]\nhost = ''", "'' is not an address of this machine"),
        ("[worker]\naddress = 'http://host'", 'write engine = "comfyui"'),
        ("[workers.a]\naddress = 'http://host'", 'write engine = "comfyui"'),
        ("[storage]\npictures = 'memory://'", "no address of an object store"),
        ("[storage]\npictures = 'file:///home'", "no address of an object store"),
        ("[storage]\npictures = 's3://'", "no address of an object store"),
        ("[storage]\npictures = '~nobody-here/x'", "`pictures` is wrong"),
        ('[storage]\npictures = "a\\u0000"', "`pictures` is wrong"),
        ("[worker]\npicture_check_model = '~nobody-here/x'", "`picture_check_model` is wrong"),
        ("[storage]\nprocess = 'one'", "several processes share a PostgreSQL server"),
        ("[workers.a]\ndevice = 'gpu'", "'gpu' is none of"),
        ("[workers.a]\nprecison = 'auto'", "Did you mean `precision`?"),
        ("[workers.a]\nstop_within = 5", "holds for all workers: write it in [worker]"),
        (
            "[workers.a]\ndevice = 'cuda:0'\n[workers.b]\ndevice = 'cuda:0'",
            "worker a has cuda:0 already",
        ),
        ("[workers]\ndevice = 'cuda:0'", "[workers.NAME]"),
        ("[workers.'a b']\ndevice = 'cuda:0'", "NAME of letters and digits"),
        ("[storage]\nfolder = 3", "line 2: `folder` is wrong: Expected a path, got `3`."),
        ("worker = 3", "line 1: `worker` is a table: write [worker] above its keys."),
        ("[worker", "is no valid TOML"),
        ("[limits]\nsteps = " + "1" * 4301, "is no valid TOML: a number in it has too many digits"),
        ("[limits]\nsteps = " + "1" * 400, "line 2: `steps` is wrong"),
        ("x = " + "[\n" * 5000, "is no valid TOML: nested too deep"),
        ("x = " + "[" * 1000, "is no valid TOML: nested too deep (at line 1)"),
        (
            "[models.sd-v1.5]\nsteps = 9",
            'a name with a dot is written in quotes: [models."sd-v1.5"]',
        ),
        ('[models]\nfolders = ["C:\\stable"]', "in single quotes, as 'C:\\models'"),
        ('[storage]\nfolder = "C:\\Users"', "in single quotes, as 'C:\\models'"),
        ('[storage]\nfolder = "D:\\new"', "in single quotes, as 'C:\\models'"),
        ('[storage]\nfolder = "~no-such-user/x"', "`folder` is wrong"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(file: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(file, text)
    assert said in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("table", ["worker", "storage", "log", "metrics", "nats", "discord"])
def test_no_password_in_an_address_is_said_again(file: Path, table: str) -> None:
    """Wherever it was written: the sentence may be read by others, and stands in logs."""
    keys = SECTIONS[table].__struct_fields__
    addresses = (
        *("http://me:s3cret@host:99999", "nats://me:s3cret@host:99999", "me:s3cret@host:4222"),
        *("s3://key:s3cret@bucket", "http://me:s3 cret@host", "https://host/x?sig=s3cret"),
    )
    said = []
    for key in keys:
        for address in addresses:
            try:
                load(file, f'[{table}]\n{key} = "{address}"')
            except ConfigError as error:
                said.append(str(error))
    assert said
    assert not [sentence for sentence in said if "s3" in sentence and "cret" in sentence]


def test_addresses_of_nats_are_shown_without_what_must_not_be_read(file: Path) -> None:
    config = load(file, "[nats]\nurl = 'nats://me:p@ss@one:4222, tls://token@two, nats://three'")
    assert config.nats.shown == "nats://one:4222, tls://two, nats://three"


def test_a_missing_file(file: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_config(file, {})


def test_the_token_is_in_the_environment_or_dotenv_only(file: Path) -> None:
    assert load(file, "").token == ""
    (file.parent / ".env").write_text("DISCORD_TOKEN=from-file\n", encoding="utf-8")
    assert load(file, "").token == "from-file"
    assert load(file, "", DISCORD_TOKEN="from-environment").token == "from-environment"
    with pytest.raises(ConfigError, match="there is no key `token`"):
        load(file, "[discord]\ntoken = 'x'")


def test_the_worker_is_told_its_part(file: Path) -> None:
    config = load(file, "[worker]\nbatch_size = 2\nhang_after = 9.5")
    assert config.worker.hang_after == 9.5
    assert msgspec.to_builtins(config.worker.runtime())["batch_size"] == 2
    assert "hang_after" not in msgspec.to_builtins(config.worker.runtime())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_as_windows_writes_them(file: Path, encoding: str) -> None:
    file.write_bytes("# für alle\r\n[limits]\r\nsteps = 9\r\n".encode(encoding))
    (file.parent / ".env").write_bytes('# für\r\nDISCORD_TOKEN="abc"\r\n'.encode(encoding))
    config = load_config(file, {})
    assert (config.token, config.limits.steps) == ("abc", 9)


def test_a_file_of_a_code_page_is_named(file: Path) -> None:
    file.write_text("")
    (file.parent / ".env").write_bytes("# für".encode("cp1252"))
    with pytest.raises(ConfigError, match=r"\.env: is not UTF-8 text\. Save it as UTF-8\."):
        load_config(file, {})


def test_direct_messages_have_settings_of_their_own(file: Path) -> None:
    assert elsewhere(load(file, "")) == ElsewhereSettings()
    text = "[direct_messages]\nenabled = false\nquota = 9\nwaiting = 2\nspoiler = true\n"
    expected = ElsewhereSettings(enabled=False, quota=9, waiting=2, spoiler=True)
    assert elsewhere(load(file, text)) == expected
    text = '[worker]\npicture_check_model = "m"\n[direct_messages]\npicture_check = "block"\n'
    assert elsewhere(load(file, text)).picture_check == "block"


def test_the_picture_check_is_a_folder_or_off(file: Path) -> None:
    named = load(file, '[worker]\npicture_check_model = "m"\n').worker.picture_check_model
    assert named == str(file.parent / "m")
    for said in ("", "off"):
        text = f'[worker]\npicture_check_model = "{said}"\n'
        assert load(file, text).worker.picture_check_model == said


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('blocklist = ["/(/"]', "can't be on a blocklist"),
        ('picture_check = "blur"\n[worker]\npicture_check_model = "off"', "picture_check_model"),
    ],
)
def test_what_cannot_hold_there_stops_the_start(file: Path, setting: str, said: str) -> None:
    with pytest.raises(StartError, match=said) as error:
        elsewhere(load(file, f"[direct_messages]\n{setting}\n"))
    assert "direct_messages" in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["abc.def-g_h", " abc.def-g_h\n", '"abc.def-g_h"', "Bot abc.def-g_h", "' Bot  abc.def-g_h '"],
)
def test_a_token_is_taken_however_it_was_pasted(file: Path, text: str) -> None:
    assert load(file, "", DISCORD_TOKEN=text).token == "abc.def-g_h"


@pytest.mark.parametrize(
    "text", ["abc\ndef", "abc def", "abc\r\nX-Header: 1", "тoken", "a\0b", "名"]
)
def test_what_is_no_token_is_said_without_repeating_it(file: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="DISCORD_TOKEN is no token") as error:
        load(file, "", DISCORD_TOKEN=text)
    assert text not in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        'api = "discord"',
        'api = "ftp://example.org"',
        'api = "http://"',
        'api = "http://a b"',
        'api = "http://[::1"',
        'api = "http://host:port"',
        'gateway = "http://example.org"',
    ],
)
def test_an_address_that_is_none_is_named_with_its_line(file: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"line 2: .* is no address"):
        load(file, f"[discord]\n{line}")


def test_odd_lines_of_the_dotenv_file_are_no_fault(file: Path) -> None:
    (file.parent / ".env").write_bytes(b"=\n'\nA=\"x\n\0\nDISCORD_TOKEN=abc\nexport B\n")
    assert load(file, "").token in ("", "abc")
    (file.parent / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load(file, "")


def test_the_hub(file: Path) -> None:
    config = load(file, "", HF_TOKEN=" hf_mine ")
    assert config.huggingface.token == "hf_mine"
    assert "hf_mine" not in repr(config)
    text = '[huggingface]\ncache = "hub"\ntoken = "hf_own"\n[models.x]\nhub = "a/b:c.gguf"\n'
    config = load(file, text, HF_TOKEN="hf_mine")
    assert config.huggingface.token == "hf_own"
    assert config.model_folders == (PROJECT / "models", file.parent / "hub")
    assert config.models.settings["x"].hub == "a/b:c.gguf"
    with pytest.raises(ConfigError, match=r"line 2: `hub` is wrong: it is no model of the hub"):
        load(file, '[models.x]\nhub = "nonsense"\n')
    with pytest.raises(ConfigError, match="HF_TOKEN is no token"):
        load(file, "", HF_TOKEN="hf mine")


def test_each_worker_does_what_all_do_unless_it_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        "[worker]\nbatch_size = 2\n"
        "[workers.first]\ndevice = 'cuda:0'\n"
        "[workers.second]\ndevice = 'cuda:1'\nbatch_size = 1\n"
    )
    engines = load_config(file, {}).engines
    assert {name: (one.device, one.batch_size) for name, one in engines.items()} == {
        "first": ("cuda:0", 2),
        "second": ("cuda:1", 1),
    }
    file.write_text("[worker]\nbatch_size = 3\n")
    [(name, only)] = load_config(file, {}).engines.items()
    assert (name, only.batch_size) == ("main", 3)


def test_a_comfyui_is_a_worker_with_an_address(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    two = (
        "[workers.one]\nengine = 'comfyui'\n"
        "[workers.two]\nengine = 'comfyui'\naddress = 'http://10.0.0.5:8188'\n"
    )
    file.write_text(two)
    config = load_config(file, {})
    assert config.engines["one"].program_address == "http://127.0.0.1:8188"
    assert config.only_comfyui
    assert config.rules.conventions == "comfyui"
    file.write_text(f"{two}[workers.three]\ndevice = 'cpu'\n")
    config = load_config(file, {})
    assert not config.only_comfyui
    assert config.rules.conventions == "a1111"
    file.write_text(f"{two}[workers.three]\nengine = 'comfyui'\n")
    with pytest.raises(ConfigError, match="worker one draws with the program there already"):
        load_config(file, {})
    for wrong in ("10.0.0.5:8188", "ftp://host"):
        file.write_text(f"[worker]\nengine = 'comfyui'\naddress = '{wrong}'\n")
        with pytest.raises(ConfigError, match=r"line 3: .* is no address: write http://"):
            load_config(file, {})


def test_a_webui_is_a_worker_with_an_address_and_a_password(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[worker]\nengine = 'webui'\n")
    config = load_config(file, {"WEBUI_AUTH": "ada:secret"})
    assert config.engines["main"].program_address == "http://127.0.0.1:7860"
    assert config.webui_auth == "ada:secret"
    assert config.only_programs
    assert config.rules.conventions == "a1111", "which it draws by"
    both = "[workers.one]\nengine = 'webui'\n[workers.two]\nengine = 'comfyui'\n"
    file.write_text(both)
    config = load_config(file, {})
    assert config.only_programs
    assert config.rules.conventions == "a1111"
    file.write_text(f"{both}[workers.three]\ndevice = 'cpu'\n")
    config = load_config(file, {})
    assert not config.only_programs
    assert config.engines["three"].program_address == "", "it draws itself"


@pytest.mark.parametrize("engine", ["comfyui", "webui"])
async def test_a_machine_over_nats_hands_nothing_on(tmp_path: Path, engine: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[worker]\nengine = '{engine}'\n")
    asked = argparse.Namespace(nats="nats://127.0.0.1:1", name="attic")
    with pytest.raises(StartError, match="leave out engine"):
        await worker.worker(load_config(file, {}), asked)
