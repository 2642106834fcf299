"""Writes docs/reference from the code: ``python -m docs.write_reference [FOLDER]``."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

HEAD = "<!-- Written by `python -m docs.write_reference`; edit the code. -->"
WIDTH = "100"


def pages() -> dict[str, str]:
    """Every file of the reference by its path in docs/reference."""
    results = _results()
    schemas = {f"schemas/{kind}.json": made.json_schema() + "\n" for kind, made in results.items()}
    return {
        "cli.md": _page("Command line", _cli()),
        "settings.md": _page("Settings", _settings()),
        "records.md": _page("Records", _records(results)),
        "schemas.md": _page("JSON schemas", _schemas(results)),
        "python.md": _page("Python", _python()),
        **schemas,
    }


def _page(title: str, parts: Iterator[str]) -> str:
    return "\n\n".join([f"# {title}", HEAD, *parts]) + "\n"


def _cli() -> Iterator[str]:
    from finebound.cli import VERBS
    from llm_validation.evaluation.registry import kinds

    yield "What `finebound VERB --help` says, at 100 columns."
    yield _help()
    for verb in VERBS:
        yield f"## {verb}\n\n{_help(verb)}"
        if verb == "evaluate":
            yield from (f"### evaluate {kind}\n\n{_help(verb, kind)}" for kind in kinds())
        if verb == "defend":
            yield f"### defend --compare\n\n{_help(verb, '--compare')}"


def _help(*verb: str) -> str:
    from finebound.cli import main

    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ.update(COLUMNS=WIDTH, NO_COLOR="1")
    try:
        with redirect_stdout(io.StringIO()) as said, suppress(SystemExit):
            main([*verb, "--help"])
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    lines = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue()).splitlines()
    return "```text\n" + "\n".join(line.rstrip() for line in lines).strip() + "\n```"


def _settings() -> Iterator[str]:
    from llm_validation.estimation.request import Request
    from llm_validation.experiments.entries import Experiment
    from llm_validation.training.methods import METHODS
    from llm_validation.training.plan import Dpo, EarlyStopping, TrainingPlan
    from llm_validation.training.strategies import _KINDS as strategies

    yield (
        "What a configuration of `finebound validate` and `finebound finetune` may say, in JSON "
        "or YAML. An unknown entry is an error that names it. Entries without a default are "
        "required."
    )
    yield "## Of a configuration"
    yield from map(_described, _with_parts(Experiment))
    yield "## Of a training plan\n\n`alignment` and `training` of a configuration are such plans."
    yield from map(_described, (TrainingPlan, Dpo, EarlyStopping))
    yield "## Of a training method"
    yield from (_described(made, kind) for kind, made in METHODS.items())
    yield "## Of a strategy"
    yield from (_described(made, kind) for kind, made in strategies.items())
    yield "## Of an estimate"
    yield _described(Request)


def _records(results: dict[str, Any]) -> Iterator[str]:
    yield (
        'What the records hold that finebound writes. Infinity is the string "inf"; what is not '
        "known is null. The JSON schemas are in [schemas](schemas.md)."
    )
    told: set[type] = set()
    for kind, made in results.items():
        yield f"## {kind}\n\nThe file `{made.file}`, version {made.version} of its schema."
        for part in _with_parts(made):
            if part not in told:
                told.add(part)
                yield _described(part)


def _schemas(results: dict[str, Any]) -> Iterator[str]:
    yield "A record is valid against the schema of its kind; readers reject what it doesn't know."
    rows = [f"| {k} | `{m.file}` | [{k}.json](schemas/{k}.json) |" for k, m in results.items()]
    yield "\n".join(["| record | file | schema |", "|---|---|---|", *rows])


def _results() -> dict[str, Any]:
    import finebound.results
    from finebound.results.result import Result

    for module in pkgutil.iter_modules(finebound.results.__path__):
        importlib.import_module(f"finebound.results.{module.name}")
    found, level = {}, [Result]
    while level:
        level = [made for kind in level for made in kind.__subclasses__()]
        ours = (m for m in level if m.__module__.startswith("finebound.") and "kind" in vars(m))
        found |= {made.kind: made for made in ours}
    return dict(sorted(found.items()))


def _with_parts(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and every model that its fields hold, outermost first."""
    found: list[type[BaseModel]] = [model]
    for made in found:
        for field in made.model_fields.values():
            found += [part for part in _models_in(field.annotation) if part not in found]
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


