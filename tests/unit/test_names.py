"""No name of the project means two things."""

import ast
import collections
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PARTS = ("bot", "storage", "generation")


def test_no_type_or_alias_is_defined_twice() -> None:
    """Classes and aliases; functions and constants are named with their module."""
    where: dict[str, list[str]] = collections.defaultdict(list)
    for part in PARTS:
        for file in (PROJECT / part).rglob("*.py"):
            if "migrations" in file.parts:
                continue  # they stay as they were
            for name in defined(ast.parse(file.read_text(encoding="utf-8"))):
                where[name].append(file.relative_to(PROJECT).as_posix())
    assert len(where) > 200
    assert {n: files for n, files in where.items() if len(files) > 1} == {}


def defined(module: ast.Module) -> set[str]:
    found = set()
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            found |= {name for name in names if name[:1].isupper() and not name.isupper()}
    return found
