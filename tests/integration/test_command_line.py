"""`python -m bot` as its users run it: a process with the demo model, a config of its own."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from bot.__main__ import main
from bot.cli.models import CHECKED_WITH
from generation.request_options import options
from playground.control import Control
from playground.process import local_discord
from tests.unit.generation.prompts.a1111 import a1111_prompts

PROJECT = Path(__file__).resolve().parents[2]
DEMO = PROJECT / "models" / "diffusers" / "demo"


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


async def run(*arguments: str, token: str = "", said: bytes = b"") -> Ended:
    """Run Python with these arguments in the project's folder, and say this to it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=PROJECT,
        env={**os.environ, "DISCORD_TOKEN": token, "COLUMNS": "200"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(said)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(
        '[models.demo]\nsteps = 4\nsampler = "DPM++ 2M"\nguidance_scale = 3.5\n', encoding="utf-8"
    )
    return file


@pytest.mark.slow
async def test_imagine_writes_pictures_and_one_line_each(config: Path, tmp_path: Path) -> None:
    command = ("-m", "bot", "--config", str(config), "imagine", "a slice of pizza")
    options = ("--seed", "7", "--count", "2", "-o", str(tmp_path / "out"))
    first = await run(*command, *options)
    assert first.status == 0, first.err
    lines = [json.loads(line) for line in first.out.splitlines()]
    assert [line["seed"] for line in lines] == [7, 8]
    for line in lines:
        with Image.open(line["file"]) as picture:
            assert picture.size == (line["width"], line["height"]) == (128, 128)
            assert hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest() == line["sha256"]
            assert f"Seed: {line['seed']}" in picture.info["parameters"]
            assert "Model hash: " in picture.info["parameters"]
    assert lines[0]["sha256"] != lines[1]["sha256"]
    again = await run(*command, *options)
    assert [json.loads(line)["sha256"] for line in again.out.splitlines()] == [
        line["sha256"] for line in lines
    ]


@pytest.mark.slow
async def test_describe_says_what_a_picture_of_the_demo_shows(config: Path, tmp_path: Path) -> None:
    """What its own tagger sees in a picture that it drew: the first of those in the docs."""
    with Image.open(PROJECT / "docs" / "describe.png") as sheet:
        sheet.convert("RGB").crop((12, 12, 204, 204)).save(tmp_path / "dog.png")
    (tmp_path / "text.png").write_text("no picture")
    command = ("-m", "bot", "--config", str(config), "describe")
    files = (str(tmp_path / "text.png"), str(tmp_path / "dog.png"))
    found = await run(*command, *files, "--json")
    assert found.status == 1
    assert "text.png" in found.err
    said = json.loads(found.out)
    assert set(said["tags"]) == {"dog", "pink background"}
    assert set(said["prompt"].split(", ")) == {"dog", "pink background"}
    assert (said["ratings"], said["caption"], said["characters"]) == ({}, "", [])
    plain = await run(*command, files[1])
    assert plain.status == 0, plain.err
    assert plain.out.strip() == said["prompt"]
    # no captioner is shipped
    refused = await run(*command, files[1], "--style", "caption")
    assert (refused.status, refused.out) == (1, "")
    assert "models/LLM/Florence-2-base" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("   ",), "prompt"),
        (("a cat", "--width", "2049"), "2048"),
        (("a cat", "--seed", "seven"), "seven"),
        (("a cat", "--seed", "12345678901234567890"), "from 0 to 9,007,199,254,740,991, or -1"),
        (("a cat --ar 9:1",), "9:1 is no shape that can be drawn"),
        (("a cat <lora:[red]nosuch:1>",), "There is no LoRA “[red]nosuch”"),
        (("a cat <hypernet:x:1>",), "<hypernet:x:1>"),
        (("a cat", "--model", "dmo"), "demo"),
        (("a cat", "--sampler", "eulr"), "Euler"),
        (("a cat", "--init-picture", "no-such-file.png"), "no-such-file.png"),
        (("a cat", "--lora-weight", "1"), "lora"),
        # a byte that is no UTF-8, as the system hands it in; brackets are no markup
        (("a \udcff cat",), "half a character"),
        (("a cat", "--model", "[/red]"), "[/red]"),
        (("a cat", "--model", ""), "--model needs a value"),
        (("a cat --preset night",), "leave --preset out here"),
    ],
)
async def test_bad_input_gets_one_sentence(
    config: Path, options: tuple[str, ...], said: str
) -> None:
    ended = await run("-m", "bot", "--config", str(config), "imagine", *options)
    assert ended.status == 1
    assert ended.out == ""
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("imagine", "a cat", "--stepps", "5"), "there is no --stepps; did you mean --steps"),
        (("imagine", "a", "cat"), "“cat” is one text too many; put the whole prompt in quotes"),
        (("imagine", "a cat", "--out", ""), "name a folder"),
        (("prompt", "a", "cat"), "“cat” is one text too many; put the whole prompt in quotes"),
        (("prompt", "a cat", "--steps", "0"), "it must be from 1 to 150"),
        (("prompt", "a cat", "--steps", "x"), "invalid"),
        (("doctor", "--now"), "--now means nothing there"),
        (("doctor", "--config", "own.toml"), "--config FILE stands before doctor"),
        (("nothing",), "nothing"),
        (("--config",), "--config"),
    ],
)
def test_bad_arguments_get_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert line.endswith("--help.")


