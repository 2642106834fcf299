"""docs/theorems.md is what the module writes, and everything that it names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from paper_figures.records import read_record
from paper_figures.registry import figure_module, figure_names
from theory.evaluation import STATEMENTS as EVALUATED
from theory.symbolic.document import anchor, document, main
from theory.symbolic.identities import IDENTITIES
from theory.symbolic.statements import statements

ROOT = Path(__file__).parents[2]
FORMULA = re.compile(r"\$[^$]+\$")
STATEMENTS = statements()


@pytest.fixture(scope="module")
def text() -> str:
    return document()


def test_the_committed_file_is_what_the_module_writes(text, tmp_path):
    committed = (ROOT / "docs" / "theorems.md").read_text(encoding="utf-8")
    assert committed == text, "run: python -m theory.symbolic.document"
    assert main(tmp_path).read_text(encoding="utf-8") == text


def test_all_statements_are_there_in_order(text):
    assert list(STATEMENTS) == [f"T{i}" for i in range(1, len(STATEMENTS) + 1)]
    assert len(STATEMENTS) >= 20
    assert set(EVALUATED) <= set(STATEMENTS)
    assert re.findall(r"^### (T\d+)\. ", text, flags=re.MULTILINE) == list(STATEMENTS)


def test_every_statement_names_its_functions_and_tests(text):
    for statement in STATEMENTS.values():
        assert statement.functions, statement.id
        assert statement.tests, statement.id
        section = text.split(f"### {statement.heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
        for path in statement.functions:
            assert f"`{path}`" in section


NAMED = [(s.id, path) for s in STATEMENTS.values() for path in s.functions]
TESTED = [(s.id, test) for s in STATEMENTS.values() for test in s.tests]


@pytest.mark.parametrize(("statement", "path"), NAMED)
def test_every_function_exists_and_is_documented(statement, path):
    module, name = path.rsplit(".", 1)
    function = getattr(importlib.import_module(module), name)
    assert callable(function)
    assert function.__doc__


@pytest.mark.parametrize(("statement", "test"), TESTED)
def test_every_test_exists(statement, test):
    file, _, name = test.partition("::")
    source = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {name or 'test_'}", source, flags=re.MULTILINE)
    # It is a test of that statement's function, not just any file.
    modules = {path.rsplit(".", 1)[0] for s, path in NAMED if s == statement}
    assert any(module in source for module in modules)


FIGURES = [(s.id, figure) for s in STATEMENTS.values() for figure in s.figures]


def test_every_figure_is_named_by_a_statement_or_as_one_of_behaviour():
    evaluation = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    of_behaviour = set(re.findall(r"^\| `(\w+)` \|", evaluation, flags=re.MULTILINE))
    of_statements = {figure for _, figure in FIGURES}
    assert of_behaviour.isdisjoint(of_statements)
    assert of_statements | (of_behaviour & set(figure_names())) == set(figure_names())


@pytest.mark.parametrize(("statement", "figure"), FIGURES)
def test_every_figure_says_whether_its_statement_holds(statement, figure):
    claims = figure_module(figure).claims(read_record(figure)["data"])
    assert any(re.match(rf"{statement}\b", claim.statement) for claim in claims)


def test_every_bound_links_to_its_row_of_the_audit(text):
    audit = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    for name, statement in STATEMENTS.items():
        link = f"[{name}](audit.md#{name.lower()})"
        assert (link in text) == statement.is_bound
        assert (f"| [{name}](#{name.lower()}) |" in audit) == statement.is_bound


def test_every_identity_belongs_to_a_statement_and_is_in_the_document(text):
    for key, identities in IDENTITIES.items():
        assert key in STATEMENTS or f"## {key}\n" in text
        for identity in identities:
            assert f"`{identity.__module__}.{identity.__name__}`" in text


def test_every_link_of_the_contents_leads_to_a_heading(text):
    targets = re.findall(r"\]\(#([^)]+)\)", text)
    headings = [anchor(h) for h in re.findall(r"^#{2,3} (.+)$", text, flags=re.MULTILINE)]
    assert len(targets) > 25
    assert sorted(targets) == sorted(h for h in headings if h != "contents")
    assert len(set(headings)) == len(headings)


def _outside_blocks(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_formulas_survive_githubs_markdown(text):
    formulas = [found[1:-1] for found in FORMULA.findall(_outside_blocks(text))]
    assert len(formulas) > 300
    for formula in formulas:
        # Markdown takes the backslash off punctuation and reads tags, emphasis and line breaks.
        assert not re.search(r"\\[^a-zA-Z]|[<>*\n]", formula), formula
        assert formula == formula.strip(), formula
    blocks = re.findall(r"```math\n(.*?)\n```", text, flags=re.DOTALL)
    for formula in [*formulas, *blocks]:
        assert formula.count("{") - formula.count(r"\{") == formula.count("}") - formula.count(
            r"\}"
        ), formula
        assert formula.count(r"\left") - formula.count(r"\leftarrow") == formula.count(r"\right")
    # A fence that does not start its line is no fence.
    assert len(blocks) == len(re.findall(r"\n\n```math\n", text)) == text.count("```") / 2
    for block in blocks:
        assert block.count(r"\begin") == block.count(r"\end")
        assert not re.search("[<>]", block), block  # GitHub may take them for tags


def test_formulas_reach_the_page_as_they_were_written(text):
    """GitHub finds formulas in what Markdown leaves: emphasis or a link must not eat a part."""
    for token in MarkdownIt().parse(text):
        if token.type == "inline":
            left = "".join(
                "\n" if part.type == "softbreak" else part.content for part in token.children
            )
            assert FORMULA.findall(left) == FORMULA.findall(token.content)


def test_formulas_stand_apart_from_words(text):
    """A letter, digit or hyphen beside a dollar sign keeps GitHub from seeing the formula."""
    outside = _outside_blocks(text)
    for formula in FORMULA.finditer(outside):
        assert outside[formula.start() - 1] in " \n(", formula.group()
        assert outside[formula.end()] in " \n.,;:)", formula.group()


def test_the_paper_is_credited_with_the_framework_alone(text):
    assert text.count("arXiv 2503.20807") == 1
    intro = text.split("## Contents")[0]
    assert "none of them is a theorem of that paper" in intro


def test_an_identity_needs_a_place_in_the_text(monkeypatch):
    monkeypatch.setitem(IDENTITIES, "T2", IDENTITIES["T1"])
    with pytest.raises(ValueError, match="T2"):
        document()
