"""How forecasts of refusals did on fine-tunes that were run after them: the records we ship."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import file_sha256
from finebound.results.evidence import EvidenceResult
from finebound.results.outlook import BehaviourForecast, Evidence, Promise
from llm_validation.estimation.likeness import Setting, setting_of, unlike
from llm_validation.estimation.promise import WIDER, promised
from llm_validation.estimation.skill import of_refusals, pair_of, refusals_of, rise_of
from llm_validation.forecast.calibrated import Calibration, Finished, Refusals, calibrate

RECORDS = Path(__file__).with_name("evidence_records")
"""One record a fine-tune, made by ``llm_validation.experiments.evidence``."""


def records_in(folder: Path) -> tuple[EvidenceResult, ...]:
    """The records of a folder, by their names; only fine-tunes that trained as planned.

    Raises InputError for a folder without any, for records of several models, and for a record
    whose forecast is not the one that was made before its fine-tune.
    """
    found = tuple(EvidenceResult.load(file) for file in sorted(folder.glob("*.json")))
    found = tuple(one for one in found if all(one.gates.values()))
    if not found:
        raise InputError(
            "there is no record of a fine-tune that was forecast and then run.",
            remedy="Make them: `python -m llm_validation.experiments.evidence --out DIR`.",
            file=folder,
        )
    require_one_model(found, folder)
    for one in found:
        _require_forecast_first(one, forecast_file(folder, one.id))
    return found


def require_one_model(found: Sequence[EvidenceResult], folder: Path) -> None:
    """Raises InputError for records of several models."""
    models = sorted({one.model_sha256[:12] for one in found})
    if len(models) > 1:
        raise InputError(
            f"its records are of different models: {', '.join(models)}.",
            remedy="Keep the records of one model in a folder.",
            file=folder,
        )


def forecast_file(folder: Path, name: str) -> Path:
    """Where the forecast of a fine-tune is kept, from before it is run."""
    return folder / "forecasts" / f"{name}.json"


def forecast_in(file: Path) -> BehaviourForecast:
    """The forecast of such a file."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return BehaviourForecast(**kept.get("forecast", kept))


def _require_forecast_first(one: EvidenceResult, file: Path) -> None:
    if (
        not file.is_file()
        or file_sha256(file) != one.forecast_sha256
        or forecast_in(file) != one.forecast
    ):
        raise InputError(
            f"the forecast of {one.id} is not the one that was made before its fine-tune.",
            remedy="Remove the record: what was forecast afterwards is no evidence.",
            file=file,
        )


@dataclass(frozen=True)
class Trust:
    """The calibration of a plan's forecast, and why the plan lies outside of its evidence.

    Where it does not, the interval holds with its level's probability, given that the fine-tune is
    exchangeable with those of the evidence (T25). Where it does, the interval is ``WIDER`` and an
    estimate. ``rises`` are those of the evidence's losses (``skill.rise_of``).
    """

    calibration: Calibration
    outside: tuple[str, ...] = ()
    rises: tuple[Finished, ...] = ()

    def share(self, before: Refusals, said: float) -> float:
        """The share of refusals to expect where ``said`` is forecast."""
        return before.after(self.calibration.change(before.change_to(said)))

    def interval(self, before: Refusals, said: float) -> tuple[float, float]:
        """That holds the share."""
        widened = WIDER if self.outside else 1.0
        low, high = self.calibration.interval(before.change_to(said), widened=widened)
        return before.after(low), before.after(high)

    def promise(self, before: float, rise: float) -> Promise | None:
        """What is promised of this share of refusals where a ``rise`` of the loss is forecast."""
        return promised(self.rises, rise, before, outside=self.outside) if self.rises else None


@cache
def shipped() -> tuple[EvidenceResult, ...]:
    """The records that the package brings; none before the first is made."""
    return records_in(RECORDS) if any(RECORDS.glob("*.json")) else ()


def trust_in(asked: Setting) -> Trust | None:
    """The shipped evidence's calibration for this setting; None where it has too few pairs."""
    found = shipped()
    if not found:
        return None
    calibration = calibrate([refusals_of(one) for one in found])
    if not np.isfinite(calibration.quantile):
        return None
    outside = unlike(asked, [setting_of(one) for one in found])
    return Trust(calibration, outside, tuple(map(rise_of, found)))


def evidence_for(trust: Trust | None) -> Evidence:
    """What a forecast says of how such forecasts did."""
    found = shipped()
    if not found:
        return Evidence(fine_tunes=0, coverage=None, mean_width=None)
    rows = of_refusals(found, seed=None)  # unranked: ranks are not told here
    row = next(one for one in rows if one.calibrated is (trust is not None))
    return Evidence(
        fine_tunes=len(found),
        coverage=row.covered.estimate,
        mean_width=row.width,
        pairs=len(set(map(pair_of, found))),
        calibrated=trust is not None,
        outside=() if trust is None else trust.outside,
    )