VALUE = r"(?:[A-Z]+|\[[A-Z]+\]|[^ |]+\|[^ ]+)"
"""What stands behind a flag: what kind of value, or which words."""


def test_help_says_every_range_and_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main(["imagine", "--help"])
    shown = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    for option in options().values():
        if option.name == "prompt":
            continue
        flag = option.name.replace("_", "-")
        found = re.search(rf"--{flag} {VALUE} (.*?)(?= --[a-z-]+ {VALUE} | -o )", shown)
        assert found is not None, flag
        assert "default: " in found[1] or option.name == "lora", found[1]
        assert option.low is None or f"{option.low:,} to {option.high:,}" in found[1]


@pytest.mark.slow
async def test_what_has_no_effect_is_said(config: Path, tmp_path: Path) -> None:
    prompt = "a castle at dusk\nSteps: 1, Sampler: Euler, Seed: 7, Size: 64x64, ENSD: 1\n--private"
    command = ("-m", "bot", "--config", str(config), "imagine", prompt, "-o", str(tmp_path))
    ended = await run(*command)
    assert ended.status == 0, ended.err
    said = ended.err.strip().splitlines()
    assert said[:2] == [
        "--private has no effect without a chat.",
        "Of the pasted generation data these mean nothing here: ENSD.",
    ]
    assert said[2].startswith("demo doesn’t know: dusk. Words that it knows: dog, ")
    assert len(ended.out.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="arguments are no bytes there")
async def test_bytes_that_are_no_text_get_one_sentence(config: Path) -> None:
    prompt = os.fsdecode(b"caf\xe9 cat")
    ended = await run("-m", "bot", "--config", str(config), "imagine", prompt)
    assert ended.status == 1
    assert ended.err.strip() == (
        "prompt holds half a character or a zero byte, as cut-off text does. Type it anew."
    )


async def test_a_wrong_key_ends_with_status_2(config: Path) -> None:
    config.write_text("[worker]\n\nmemry = 'high'\n", encoding="utf-8")
    ended = await run("-m", "bot", "--config", str(config), "imagine", "a cat")
    assert ended.status == 2
    assert "line 3" in ended.err
    assert "`memory`" in ended.err


