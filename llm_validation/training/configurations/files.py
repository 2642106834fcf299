"""Files of settings as plain values: JSON and YAML by a safe loader, each key once."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from finebound.base.errors import InputError
from finebound.base.records import once_each

_LARGEST = 4 * 2**20
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle")
_REMEDY = (
    "Give the settings as JSON or YAML: of transformers or TRL (`args.to_json_string()`), PEFT, "
    "axolotl, LLaMA-Factory or finebound."
)


class _Loader(yaml.SafeLoader):
    """The safe loader, which takes no key twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key: Any = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                where = key_node.start_mark.line + 1
                raise ValueError(f"the key {key!r} is there twice, again in line {where}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_settings(file: Path, *, remedy: str = _REMEDY) -> dict[str, Any]:
    """What the file's keys say. Raises InputError, naming the file, where it holds no settings."""

    def wrong(what: str, remedy: str = remedy, row: int | None = None) -> InputError:
        return InputError(what, remedy=remedy, file=file, row=row)

    if file.suffix.lower() in _PICKLES:
        raise wrong("is a pickle, which could run code, and is not opened.")
    try:
        if file.stat().st_size > _LARGEST:
            raise wrong("is too large for a file of settings.")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"cannot be read: {error}.") from None
    if not text.strip():
        raise wrong("is empty.")
    try:
        content = parse_settings(text, file.suffix.lower())
    except json.JSONDecodeError as error:
        what = f"is not JSON: {error.msg} in column {error.colno}."
        raise wrong(what, "Mend that line.", error.lineno) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = re.sub(r"\s+", " ", str(error))
        raise wrong(f"cannot be read: {what}.", "Mend it.") from None
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "a single value"
        raise wrong(f"holds {kind}, and no settings by name.")
    if odd := [key for key in content if not isinstance(key, str)]:
        raise wrong(f"has the key {odd[0]!r}, which is no text.", "Put it in quotes, or remove it.")
    return content


def parse_settings(text: str, suffix: str) -> Any:
    """What a file with this suffix says. Raises ValueError and yaml.YAMLError for what is none."""
    if suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip()[0] in "{["):
        return json.loads(text, object_pairs_hook=once_each)
    return yaml.load(text, _Loader)  # a safe loader