def _described(made: type, title: str = "") -> str:
    rows = _model_rows(made) if issubclass(made, BaseModel) else _dataclass_rows(made)
    table = [f"| `{name}` | {kind} | {default} |" for name, kind, default in rows]
    head = ["| entry | type | default |", "|---|---|---|"] if table else []
    text = f"### {title or made.__name__}\n\n{_doc(made)}\n\n" + "\n".join(head + table)
    return text.strip()


def _model_rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    schema = model.model_json_schema(by_alias=True)
    for name, field in schema.get("properties", {}).items():
        default = "" if name in schema.get("required", ()) else _default(field.get("default"))
        yield name, _in_words(field).replace("|", "\\|"), default


def _dataclass_rows(made: type) -> Iterator[tuple[str, str, str]]:
    for field in dataclasses.fields(made):
        default = "" if field.default is dataclasses.MISSING else _default(field.default)
        if field.default_factory is not dataclasses.MISSING:
            default = f"`{field.default_factory.__name__}()`"
        kind = str(field.type).replace("|", "\\|")
        yield field.name, f"`{kind}`", default


def _default(value: Any) -> str:
    return f"`{json.dumps(value)}`"


_WORDS = {"string": "text", "boolean": "true or false"}
_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def _in_words(schema: dict[str, Any]) -> str:
    """A JSON schema's type as a reader says it."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema or "const" in schema:
        values = [f"`{json.dumps(v)}`" for v in schema.get("enum", [schema.get("const")])]
        return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))
    for union in ("anyOf", "oneOf"):
        if union in schema:
            words = list(dict.fromkeys(map(_in_words, schema[union])))
            return " or ".join(w for w in words if w != "integer" or "number" not in words)
    kind = schema.get("type", "anything")
    if kind == "array":
        inner = schema.get("items") or {"anyOf": schema.get("prefixItems", [{}])}
        return f"list of {_in_words(inner)}"
    if kind == "object":
        named = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
        inner = [_in_words(value) for value in named if isinstance(value, dict)]
        return f"{inner[0]} by name" if inner else "object"
    limits = [f"{word} {schema[name]:g}" for name, word in _LIMITS.items() if name in schema]
    return " ".join([_WORDS.get(kind, kind), *limits])


def _python() -> Iterator[str]:
    import finebound
    import finebound.trl
    from finebound.results.result import Result

    yield "The public names: `import finebound as fb`, then `fb.NAME`."
    for name in finebound.__all__:
        yield from _named(name, getattr(finebound, name))
    yield from _named("Result", Result)
    yield "The fields of each result are in [records](records.md)."
    yield "## finebound.trl\n\n" + _doc(finebound.trl)
    for name in finebound.trl.__all__:
        yield from _named(name, getattr(finebound.trl, name))


def _named(name: str, made: Any) -> Iterator[str]:
    if inspect.isclass(made) and issubclass(made, Enum):
        values = ", ".join(f"`{member.value}`" for member in made)
        yield f"## {name}\n\n{_doc(made)}\n\nOne of {values}."
        return
    yield f"## {name}\n\n```text\n{name}{_signature(made)}\n```\n\n{_doc(made)}"
    if inspect.isclass(made):
        yield from _members(made)


def _members(made: type) -> Iterator[str]:
    for name, member in vars(made).items():
        called = getattr(member, "__func__", member)
        # The events of a callback are called by its trainer.
        if name.startswith(("_", "on_")) or not (isinstance(member, property) or callable(called)):
            continue
        if inspect.getdoc(member) and not inspect.isclass(member):
            shown = "" if isinstance(member, property) else _signature(called)
            yield f"**`{name}{shown}`**\n\n{_doc(member)}"


def _signature(made: Any) -> str:
    text = str(inspect.signature(made))
    for pattern, shown in _SHOWN:
        text = re.sub(pattern, shown, text)
    return text


# Annotations without their quotes; defaults as one would write them.
_SHOWN = (
    (r"<[\w.]+: ('\w+')>", r"\1"),
    (r"(: |-> )'([^']*)'", r"\1\2"),
    (r'(: |-> )"([^"]*)"', r"\1\2"),
    (r"<function ([\w.]+) at 0x\w+>", r"\1"),
    (r"<factory>|<[\w.]+ object at 0x\w+>", "..."),
    (r" -> None$", ""),
    (r"^\((?:self|cls)(?:, )?", "("),
)


def _doc(made: Any) -> str:
    own = vars(made).get("__doc__") if inspect.isclass(made) else inspect.getdoc(made)
    return inspect.cleandoc(own or "")


def main(folder: Path) -> None:
    """Write the reference into ``folder``; what it no longer has is removed."""
    wanted = pages()
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")
    for file in (folder / "schemas").glob("*.json"):
        if f"schemas/{file.name}" not in wanted:
            file.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
