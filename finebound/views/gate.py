"""Gates as a table, as JUnit XML and as GitHub-flavoured Markdown; every gate is written here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as Xml

from finebound.base.text import printable
from finebound.results.budget import BROKEN, DECISION_WORDS, KEPT, UNDECIDED, exit_code
from finebound.results.gate import Gate, GateResult
from finebound.views.markdown_text import pipe_table
from finebound.views.tables import Table

_NO_XML = re.compile(r"[\ufffe\uffff]")
_COLUMNS = ("verdict", "gate", "budget", "found", "allowed", "items", "level")
_HEADS = {
    0: "Every budget is kept.",
    1: "A budget is broken.",
    3: "Not decided: no budget is shown to be broken, and not every one is shown to be kept.",
}


def table(result: GateResult) -> Table:
    """Every budget of every gate: what was found with its interval, what is allowed."""
    return Table("gates", "Budgets", _COLUMNS, tuple(_rows(result.gates)))


def markdown(gates: Sequence[Gate]) -> str:
    """A section for a job summary or a comment, in GitHub-flavoured Markdown."""
    code = exit_code(check.decision for gate in gates for check in gate.checks)
    return f"### finebound: {_HEADS[code]}\n\n{rows_in_markdown(gates)}\n"


def rows_in_markdown(gates: Sequence[Gate]) -> str:
    """The table of ``markdown`` alone, without a last line feed."""
    return pipe_table(_COLUMNS, _rows(gates))


def junit(gates: Sequence[Gate]) -> str:
    """JUnit XML: a test suite for each gate, a test case for each budget.

    A broken budget is a failure. One that is not decided is an error: nothing was shown, and the
    command exits with 3, so that no build is green by it.
    """
    root = Xml.Element("testsuites", {"name": "finebound", **_counts(gates)})
    for gate in gates:
        suite = Xml.SubElement(root, "testsuite", {"name": _text(gate.name), **_counts([gate])})
        for check in gate.checks:
            case = Xml.SubElement(
                suite,
                "testcase",
                classname=f"finebound.{gate.verb}",
                name=_text(f"{check.name}, at most {check.allowed}"),
            )
            if check.decision != KEPT:
                tag = "failure" if check.decision == BROKEN else "error"
                said = _text(check.said)
                Xml.SubElement(case, tag, type=check.decision, message=said).text = said
            else:
                Xml.SubElement(case, "system-out").text = _text(check.said)
    Xml.indent(root)
    body = Xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _counts(gates: Sequence[Gate]) -> dict[str, str]:
    decisions = [check.decision for gate in gates for check in gate.checks]
    return {
        "tests": str(len(decisions)),
        "failures": str(decisions.count(BROKEN)),
        "errors": str(decisions.count(UNDECIDED)),
        "skipped": "0",
    }


def _rows(gates: Sequence[Gate]) -> Iterator[tuple[str, ...]]:
    for gate in gates:
        for check in gate.checks:
            items = "" if check.n is None else str(check.n)
            verdict, level = DECISION_WORDS[check.decision], f"{100 * check.level:g} %"
            yield verdict, gate.name, check.name, check.found, check.allowed, items, level


def _text(text: str) -> str:
    """What XML 1.0 can hold, in one line."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", " ".join(printable(text).split()))
