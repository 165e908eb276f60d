"""The docs say what the program says: references are current, every page is in the menu, every
setting and command is described, and what people deploy with holds together.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from bot.__main__ import command_line
from bot.cli.doctor.network import PERMISSIONS
from bot.config import SECTIONS
from bot.config_file import load_config
from generation.preset_files import from_toml
from storage.drafts import KEPT_FOR
from tests.reference import FOLDER, PAGES, comments

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
WINDOWS = PROJECT / "deploy" / "windows.ps1"
RUNNER = WINDOWS.with_name("windows-run.cmd")
UNIT = PROJECT / "deploy" / "darkroom.service"


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_what_the_program_says(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "run: python -m tests.reference"


def test_every_key_is_in_config_toml_and_on_the_page() -> None:
    said = comments((PROJECT / "config.toml").read_text(encoding="utf-8"))
    page = (FOLDER / "settings.md").read_text(encoding="utf-8")
    for table, kind in SECTIONS.items():
        section = page.split(f"## [{table}]\n")[1].split("\n## ")[0]
        for key in kind.__struct_fields__:
            if (table, key) == ("models", "settings"):
                continue  # [models.NAME]
            assert said[table][key][1], f"{table}.{key}"
            assert f"| `{key}` |" in section, f"{table}.{key}"


def test_a_key_that_nobody_describes_is_noticed() -> None:
    said = comments("[a]\nx = 1   # of x\n        # and more\ny = 2\n# z = 3\n")
    assert said == {"a": {"x": ("1", "of x and more"), "y": ("2", "")}}


def test_every_page_is_in_the_menu_once() -> None:
    menu = yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = re.findall(r"'([\w/-]+\.md)'", repr(menu))
    there = sorted(file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md"))
    assert sorted(named) == there


def test_every_link_of_the_docs_and_of_the_readme_leads_somewhere() -> None:
    texts = [*DOCS.rglob("*.md"), *PROJECT.glob("*.md")]
    assert len(texts) > 30
    for file in texts:
        text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not target.startswith(("http", "#")):
                path = file.parent / target.partition("#")[0]
                assert path.exists(), f"{file.name}: {target}"


def test_settings_that_pages_show_are_settings(tmp_path: Path) -> None:
    shown = 0
    for page in DOCS.glob("*.md"):
        for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            text = re.sub(r"^    ", "", block, flags=re.M)
            if "[[preset]]" in text:
                assert from_toml(text)
                continue
            (tmp_path / "extra_model_paths.yaml").write_text("", encoding="utf-8")
            text = re.sub(r'"D:/ComfyUI/extra', '"extra', text)
            (tmp_path / "config.toml").write_text(text, encoding="utf-8")
            load_config(tmp_path / "config.toml", {})
            shown += 1
    assert shown >= 8


def test_every_permission_that_doctor_wants_is_explained() -> None:
    page = (DOCS / "discord.md").read_text(encoding="utf-8").lower()
    for name, needed in PERMISSIONS:
        names = {"view_channel": "view channels", "read_messages": "view channels"}
        if needed:
            assert f"| {names.get(name, name.replace('_', ' '))} |" in page, name


def test_how_long_things_are_kept_is_as_the_page_says() -> None:
    page = (DOCS / "privacy.md").read_text(encoding="utf-8")
    assert KEPT_FOR.days == 7
    assert "| a week, the last fifty of each person |" in page


def test_troubleshooting_quotes_what_the_program_says() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    program = "".join(
        file.read_text(encoding="utf-8")
        for part in ("bot", "generation")
        for kind in ("*.py", "*.toml")
        for file in (PROJECT / part).rglob(kind)
    )
    for quoted in (
        "Discord refuses the token",
        "The graphics card ran out of memory",
        "The program that draws ended twice",
        "Another Darkroom works with",
        "The local Discord did not start",
        "The bot may not do this here",
        "there is no key",
        "does not fit this model",
    ):
        assert quoted in page, quoted
        assert quoted in program or quoted == "there is no key", quoted


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    assert f"## {version}" in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_script_for_windows_parses() -> None:
    tree_sitter = pytest.importorskip("tree_sitter")
    powershell = pytest.importorskip("tree_sitter_powershell")
    parser = tree_sitter.Parser(tree_sitter.Language(powershell.language()))
    source = WINDOWS.read_bytes()
    assert source.isascii(), "PowerShell 5.1 reads a file without a mark as its code page"
    assert not parser.parse(source).root_node.has_error
    assert parser.parse(source.replace(b"function Set-Token {", b"function {")).root_node.has_error


def test_the_script_for_windows_takes_what_its_page_says() -> None:
    script = WINDOWS.read_text(encoding="ascii")
    parameters = set(re.findall(r"^    \[\w+\]\$(\w+)", script, re.M))
    assert set(re.findall(r"^\.PARAMETER (\w+)", script, re.M)) == parameters
    page = (DOCS / "windows.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`-([A-Z]\w+)", page)) - {"ExecutionPolicy"}
    assert named == parameters
    assert "-c constraints.txt" in script.replace("', '", " ")


def test_the_task_of_windows_starts_a_bot_that_died_but_not_one_that_was_to_end() -> None:
    assert RUNNER.name in WINDOWS.read_text(encoding="ascii")
    attributes = (PROJECT / ".gitattributes").read_text(encoding="utf-8")
    assert "*.cmd text eol=crlf" in attributes, "cmd.exe misses labels in a file of Unix' lines"
    lines = [line.strip() for line in RUNNER.read_text(encoding="ascii").splitlines()]
    ran = lines.index('"%~1" -m bot --config "%~2" run >>"%~3" 2>&1')
    ends = re.findall(r"if %errorlevel% equ (\d) exit /b \1", "\n".join(lines[ran:]))
    wrong = re.findall(r"^RestartPreventExitStatus=(\d)$", UNIT.read_text(encoding="utf-8"), re.M)
    assert ends == ["0", *wrong]
    assert lines[-1] == "goto again"
    assert ":again" in lines[:ran]


def test_pages_call_others_by_what_they_are_about() -> None:
    for page in (*DOCS.glob("*.md"), *FOLDER.glob("*.md")):
        named = re.findall(r"\[(?:docs/)?[\w-]+\.md\]\(", page.read_text(encoding="utf-8"))
        assert named == [], page.name


def test_what_belongs_to_a_step_is_indented_as_the_site_wants_it() -> None:
    for page in DOCS.rglob("*.md"):
        # three spaces are enough elsewhere; the site ends the list, and the next number is text
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"\n\n {1,3}[^ \n].*", text) == [], page.name
        # nor does a number begin a step directly behind a paragraph or code of the one before
        assert re.findall(r"\n\n {4}.*\n(?:.+\n)*\d+\. .*", text) == [], page.name


def test_no_cell_of_a_reference_ends_in_braces() -> None:
    for name in PAGES:
        # the site would take them for attributes of the cell, and show nothing
        assert re.findall(r"\{[^`|]*\} \|", (FOLDER / name).read_text(encoding="utf-8")) == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_unit_of_systemd_is_right_and_locked_up(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    command = re.search(r"^ExecStart=(\S+) --config \S+ run$", text, re.M)
    assert command is not None
    unit = tmp_path / "darkroom.service"
    unit.write_text(text.replace(command[1], sys.executable), encoding="utf-8")
    checked = ("systemd-analyze", "verify", "--man=no", str(unit))
    verified = subprocess.run(checked, capture_output=True, text=True, check=False)
    about_ours = [line for line in verified.stderr.splitlines() if "darkroom.service" in line]
    assert (verified.returncode, about_ours) == (0, []), verified.stderr
    asked = ("systemd-analyze", "security", "--offline=true", str(unit))
    rated = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    score = re.search(r"exposure level for darkroom.service: ([\d.]+)", rated)
    assert score is not None, rated
    assert float(score[1]) <= 2.0
    assert f"rates it {score[1]} " in (DOCS / "linux.md").read_text(encoding="utf-8")


def test_every_command_has_its_help() -> None:
    said = command_line().format_help()
    page = (FOLDER / "command-line.md").read_text(encoding="utf-8")
    for command in re.findall(r"^    (\w+) ", said, re.M):
        assert f"\n## {command}\n" in page
