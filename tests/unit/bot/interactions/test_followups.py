"""Nobody but `send_once` posts through a webhook: there an answer that is lost is not repeated."""

import ast
from pathlib import Path

BOT = Path(__file__).resolve().parents[4] / "bot"
ALLOWED = {
    "followup": {"interactions/responding.py"},
    "partial": {"delivery/job_message.py", "delivery/pings.py"},
}
"""Where a webhook comes from: they edit and delete by it, and hand it to `send_once`."""


def _sources() -> list[tuple[str, ast.AST]]:
    return [
        (file.relative_to(BOT).as_posix(), ast.parse(file.read_text(encoding="utf-8")))
        for file in sorted(BOT.rglob("*.py"))
    ]


def test_follow_ups_are_made_in_one_place() -> None:
    found: dict[str, set[str]] = {"followup": set(), "partial": set()}
    for name, tree in _sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "followup":
                found["followup"].add(name)
            if ast.unparse(node) in ("discord.Webhook.partial", "discord.Webhook.from_url"):
                found["partial"].add(name)
    assert found == ALLOWED


def test_a_webhook_itself_sends_in_one_place() -> None:
    sends = set()
    for name, tree in _sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "send":
                owner = ast.unparse(node.value)
                if "webhook" in owner.lower() or "followup" in owner:
                    sends.add(name)
    assert sends == {"delivery/sending_once.py"}
