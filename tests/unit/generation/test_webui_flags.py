"""Flags of A1111 and ComfyUI, each answered with what it became."""

import re
from pathlib import Path

import msgspec
import pytest

from bot.config import WorkerSettings
from generation.messages import RuntimeSettings
from generation.webui_flags import FLAGS, followed

DEFAULTS = RuntimeSettings()


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", {}),
        ("--lowvram --no-half-vae", {"memory": "low", "vae_precision": "float32"}),
        ("--medvram --xformers --listen --port 7860", {"memory": "medium"}),
        ("set COMMANDLINE_ARGS=--precision full --no-half", {"precision": "float32"}),
        ('export COMMANDLINE_ARGS="--opt-channelslast"', {"channels_last": True}),
        ("--reserve-vram 1.5 --novram", {"vram_reserve": 1.5, "memory": "low"}),
        ("--reserve-vram=2", {"vram_reserve": 2.0}),
        ("--cache-lru 3 --disable-mmap", {"models_kept": 3, "disable_mmap": True}),
        ("--use-cpu all --precision autocast", {"device": "cpu"}),
    ],
)
def test_a_flag_becomes_a_setting(text: str, changed: dict[str, object]) -> None:
    settings, answers = followed(text, DEFAULTS)
    assert settings == msgspec.structs.replace(DEFAULTS, **changed)
    assert all(answer.known for answer in answers)
    assert len(answers) == len(re.findall(r"--", text))


def test_what_each_became_is_said() -> None:
    _, answers = followed("--lowvram --xformers --ckpt-dir 'D:\\my models' --medvarm -x", DEFAULTS)
    assert [str(answer) for answer in answers] == [
        '--lowvram: memory = "low"',
        "--xformers: nothing: torch's own attention takes as little memory",
        "--ckpt-dir: not followed: name the folder in [models] folders",
        "--medvarm: unknown, and without effect. Did you mean --medvram?",
        answers[4].flag + ": " + answers[4].says,
    ]
    assert [answer.known for answer in answers] == [True, True, True, False, False]


def test_config_toml_goes_before() -> None:
    own = msgspec.structs.replace(DEFAULTS, memory="high")
    settings, [answer] = followed("--lowvram", own)
    assert settings == own
    assert answer.says == 'not followed: memory = "high" is in config.toml'


@pytest.mark.parametrize(
    "text", ["--reserve-vram", "--reserve-vram much", "--cache-lru 99", "--reserve-vram -3"]
)
def test_a_value_that_is_none_has_no_effect(text: str) -> None:
    settings, answers = followed(text, DEFAULTS)
    assert settings == DEFAULTS
    assert "without effect" in answers[0].says


@pytest.mark.parametrize("text", ["--'", '"', "=", "--\0 \x1b[31m", "lowvram", "--" + "x" * 999])
def test_whatever_stands_there_is_answered(text: str) -> None:
    settings, answers = followed(text, DEFAULTS)
    assert settings == DEFAULTS
    for answer in answers:
        assert str(answer).isprintable()
        assert not answer.known


def test_every_flag_becomes_settings_or_says_why_not() -> None:
    for name, flag in FLAGS.items():
        assert bool(flag.becomes) != bool(flag.because), name
        assert set(flag.becomes) <= set(RuntimeSettings.__struct_fields__)
    table = Path("docs/memory.md").read_text(encoding="utf-8")
    for name, flag in FLAGS.items():
        if flag.becomes:
            assert f"`{name}`" in table


def test_the_worker_is_told() -> None:
    worker = WorkerSettings(webui_flags="--lowvram --bogus")
    assert worker.runtime().memory == "low"
    assert [answer.known for answer in worker.flag_answers()] == [True, False]
