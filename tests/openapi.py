"""Checks the requests that a bot made against Discord's OpenAPI document.

The document is not part of this project; the environment variable DISCORD_OPENAPI names the file
(`openapi.json` of github.com/discord/discord-api-spec, MIT). Requests are those that the local
Discord recorded: `GET /control/requests`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

VARIABLE = "DISCORD_OPENAPI"
DOCUMENT = "urn:discord"

needs_openapi = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} does not name Discord's openapi.json"
)

COERCED: dict[str, Any] = {
    "SnowflakeType": {
        "anyOf": [{"type": "string", "pattern": "^(0|[1-9][0-9]*)$"}, {"type": "integer"}]
    }
}
"""Where Discord takes more than its document says: ids as numbers, as every library sends them."""

Json = dict[str, Any]


class OpenApi:
    """Discord's document; validators are made when first needed."""

    def __init__(self, document: Json) -> None:
        schemas = document["components"]["schemas"] | COERCED
        document = document | {"components": {"schemas": schemas}}
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(DOCUMENT, resource)
        self._paths: dict[str, Json] = document["paths"]
        self._templates = [(_pattern(path), path) for path in sorted(self._paths, key=_literals)]
        self._validators: dict[tuple[str, str], Draft202012Validator | None] = {}
        self._seen: set[tuple[str, str, str]] = set()
        """Bodies in which nothing was wrong: every bot registers the same commands."""

    def violations(self, requests: Iterable[Mapping[str, Any]]) -> list[str]:
        """One line for each thing that the document does not allow; empty when all is well."""
        return [
            f"{request['method']} {request['path']}: {wrong}"
            for request in requests
            for wrong in self._wrong(request)
        ]

    def misshapen(self, schema: str, answer: Any) -> list[str]:
        """What of an answer is not as the document's schema of that name describes it."""
        reference = {"$ref": f"{DOCUMENT}#/components/schemas/{schema}"}
        validator = Draft202012Validator(reference, registry=self._registry)
        return [line for error in validator.iter_errors(answer) for line in _explain(error)]

    def _wrong(self, request: Mapping[str, Any]) -> Iterator[str]:
        path, method = request["path"], request["method"].lower()
        template = next((t for pattern, t in self._templates if pattern.match(path)), None)
        if template is None:
            yield "there is no such path"
            return
        if method not in self._paths[template]:
            yield f"{template} has no {request['method']}"
            return
        validator = self._validator(template, method)
        body = request.get("json")
        if validator is None:
            if body:
                yield "the request takes no body"
        elif body is None:
            if self._paths[template][method]["requestBody"].get("required"):
                yield "the body is missing"
        else:
            seen = template, method, json.dumps(body)
            if seen in self._seen:
                return
            errors = list(validator.iter_errors(body))
            if not errors:
                self._seen.add(seen)
            for error in errors:
                yield from _explain(error)

    def _validator(self, template: str, method: str) -> Draft202012Validator | None:
        key = template, method
        if key not in self._validators:
            validator = None
            if "requestBody" in self._paths[template][method]:
                # a multipart request's payload_json has the JSON request's schema
                place = ["paths", template, method, "requestBody", "content"]
                pointer = "/".join(_escape(p) for p in [*place, "application/json", "schema"])
                reference = {"$ref": f"{DOCUMENT}#/{pointer}"}
                validator = Draft202012Validator(reference, registry=self._registry)
            self._validators[key] = validator
        return self._validators[key]


@cache
def openapi() -> OpenApi:
    """The document that DISCORD_OPENAPI names."""
    return OpenApi(json.loads(Path(os.environ[VARIABLE]).read_text(encoding="utf-8")))


def _pattern(template: str) -> re.Pattern[str]:
    parts = ["[^/]+" if part.startswith("{") else re.escape(part) for part in template.split("/")]
    return re.compile("/".join(parts) + "$")


def _literals(template: str) -> tuple[int, str]:
    """Sorts `/users/@me` before `/users/{user_id}`."""
    return template.count("{"), template


def _escape(part: str) -> str:
    """A JSON pointer's part within a URI fragment."""
    pointer = part.replace("~", "~0").replace("/", "~1")
    return pointer.replace("{", "%7B").replace("}", "%7D").replace("@", "%40")


def _explain(error: ValidationError) -> Iterator[str]:
    """Of a union, only the branch that was meant: that of the object's `type`."""
    if error.validator in ("anyOf", "oneOf") and error.context:
        branches: dict[Any, list[ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        constants = [e.validator_value for e in error.context if e.validator == "const"]
        if len(constants) == len(branches):
            yield f"{_place(error)}: {error.instance!r} is none of {constants}"
            return
        meant = min(branches.values(), key=_distance)
        for inner in meant:
            yield from _explain(inner)
        return
    yield f"{_place(error)}: {error.message[:300]}"


def _place(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.absolute_path) or "the body"


def _distance(errors: list[ValidationError]) -> tuple[int, int, int]:
    """How far a branch of a union is from what was sent; the nearest one was meant."""
    other_type = sum(list(e.relative_path)[-1:] == ["type"] for e in errors)
    other_kind = sum(not e.relative_path and e.validator == "type" for e in errors)
    return other_type, other_kind, len(errors)
