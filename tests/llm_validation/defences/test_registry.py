"""The repairs are found by what they are, and the command takes the settings of each."""

from __future__ import annotations

import pytest

from finebound.cli import main
from llm_validation.defences.registry import repairs

GIVEN = ["defend", "nowhere", "--base", "nowhere", "--aligned", "nowhere"]


def test_the_repairs_are_those_whose_subject_is_an_adapter():
    assert set(repairs()) == {"splora", "safe-lora", "safe-merge", "lora-scaling", "resta"}
    for name, made in repairs().items():
        assert made.name == name
        assert made.stage == "after"
        assert made().faithfulness.paper


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "splore"], "there is no method 'splore'. It is one of"),
        (["--method", "resta", "--set", "alfa=1"], "--set alfa=1 is no setting of --method resta"),
        (["--method", "resta", "--set", "alpha"], "--set alpha is no setting"),
        (["--method", "splora", "--set", "draws=2"], "Give at least 4 random updates"),
        (
            ["--method", "resta", "--keep", "0.5"],
            "It is an option of safe-lora, safe-merge, splora",
        ),
        (["--method", "resta", "--released"], "It is an option of splora"),
        (["--method", "safe-merge"], "--method safe-merge needs --safe-adapter"),
    ],
)
def test_what_is_no_setting_of_the_method_is_rejected(options, said, capsys):
    assert main([*GIVEN, *options]) == 2
    assert said in capsys.readouterr().err
