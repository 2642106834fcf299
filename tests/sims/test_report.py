"""The page of an audit: one row a statement, every number from the record."""

from __future__ import annotations

import json

from finebound.cli import main
from sims.report import audit_page


def test_the_page_has_a_row_and_a_section_for_every_statement(tmp_path, capsys) -> None:
    sizes = "tabular=64,price=64,quadratic=64"
    main(["simulate", "--audit", "--sizes", sizes, "--json", "--out", str(tmp_path)])
    capsys.readouterr()
    record = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    page = (tmp_path / "audit.md").read_text(encoding="utf-8")
    assert page == audit_page(record)
    for name, row in record["statements"].items():
        assert f"| [{name}](#{name.lower()}) | {row['finetunes']:,} |" in page
        assert f"\n## {name}\n" in page
    for case in record["violated_assumptions"]:
        assert case["assumption"] in page


def test_a_violation_is_on_the_page() -> None:
    row = {
        "finetunes": 10,
        "comparisons": 20,
        "violations": 3,
        "max_ratio": 1.5,
        "median_tightness": 0.5,
        "mutants": 2,
        "mutants_caught": 1,
        "tightness": [],
        "worst": {"family": "tabular", "index": 4},
    }
    content = {
        "statements": {"T4": row},
        "violated_assumptions": [],
        "adversarial": {"T4/safety_gap/mass": 1.25},
        "sizes": {"tabular": 5},
        "manifest": {"seed": 0},
    }
    page = audit_page(content)
    assert "| [T4](#t4) | 10 | 20 | 3 | 1.500000 | 0.500 | 1 of 2 |" in page
    assert "family tabular, index 4" in page
    assert "1.250000000" in page
