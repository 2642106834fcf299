"""The process that renders chat templates: a template is a stranger's program, and this one's cage.

Run as a script by ``rendering``; imports Jinja alone. Reads one JSON line for each batch and
answers one JSON line for each conversation. A rendering that needs too much processor time ends
the process, one that needs too much memory or text is an error.
"""

from __future__ import annotations

import json
import secrets
import sys
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

if __name__ == "__main__":  # Jinja is where the parent process has it
    sys.path.extend(path for path in json.loads(sys.argv[1]) if path not in sys.path)

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

try:
    import resource
except ImportError:  # Windows has no such limits: the parent's clock is the only one there
    resource = None

_LONGEST_WHY = 1000
# What a block {% generation %} is put between until the text is whole; no text can hold them.
_OPENS, _CLOSES = (f"\ue000{secrets.token_hex(8)}{mark}" for mark in "\ue001\ue002")


class _Generation(jinja2.ext.Extension):
    """The tag of templates that mark what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012 (declared by jinja2)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller):
        return f"{_OPENS}{caller()}{_CLOSES}"


class _Namespace(jinja2.utils.Namespace):
    """Jinja's, without the names that lead into Python."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        values = dict(*args, **kwargs)
        for name in values:
            _plain_name(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name, value):
        jinja2.utils.Namespace.__setitem__(self, _plain_name(name), value)


def _plain_name(name):
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace stores no attribute {name!r}")
    return name


class _Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args):
        return dict.fromkeys(*args)


class _Refused(jinja2.exceptions.TemplateError):
    """Raised by the template itself."""


def _raise_exception(message):
    raise _Refused(str(message))


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


@lru_cache(maxsize=16)
def _compiled(source: str):
    """The template in the environment that transformers gives it, but for the clock and dice."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    for drawn in (environment.filters, environment.globals):
        drawn.pop("random", None)
        drawn.pop("lipsum", None)
    ours: dict[str, Any] = {
        "raise_exception": _raise_exception,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    environment.globals.update(ours)
    return environment.from_string(source)


def _render(batch: dict, call: dict) -> dict:
    day = datetime.fromisoformat(call["day"])
    blocks, size = [], 0
    values = {
        **batch["tokens"],
        "date_string": f"{day:%d %b %Y}",
        "strftime_now": day.strftime,
        "messages": call["messages"],
        "tools": call["tools"],
        "documents": None,
        "add_generation_prompt": call["generation_prompt"],
    }
    for block in _compiled(batch["template"]).generate(**values):
        size += len(block)
        if size > batch["characters"]:
            return {"fault": "bounds", "why": f"writes more than {batch['characters']} characters"}
        blocks.append(block)
    text, marked = _unmarked("".join(blocks))
    return {"text": text, "marked": marked}


def _unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without the marks, and the places ``(start, end)`` that were between them."""
    head, *parts = text.split(_OPENS)
    spans, length, pieces = [], len(head), [head]
    for part in parts:
        inside, _, after = part.partition(_CLOSES)
        spans.append((length, length + len(inside)))
        after = after.replace(_CLOSES, "")
        pieces += [inside, after]
        length += len(inside) + len(after)
    return "".join(pieces), spans


def _outcome(batch: dict, call: dict) -> str:
    try:
        return json.dumps(_render(batch, call))
    except MemoryError:
        found = "bounds", f"needs more than {batch['bytes'] >> 20} MB of memory"
    except _Refused as error:
        found = "refused", str(error)
    except jinja2.exceptions.TemplateSyntaxError as error:
        found = "syntax", f"line {error.lineno}: {error.message}"
    except Exception as error:  # whatever a stranger's program does
        kind = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: "
        found = "broken", f"{kind}{error}"
    # An error's text may be as long as the value that it is about.
    return json.dumps({"fault": found[0], "why": found[1][:_LONGEST_WHY]})


def _allow(seconds: int) -> None:
    """So many more seconds of the processor before the system ends this process."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (min(limit, hard) if hard >= 0 else limit, hard))


def main() -> None:
    out = sys.stdout
    for line in sys.stdin:
        batch = json.loads(line)
        if resource is not None:
            with suppress(ValueError, OSError):  # macOS knows no such limit
                hard = resource.getrlimit(resource.RLIMIT_AS)[1]
                resource.setrlimit(resource.RLIMIT_AS, (batch["bytes"], hard))
        for call in batch["calls"]:
            _allow(batch["seconds"])
            out.write(_outcome(batch, call) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
