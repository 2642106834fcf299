"""The tables of docs/how-to/scale.md are what the code counts."""

from __future__ import annotations

import json

import pytest

from docs.write_scale import PAGE, SHAPES, written
from finebound.cli import main


def test_the_tables_are_what_the_code_counts():
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run python -m docs.write_scale"


@pytest.mark.parametrize(
    ("name", "billions"), list(zip(SHAPES, (1.236, 8.030, 70.554), strict=True))
)
def test_the_shapes_have_the_published_numbers_of_weights(name, billions):
    shape = SHAPES[name]
    assert (shape.linear + shape.other) / 1e9 == pytest.approx(billions, abs=5e-4)


def test_doctor_counts_for_a_model_of_ones_own(tiny_model_folder, capsys):
    command = ["doctor", "--model", str(tiny_model_folder), "--rows", "2", "--length", "16"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["fine_tunes"]
    assert [entry["method"] for entry in found[::2]] == [
        "full", "LoRA", "LoRA, base in bfloat16", "QLoRA"
    ]  # fmt: skip
    plain, less = found[:2]
    assert less["activations"] < plain["activations"]
    assert less["operations"] > plain["operations"]
    parts = ("weights", "gradients", "optimiser", "casts", "activations", "logits")
    assert plain["total"] == sum(plain[part] for part in parts)
    assert main(command) == 0
    assert "QLoRA" in capsys.readouterr().out
