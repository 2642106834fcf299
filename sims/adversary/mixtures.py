"""Tables whose minimiser under a loss constraint is a mixture, as the adversary's instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sims.adversary.ascent import Parameters, World
from sims.adversary.form import Attempt, Form
from sims.adversary.mixture import CONTEXTS, RESPONSES, Mixture
from sims.adversary.mixture_forms import mixture_forms
from sims.families.tabular import Tabular, gaps
from theory.bound import Quantity
from theory.divergence import Array
from theory.problem import Distribution, TabularProblem
from theory.strategy import Hybrid, LossConstraint

SAFETY, PROXY, TASK = Quantity.SAFETY_GAP, Quantity.PROXY_SAFETY_GAP, Quantity.CAPABILITY_GAP
TOTAL = Quantity.WEIGHTED_SUM
_ALL = (1.0,) * CONTEXTS


class Mixtures(World):
    """``[X, V]`` tables whose minimiser is known in closed form, and policies of their own.

    Settings: "same_teacher", "same_contexts" tie the proxy to the safety data; "exact" and "near"
    say what the aligned model is (else it is free); "covers" and "uses" are the contexts of proxy
    and task.
    """

    name = "mixtures"
    told = ("rho_s", "rho_hat", "rho_f", "mu_s", "mu_hat", "mu_f", "aligned", "any", "lam")

    def __init__(self) -> None:
        self.forms = mixture_forms()
        logits = ("rho_s", "rho_hat", "rho_f", "mu_s", "mu_hat", "mu_f", "aligned", "policy")
        # Within +-40 every probability stays far above the smallest float.
        self.limits = {
            **dict.fromkeys(logits, (-40.0, 40.0)),
            "log_lam": (-20.0, 20.0),
            "log_size": (-9.0, 1.0),
        }

    def draw(self, rng: np.random.Generator, form: Form, n: int) -> Parameters:
        scale = rng.choice([0.3, 1.0, 4.0], size=(n, 1, 1))
        tables = {
            name: scale * rng.normal(size=(n, CONTEXTS, RESPONSES))
            for name in ("mu_s", "mu_hat", "mu_f", "policy")
        }
        fixed = {
            f"fixed_{name}": np.broadcast_to(
                np.asarray(form.setting.get(name, default)), (n, *np.shape(default))
            )
            for name, default in (
                ("same_teacher", 0.0),
                ("same_contexts", 0.0),
                ("near", 0.0),
                ("exact", 0.0),
                ("covers", _ALL),
                ("uses", _ALL),
            )
        }
        return {
            **{name: rng.normal(size=(n, CONTEXTS)) for name in ("rho_s", "rho_hat", "rho_f")},
            **tables,
            **fixed,
            "aligned": rng.normal(size=(n, CONTEXTS, RESPONSES)),
            "log_size": rng.uniform(-6.0, 1.0, size=n),
            "log_lam": form.setting.get("log_lam", 0.0) + 2.0 * rng.normal(size=n),
        }

    def quantities(self, parameters: Mapping[str, jax.Array]) -> Any:
        return Mixture(parameters)

    def attempt(self, form: Form, x: Mapping[str, Array]) -> Attempt:
        problem = TabularProblem(
            safety=Distribution(x["rho_s"], x["mu_s"]),
            proxy=Distribution(x["rho_hat"], x["mu_hat"]),
            task=Distribution(x["rho_f"], x["mu_f"]),
            aligned=x["aligned"],
        )
        lam = x["lam"]
        penalised = LossConstraint(lam=lam)
        run = next(iter(Tabular().runs(np.random.default_rng(0), problem, penalised)))
        if form.strategy.endswith("any policy"):
            strategy = penalised if form.strategy == "any policy" else Hybrid(lam=lam, radius=1.0)
            return tabular_attempt(form, problem, strategy, x["any"], lam)
        strategy: Any = penalised
        truth, error = dict(run.truth), dict(run.error)
        if form.strategy == "epsilon":
            # What lam leaves of the proxy loss; rounded, it moves f_f by lam times as much.
            strategy = LossConstraint(epsilon=truth[PROXY])
            error[TASK] = error[TASK] + 2.0**-52 * lam * truth[PROXY]
        elif form.strategy == "hybrid":
            # The minimiser without a radius lies in the ball, so it is the hybrid's too.
            strategy = Hybrid(lam=lam, radius=run.truth[Quantity.RADIUS] * (1.0 + 1e-13))
        truth[TOTAL] = truth[TASK] + lam * truth[PROXY]
        error[TOTAL] = error[TASK] + lam * error[PROXY]
        value = truth[form.quantity]
        return Attempt(
            problem,
            strategy,
            truth=value,
            start=gaps(problem, x["aligned"])[SAFETY],
            error=error[form.quantity],
            checked=np.isfinite(value),
        )


def tabular_attempt(
    form: Form, problem: TabularProblem, strategy: Any, policy: Array, lam: Array
) -> Attempt:
    """The gaps of one policy ``[n, X, V]`` each, whatever made it."""
    truth = gaps(problem, policy)
    safety, proxy, task = truth[SAFETY], truth[PROXY], truth[TASK]
    truth[TOTAL] = task + lam * (safety if form.statement == "T10" else proxy)
    truth[Quantity.SQRT_SUM] = np.sqrt(safety) + np.sqrt(task)
    start = gaps(problem, problem.aligned)
    return Attempt(
        problem,
        strategy,
        truth=truth[form.quantity],
        start=start[TASK if form.quantity is TASK else SAFETY],
        error=np.full(safety.shape, 1e-17),
        checked=np.isfinite(truth[form.quantity]),
        attained={"policy": np.asarray(policy, dtype=np.float64)},
    )
