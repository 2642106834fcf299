"""Faults of several inputs are told together."""

import pytest

from finebound.base.checks import Checks
from finebound.base.errors import InputError


def refuse(words: str):
    raise InputError(words, remedy="Mend it.", file="a.jsonl", row=3)


def test_what_holds_gives_its_result_and_nothing_is_raised():
    checks = Checks()
    assert checks.run(lambda: 5) == 5
    checks.require()


def test_one_fault_is_raised_as_it_is():
    checks = Checks()
    assert checks.run(lambda: refuse("one")) is None
    with pytest.raises(InputError) as caught:
        checks.require()
    assert (caught.value.file, caught.value.row) == ("a.jsonl", 3)


def test_several_are_one_paragraph_with_all_of_them_each_once():
    checks = Checks()
    for words in ("one", "two", "two"):
        checks.run(lambda words=words: refuse(words))
    with pytest.raises(InputError) as caught:
        checks.require()
    said = str(caught.value)
    assert said.startswith("2 things are wrong.")
    assert "(1) a.jsonl, row 3: one Mend it." in said
    assert "(2) a.jsonl, row 3: two Mend it." in said
    assert "\n" not in said
    checks.require()  # told once


def test_other_errors_are_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        Checks().run(lambda: 1 / 0)