@pytest.mark.slow
async def test_doctor_names_what_is_broken_and_goes_on(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what a pipe has on Windows
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    folder = tmp_path / "models" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "cut-off.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    (folder / "动漫.ckpt").write_bytes(b"\x80\x02")
    config.write_text(
        '[models]\nfolders = ["models", "nowhere"]\n[huggingface]\nendpoint = "http://127.0.0.1:9"',
        encoding="utf-8",
    )
    ended = await run("-m", "bot", "--config", str(config), "doctor")
    assert ended.status == 0, ended.out + ended.err
    for expected in ("Python", "torch", "memory", "demo", "database", "disk", "token"):
        assert expected in ended.out
    for broken in ("cut-off.safetensors", "动漫.ckpt", "nowhere"):
        assert broken in ended.out
    assert "nowhere: nothing" not in ended.out
    assert "Traceback" not in ended.err


@pytest.mark.slow
async def test_doctor_looks_at_the_token_and_the_permissions(config: Path) -> None:
    async with (
        local_discord("--token", "the-right-one") as discord,
        Control(discord.url) as control,
    ):
        config.write_text(
            f'[discord]\napi = "{discord.api}"\n[huggingface]\nendpoint = "http://127.0.0.1:9"',
            encoding="utf-8",
        )
        command = ("-m", "bot", "--config", str(config), "doctor")
        right = await run(*command, token="the-right-one")
        assert "token         belongs to Darkroom" in right.out
        assert "ok    permissions" in right.out
        ada = await control.person("ada")
        [guild] = (await ada.state())["guilds"]
        for role in guild["roles"]:
            await control.change_role(guild["id"], role["id"], permissions="1024")
        poor = await run(*command, token="the-right-one")
        assert "Grant the bot: " in poor.out
        assert "attach files" in poor.out
        wrong = await run(*command, token="a-wrong-one")
        assert wrong.status == 1
        assert "FAIL  token" in wrong.out


@pytest.mark.slow
async def test_doctor_fails_where_the_bot_could_not_work(config: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "darkroom.sqlite3").write_bytes(b"this is no database" * 100)
    ended = await run("-m", "bot", "--config", str(config), "doctor")
    assert ended.status == 1
    assert "FAIL  database" in ended.out


@pytest.mark.slow
async def test_a_storage_folder_that_cannot_be_made_is_named(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    config.write_text('[storage]\nfolder = "file/data"', encoding="utf-8")
    for arguments in (("imagine", "a cat"), ("run",)):
        ended = await run("-m", "bot", "--config", str(config), *arguments)
        assert ended.status == 2
        assert "Name another folder in [storage]" in ended.err
        assert "Traceback" not in ended.err
    ended = await run("-m", "bot", "--config", str(config), "doctor")
    assert ended.status == 1
    for expected in ("FAIL  disk", "token"):
        assert expected in ended.out
    assert "Traceback" not in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite+nothing:///x", "no url", "postgresql+asyncpg://h/d"])
async def test_a_database_that_cannot_be_opened_is_one_sentence(config: Path, url: str) -> None:
    config.write_text(f'[storage]\ndatabase = "{url}"', encoding="utf-8")
    ended = await run("-m", "bot", "--config", str(config), "run")
    assert ended.status == 2, ended.err
    assert ended.err.startswith("The database ")
    assert "can't be opened: " in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
async def test_a_broken_model_does_not_keep_the_others_from_drawing(
    config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "diffusers" / "half"
    shutil.copytree(DEMO, folder)
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    config.write_text('[models]\nfolders = ["models"]\n[models.demo]\nsteps = 2', encoding="utf-8")
    out = ("-o", str(tmp_path / "out"))
    good = await run("-m", "bot", "--config", str(config), "imagine", "a cat", *out)
    assert good.status == 0, good.err
    bad = await run(
        "-m", "bot", "--config", str(config), "imagine", "a cat", "--model", "half", *out
    )
    assert bad.status == 1
    assert "Traceback" not in bad.err


@pytest.mark.slow
async def test_a_model_is_checked_by_drawing_with_it(config: Path, tmp_path: Path) -> None:
    command = ("-m", "bot", "--config", str(config), "models", "--check")
    out = tmp_path / "out"
    ended = await run(*command, "DEMO", "-o", str(out))
    assert ended.status == 0, ended.err
    assert ended.err.strip() == ""
    (line,) = map(json.loads, ended.out.splitlines())
    assert list(out.iterdir()) == [Path(line["file"])]
    with Image.open(line["file"]) as picture:
        assert hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest() == line["sha256"]
        assert CHECKED_WITH in picture.info["parameters"]
        assert "Steps: 4, Sampler: DPM++ 2M" in picture.info["parameters"]
        assert len(picture.getcolors(maxcolors=picture.width * picture.height) or ()) > 100
    # whole by its header, and no picture comes of it
    hollow = tmp_path / "models" / "diffusers" / "hollow"
    shutil.copytree(DEMO, hollow)
    weights = next((hollow / "unet").glob("*.safetensors"))
    tensors = load_file(weights)
    save_file({name: np.full_like(each, np.nan) for name, each in tensors.items()}, weights)
    settings = '[models]\nfolders = ["models"]\n[models.hollow]\nsteps = 1\n'
    config.write_text(settings, encoding="utf-8")
    ended = await run(*command, "hollow", "-o", str(out))
    assert (ended.status, ended.out) == (1, "")
    # behind what the log has of it
    sentence = ended.err.strip().splitlines()[-1]
    assert sentence.startswith("hollow is damaged: values of its UNet are no numbers (NaN). ")
    assert len(list(out.iterdir())) == 1


async def test_the_bot_imports_no_torch() -> None:
    code = (
        "import bot.__main__, bot.app, bot.client, bot.cli.imagine, bot.cli.doctor, sys;"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    ended = await run("-c", code)
    assert ended.out.strip() == "[]", ended.err


async def test_the_command_says_its_version_and_its_options_ranges() -> None:
    said = await run("-m", "bot", "--version")
    assert said.status == 0
    assert said.out.startswith("darkroom 0.")
    helped = (await run("-m", "bot", "imagine", "--help")).out
    for told in ("1 to 150", "default: 1", "a multiple of 8", "default: out"):
        assert told in helped, told


@pytest.mark.slow
async def test_an_output_folder_that_can_t_be_written_is_refused_before_drawing(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    out = str(tmp_path / "file" / "out")
    command = ("-m", "bot", "--config", str(config), "imagine", "a cat", "-o", out)
    ended = await run(*command)
    assert ended.status == 1
    assert "can't be written to" in ended.err
    assert "--out" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "data").exists(), "it began all the same"


@pytest.mark.slow
async def test_prompts_come_from_a_file_and_one_that_fails_stops_none(
    config: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n\na dog --steps 100000\na slice of pizza\n", encoding="utf-8")
    out = str(tmp_path / "out")
    lora = ("--lora", "demo-pixel-art:0.5", "--lora", "demo-pencil-sketch:0.25")
    command = ("-m", "bot", "--config", str(config), "imagine", "--prompts", str(prompts))
    ended = await run(*command, *lora, "--seed", "1", "-o", out)
    assert ended.status == 1
    assert "100,000" in ended.err
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert len(lines) == 2
    with Image.open(lines[1]["file"]) as picture:
        text = picture.info["parameters"]
    assert text.startswith("a slice of pizza")
    assert "demo-pixel-art:0.5" in text
    assert "demo-pencil-sketch:0.25" in text


@pytest.mark.slow
async def test_a_prompt_and_a_file_of_them_are_one_too_many(config: Path, tmp_path: Path) -> None:
    command = ("-m", "bot", "--config", str(config), "imagine")
    both = await run(*command, "a cat", "--prompts", str(tmp_path / "p.txt"))
    assert (both.status, "not both" in both.err) == (1, True)
    gone = await run(*command, "--prompts", str(tmp_path / "p.txt"))
    assert (gone.status, "p.txt" in gone.err) == (1, True)
    assert "Traceback" not in gone.err


@pytest.mark.slow
async def test_prompts_are_read_as_a1111_reads_them() -> None:
    """Through the process, as other programs use it."""
    for steps in {known["steps"] for known in a1111_prompts()}:
        group = [known for known in a1111_prompts() if known["steps"] == steps]
        said = "\n".join(json.dumps(known["prompt"]) for known in group).encode()
        ended = await run(
            "-m", "bot", "prompt", "--steps", str(steps), "--json", "--stdin", said=said
        )
        assert ended.status == 0, ended.err
        read = [json.loads(line) for line in ended.out.splitlines()]
        assert read == [{n: known[n] for n in ("attention", "schedule")} for known in group]


@pytest.mark.slow
async def test_lines_that_are_no_prompts_are_told() -> None:
    said = b'"a"\nno\n"\\ud83d b"\n'
    ended = await run("-m", "bot", "prompt", "--stdin", said=said)
    first, second, third = map(json.loads, ended.out.splitlines())
    assert ended.status == 1
    assert first == {"attention": [["a", 1.0]], "schedule": [[20, "a"]]}
    assert second == {"error": "line 2 is no JSON string"}
    assert third["schedule"] == [[20, "\ud83d b"]]


def test_a_prompt_is_shown_as_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "a (red:1.2) [cat|dog] BREAK [fog]\x1b<lora:x:.5> AND [sea:sky:5] :0.6"
    assert main(["prompt", "--steps", "10", prompt]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "LoRA <lora:x:.5>",
        "Part 1 of 2, × 1",
        "steps 1, 3, 5, 7, 9: a red ×1.2 cat",
        "BREAK",
        r"fog ×0.909\x1b",
        "steps 2, 4, 6, 8, 10: a red ×1.2 dog",
        "BREAK",
        r"fog ×0.909\x1b",
        "Part 2 of 2, × 0.6",
        "steps 1-5:  sea",
        "steps 6-10:  sky",
    ]
    assert main(["prompt", "--steps", "10", "--hires-steps", "4", "[a:b:12]"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a",
        "Second pass",
        "steps 1-2: a",
        "steps 3-4: b",
    ]
    assert main(["prompt", "--seed", "3", "a {cat|cat}"]) == 0
    assert capsys.readouterr().out.splitlines() == ["drawn with seed 3: a cat", "a cat"]
    assert main(["prompt"]) == 2
    assert "in quotes" in capsys.readouterr().err
    assert main(["prompt", "a <hypernet:x:1>"]) == 1
    assert "<hypernet:x:1> can't be used" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe's end is told otherwise there")
async def test_who_reads_no_further_is_no_error(config: Path) -> None:
    """As `| head -1` does."""
    reads, writes = os.pipe()
    os.close(reads)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--config", str(config), "prompt", "--json", "fox"),
        cwd=PROJECT,
        stdout=writes,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writes)
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (141, "")
