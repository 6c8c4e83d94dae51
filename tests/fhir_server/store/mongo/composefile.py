"""Reads docker-compose.yml: the part of YAML that it is written in, and nothing that is doubtful.

Blocks of mappings, `[...]` and `{}` and quoted texts as JSON has them, numbers, true and false,
`|` texts, anchors and `<<: *name`. Anything else is an error: so no text can be taken for a number
or a truth value, whichever reader reads it.
"""

from __future__ import annotations

import json
import re
from typing import Any

_LINE = re.compile(r"^(?P<key><<|[A-Za-z0-9_-]+):(?: (?P<value>.+))?$")
_PLAIN = re.compile(r"true|false|0|[1-9][0-9]*")


def read(text: str) -> dict[str, Any]:
    """Return a file's content.

    Raises:
        ValueError: A line is of no form known here, or a key is there twice.
    """
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    anchors: dict[str, Any] = {}
    content, rest = _mapping(lines, 0, anchors)
    if rest:
        raise ValueError(rest[0])
    return content


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _mapping(
    lines: list[str], indent: int, anchors: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    while lines and _indent(lines[0]) == indent:
        line = lines[0]
        parts = _LINE.match(line.strip())
        if parts is None or parts["key"] in found:
            raise ValueError(line)
        key, value, lines = parts["key"], parts["value"], lines[1:]
        if key == "<<":
            merged = anchors[_alias(value)]
        elif value is None or value.startswith("&"):
            if not lines or _indent(lines[0]) <= indent:
                raise ValueError(line)
            found[key], lines = _mapping(lines, _indent(lines[0]), anchors)
            if value is not None:
                anchors[value.removeprefix("&")] = found[key]
        elif value == "|":
            within = _indent(lines[0])
            block: list[str] = []
            while lines and _indent(lines[0]) >= within > indent:
                block.append(lines.pop(0)[within:])
            found[key] = "\n".join(block) + "\n"
        else:
            found[key] = _scalar(value)
    if lines and _indent(lines[0]) > indent:
        raise ValueError(lines[0])
    return {**merged, **found}, lines


def _alias(value: str | None) -> str:
    if value is None or not value.startswith("*"):
        raise ValueError(value)
    return value.removeprefix("*")


def _scalar(value: str) -> Any:
    if value[0] in '["{' or _PLAIN.fullmatch(value):
        return json.loads(value)
    raise ValueError(value)
