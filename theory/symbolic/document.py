"""Writes docs/theorems.md: ``python -m theory.symbolic.document [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

from theory.symbolic.identities import IDENTITIES
from theory.symbolic.latex import Statement, anchor
from theory.symbolic.statements import PARTS, STATEMENTS
from theory.symbolic.text.setup import ASSUMPTIONS, FRAMEWORK, NOTATION, QUADRATIC, RESULT

_NOTATION, _ASSUMPTIONS, _RESULT = "Set-up and notation", "Assumptions", "What a function returns"
_QUADRATIC = "The quadratic model"


def document() -> str:
    """The whole of docs/theorems.md."""
    lines = [
        "# Theorems",
        "",
        "<!-- Written by `python -m theory.symbolic.document`; edit theory/symbolic/text. -->",
        "",
        FRAMEWORK.strip(),
        "",
        "## Contents",
        "",
        *_contents(),
        *_section(_NOTATION, NOTATION),
        *_section(_ASSUMPTIONS, "They are invoked only where they are named.", *_assumptions()),
        *_section(_RESULT, RESULT),
    ]
    for heading, statements in PARTS.items():
        lines += ["", f"## {heading}"]
        for statement in statements:
            lines += _statement(statement)
    lines += _section(_QUADRATIC, QUADRATIC, "", *_proved(_QUADRATIC))
    lines += [
        "",
        "Its function is `theory.exact.exact`, its test `tests/theory/test_exact.py`.",
    ]
    return "\n".join(lines) + "\n"


def _link(heading: str) -> str:
    return f"[{heading}](#{anchor(heading)})"


def _contents() -> list[str]:
    lines = [f"- {_link(heading)}" for heading in (_NOTATION, _ASSUMPTIONS, _RESULT)]
    for heading, statements in PARTS.items():
        lines.append(f"- {_link(heading)}")
        for statement in statements:
            note = "" if statement.functions else f" ({statement.status})"
            lines.append(f"  - {_link(statement.heading)}{note}")
    return [*lines, f"- {_link(_QUADRATIC)}"]


def _section(heading: str, *paragraphs: str) -> list[str]:
    return ["", f"## {heading}", "", *(paragraph.strip() for paragraph in paragraphs)]


def _assumptions() -> list[str]:
    return ["", *(f"- **({name})** {meaning}" for name, meaning in ASSUMPTIONS.items())]


def _statement(statement: Statement) -> list[str]:
    lines = [
        "",
        f"### {statement.heading}",
        "",
        f"**Assumptions.** {'; '.join(statement.assumptions)}.",
        "",
        f"**Statement.** {statement.body.strip()}",
        "",
        f"**Proof sketch.** {statement.proof.strip()}",
        "",
    ]
    if not statement.functions:
        return [*lines, f"**In this release:** {statement.status}."]
    lines.append(f"- **Function:** {_code(statement.functions)}")
    lines.append(f"- **Test:** {_code(statement.tests)}")
    if statement.figures:
        lines.append(f"- **Figure:** {_code(statement.figures)}")
    if statement.is_bound:
        lines.append(f"- **Audit:** [{statement.id}](audit.md#{statement.id.lower()})")
    else:
        lines.append("- **Audit:** none, because an estimate claims no inequality")
    return [*lines, *_proved(statement.id)]


def _proved(key: str) -> list[str]:
    """What sympy proves of it; the words are the identities' own."""
    return [
        f"- **Proved by sympy** (`{make.__module__}.{make.__name__}`): {make().statement}"
        for make in IDENTITIES.get(key, ())
    ]


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(folder: Path) -> Path:
    """Write ``theorems.md`` into ``folder``."""
    missing = [name for name in IDENTITIES if name not in STATEMENTS and name != _QUADRATIC]
    if missing:
        raise ValueError(f"identities of unknown statements: {missing}.")
    path = folder / "theorems.md"
    path.write_text(document(), encoding="utf-8")
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs"
    print(main(target))
