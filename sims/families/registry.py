"""The families by name, and how many instances of each a full audit draws."""

from __future__ import annotations

from sims.families.answers import Answers
from sims.families.budgets import Budgets
from sims.families.calibrations import Calibrations
from sims.families.certificates import Certificates
from sims.families.onsets import Onsets
from sims.families.price import Price
from sims.families.quadratic import Quadratic
from sims.families.routers import Images, Routers
from sims.families.run_sets import RunSets
from sims.families.samples import Samples
from sims.families.tabular import Tabular
from sims.families.trained import Trained
from sims.family import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Tabular(),
        Price(),
        Quadratic(),
        RunSets(),
        Routers(),
        Images(),
        Budgets(),
        Onsets(),
        Answers(),
        Certificates(),
        Calibrations(),
        Samples(),
        Trained("log-linear", chunk=512),
        Trained("mlp", chunk=128),
        Trained("transformer", chunk=20),
    )
}

# A plain audit draws the same number of each of these.
CLOSED_FORM = (
    "tabular",
    "price",
    "quadratic",
    "run-sets",
    "routers",
    "images",
    "budgets",
    "onsets",
    "answers",
    "certificates",
    "calibrations",
)

# What `make audit` draws.
FULL = {
    "tabular": 1_000_000,
    "price": 100_000,
    "quadratic": 100_000,
    "run-sets": 20_000,
    "routers": 100_000,
    "images": 100_000,
    "budgets": 100_000,
    "onsets": 100_000,
    "answers": 10_000,
    "certificates": 10_000,
    "calibrations": 10_000,
    "samples": 100_000,
    "log-linear": 10_000,
    "mlp": 1_000,
    "transformer": 100,
}
