"""A person's configuration with a few keys changed: everything else stays as it is written.

A YAML is changed as a text, at the places that its parser names. A round-trip writer moves the
comment that follows a list into the list, and sets indents and line breaks anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from llm_validation.training.configurations.files import parse_settings

_WIDE = 1 << 20


def edited(
    text: str,
    suffix: str,
    *,
    settings: Mapping[str, Any],
    items: Mapping[str, Any],
    comments: Sequence[str] = (),
) -> str:
    """The text of a file with the ``suffix``, changed.

    ``settings`` are values of keys of the outermost mapping. ``items`` are added to the lists of
    their keys. Both are made where they are not. ``comments`` are put before what is new, which is
    at the end; a JSON has none. Raises ValueError where the text cannot be changed so.
    """
    old = parse_settings(text, suffix)
    wanted = {**old, **settings}
    for key, item in items.items():
        listed = old.get(key)
        if listed is not None and not isinstance(listed, list):
            raise ValueError(f"{key} is no list")
        wanted[key] = [*(listed or []), item]
    if suffix == ".json" or text.lstrip()[:1] == "{":
        indent = re.search(r"\n( +)\"", text)
        new = json.dumps(wanted, indent=len(indent[1]) if indent else None, ensure_ascii=False)
        new += text[len(text.rstrip()) :]
    else:
        new = _edited_yaml(text, settings, items, comments)
    if parse_settings(new, suffix) != wanted:
        raise ValueError("its keys are written in a way that cannot be added to")
    return new


def _edited_yaml(
    text: str, settings: Mapping[str, Any], items: Mapping[str, Any], comments: Sequence[str]
) -> str:
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise ValueError("it holds no keys in lines of their own")
    nodes = {key.value: (key, value) for key, value in root.value}
    changes: list[tuple[int, int, str]] = []
    new: dict[str, Any] = {}
    for key, value in settings.items():
        if key in nodes:
            changes += _replaced(text, *nodes[key], value)
        else:
            new[key] = value
    for key, item in items.items():
        there = nodes[key][1] if key in nodes else None
        if isinstance(there, yaml.SequenceNode) and there.value:
            changes.append(_added(text, there, item))
        elif there is not None:
            changes += _replaced(text, *nodes[key], [item])
        else:
            new[key] = [item]
    for start, end, instead in sorted(changes, reverse=True):
        text = text[:start] + instead + text[end:]
    said = "".join(f"# {line}\n" for line in comments)
    tail = said + (_dumped(new) if new else "")
    if tail:
        text += ("" if text.endswith("\n") else "\n") + "\n" + tail
    return text.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text else text


def _replaced(
    text: str, key: yaml.Node, value: yaml.Node, new: Any
) -> Iterator[tuple[int, int, str]]:
    """The value instead of the old one, which a line before the key tells."""
    start, end = value.start_mark.index, value.end_mark.index
    old = text[start:end]
    if "\n" in old:
        raise ValueError(f"{key.value} is written in several lines")
    plain = yaml.safe_dump(new, default_flow_style=True, width=_WIDE, sort_keys=False)
    plain = plain.removesuffix("\n").removesuffix("\n...")
    yield start, end, plain if text[start - 1 : start].isspace() else f" {plain}"
    line = key.start_mark.index
    before = " " * key.start_mark.column
    yield line, line, f"# finebound: {key.value} was {old or 'empty'}\n{before}"


def _added(text: str, there: yaml.SequenceNode, item: Any) -> tuple[int, int, str]:
    """One item more at the end of a list."""
    if there.flow_style:
        plain = yaml.safe_dump(item, default_flow_style=True, width=_WIDE, sort_keys=False)
        plain = plain.removesuffix("\n").removesuffix("\n...")
        place = _end(there.value[-1])
        return place, place, f", {plain}"
    place = _end(there.value[-1])
    if text[place - 1] != "\n":
        line = text.find("\n", place)
        place = len(text) if line < 0 else line + 1
    before = " " * there.start_mark.column
    lines = _dumped([item]).splitlines()
    whole = "".join(f"{before}{line}\n" for line in lines)
    return place, place, whole if text[place - 1] == "\n" else f"\n{whole}"


def _end(node: yaml.Node) -> int:
    """Where a value ends, without the blank lines and comments that follow a block."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _dumped(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=_WIDE, allow_unicode=True)
