"""The worked example of docs/simulations.md runs, and the places that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "simulations.md").read_text(encoding="utf-8")


def test_the_worked_example_runs_and_catches_a_wrong_truth() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict[str, object] = {"__name__": "worked_example"}
    exec(code, names)
    rows = names["rows"]
    assert rows["T3"].instances >= 4000  # more are drawn while a mutant survives

    class Wrong(names["Coins"]):
        """The same coins with the penalty's weight halved in the truth."""

        def runs(self, rng, problem, strategy):
            from theory.strategy import LossConstraint

            return super().runs(rng, problem, LossConstraint(lam=0.5 * strategy.lam))

    assert names["audit"]([(Wrong(), 400)], seed=0)["T3"].violations > 0


def test_every_place_that_it_names_exists() -> None:
    places = set(re.findall(r"`((?:sims|theory)/[\w/]*(?:\.py)?)`", TEXT))
    assert len(places) > 8
    missing = {p for p in places if "YOURS" not in p and not (ROOT / p).exists()}
    assert not missing
