"""Trained model classes in the audit: optax fine-tunes, bounds from exactly measured constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sims.families.answers import answers_case
from sims.families.run_sets import envelope_bound
from sims.families.tabular import gaps
from sims.family import Case, Kind, Run, stacked
from theory import envelope as theorems
from theory.bound import Bound, Quantity
from theory.divergence import Array, kl, mass_sum, tv
from theory.evaluation import evaluate
from theory.local import radius_from_budget
from theory.problem import Constants, Distribution, TabularProblem
from theory.routing import routing
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

if TYPE_CHECKING:
    from sims.finetune import Plan
    from sims.models.log_linear import LogLinear
    from sims.models.mlp import MLP
    from sims.models.transformer import Transformer

# float64 sums of a few hundred terms of size 1; float32 parameters, whose norms are rounded.
_ERROR = 1e-12
_RADIUS_ERROR = 1e-5


@dataclass(frozen=True)
class Trained:
    """Fine-tunes of a toy model class under six strategies from one aligned model.

    Every minimum is one over *all* policies: a run's slack ``delta`` is its objective above T3's
    value, or above what the duality gap of a convex loss allows in a ball. So a run that did not
    converge, or a class that cannot fit, enters its bounds as delta. Half of the aligned models
    are the safety teacher themselves (the data are relabelled with them); some are under-trained.
    """

    name: str
    chunk: int

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """Each strategy, its optimiser's budget, then the router over what was trained."""
        world = _World(self.name, rng, n)
        lam = 10.0 ** rng.uniform(-2, 2, size=n)
        radius = 10.0 ** rng.uniform(-2, 1, size=n)
        free = world.run(stop=np.ones(n))
        limit = np.maximum(np.asarray(free.gaps.proxy), 1e-3) * 10.0 ** rng.uniform(
            -2, -0.3, size=n
        )
        jobs: list[tuple[type[Strategy], str, dict[str, Array]]] = [
            (LossConstraint, "lam", {"lam": lam}),
            (LossConstraint, "epsilon, by dual ascent", {"epsilon": limit}),
            (ParameterConstraint, "radius", {"radius": radius}),
            (Hybrid, "lam and radius", {"lam": lam, "radius": radius}),
            (LossConstraint, "lam, stopped early", {"lam": lam, "stop": rng.random(n)}),
        ]
        penalised, ended = [], {}
        for kind, how, numbers in jobs:
            done = ended[how] = world.run(**numbers)
            if kind is LossConstraint:
                penalised.append(done)
            words = f"{kind.__name__} by {how}"
            yield world.parametric_case(kind, done, numbers, words)
            yield world.any_policy_case(done, words)
            yield world.budget_case(done, "radius" in numbers, words)
        yield world.envelope_case(penalised, ended["radius"])
        yield world.router_case(rng, free)
        for how, done in ended.items():
            yield world.answers_case(rng, done, how)


class _World:
    """A batch of pairs, their aligned models, and one compiled program that fine-tunes them."""

    def __init__(self, name: str, rng: np.random.Generator, n: int) -> None:
        import jax

        from sims.pair import Knobs

        self.n = n
        self.model, self.plan, aligning, self._finetune, self._measure = _compiled(name)
        ends = rng.choice([0.0, 1.0], size=(5, n))
        knobs = Knobs(*np.where(rng.random((5, n)) < 0.2, ends, rng.random((5, n))))
        self.keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), n)
        problem = jax.vmap(self.model.problem)(self.keys, knobs)
        start = jax.vmap(self.model.start)(self.keys, problem)
        stop = np.where(rng.random(n) < 0.7, 1.0, rng.random(n))
        self.theta_s = aligning(problem, start, self.keys, stop)
        policy = self._policies(self.theta_s, problem.inputs)
        # Relabelled with the aligned model, the safety data are its own: G_s(theta_s) = 0.
        own = rng.random(n)[:, None, None] < 0.5
        mu_s = np.where(own, policy, problem.pair.mu_s)
        same_teacher = (rng.random(n) < 0.5)[:, None, None]
        mu_hat = np.where(own & same_teacher, policy, problem.pair.mu_hat)
        pair = problem.pair._replace(mu_s=mu_s, mu_hat=mu_hat)
        self.problem = problem._replace(pair=pair)
        self.aligned = policy
        self.tables = TabularProblem(
            safety=Distribution(np.asarray(pair.rho_s), mu_s),
            proxy=Distribution(np.asarray(pair.rho_hat), mu_hat),
            task=Distribution(np.asarray(pair.rho_f), np.asarray(pair.mu_f)),
            aligned=policy,
        )
        self.before = {
            k: np.asarray(v) for k, v in self._measure(self.problem, self.theta_s).items()
        }
        # Only data relabelled with the aligned model itself have a gap of exactly 0.
        measured = self.before["safety"] + _ERROR
        self.safety_gap_at_aligned = np.where(own[:, 0, 0], 0.0, measured)

    def _policies(self, theta: Any, inputs: Any) -> Array:
        import jax

        logits = jax.vmap(self.model.logits)(theta, inputs).astype(np.float64)
        return np.asarray(jax.nn.softmax(logits))

    def run(self, **numbers: Array) -> Any:
        """Fine-tuned models of all instances at these strengths."""
        from sims.finetune import Strength

        strength = Strength._make(np.full(self.n, default) for default in Strength())._replace(
            **numbers
        )
        return self._finetune(self.problem, self.theta_s, strength, self.keys)

    def parametric_case(
        self, kind: type[Strategy], done: Any, numbers: dict[str, Array], words: str
    ) -> Case:
        """Bounds from constants: T1, T2 and, where the class's J is known, T6 to T9 and T12."""
        lam = np.asarray(done.lam)
        radius = numbers.get("radius", np.full(self.n, np.inf))
        slack = self._slack(done, lam, radius)
        moved = np.asarray(done.moved[:, -1]) * (1 + _RADIUS_ERROR)
        policy = self._policies(done.theta, self.problem.inputs)
        known = data_constants(self.tables, policy) | self._class_constants(radius, moved)
        known |= {"optimality_slack": slack, "safety_gap_at_aligned": self.safety_gap_at_aligned}
        known["capability_gap_at_aligned"] = self.before["task"] + _ERROR
        if kind is not ParameterConstraint:
            known["displacement"] = moved
        given = {"lam": lam, "radius": radius}
        names = [field.name for field in fields(kind) if field.name in given]
        bounds: list[list[Bound]] = []
        for i in range(self.n):
            values = {name: float(column[i]) for name, column in known.items()}
            finite = {name: value for name, value in values.items() if np.isfinite(value)}
            strategy = kind(**{name: float(given[name][i]) for name in names})
            bounds.append(evaluate(Constants(finite), strategy))
        return Case(
            bounds=stacked(bounds),
            runs=[self._as_run(done, Kind.MINIMISER)],
            n=self.n,
            words=words,
            finetunes=self.n,
            mutants=False,
        )

    def any_policy_case(self, done: Any, words: str) -> Case:
        """What holds for any policy whatever, on the tables themselves: T3's identity, T10."""
        strategy = LossConstraint(lam=np.maximum(np.asarray(done.lam), 1e-3))
        return Case(
            bounds=[b for b in evaluate(self.tables, strategy) if b.statement in ("T3", "T10")],
            runs=[self._as_run(done, Kind.ANY, lam=np.asarray(strategy.lam))],
            n=self.n,
            words=f"{words}: as a policy",
            finetunes=0,
            problem=self.tables,
            strategy=strategy,
            mutants=False,
        )

    def budget_case(self, done: Any, isotropic: bool, words: str) -> Case:
        """T13: the optimiser's settings alone bound how far the model went."""
        budget = self.plan.budget(self.theta_s.shape[-1], isotropic=isotropic)
        return Case(
            bounds=[radius_from_budget(budget)],
            runs=[self._as_run(done, Kind.MINIMISER)],
            n=self.n,
            words=f"{words}: its optimiser's budget",
            finetunes=0,
            mutants=False,
        )

    def envelope_case(self, penalised: Sequence[Any], other: Any) -> Case:
        """T17(a): what the runs with a proxy prove of a fine-tune that had none."""
        sets: list[list[theorems.Run]] = [[] for _ in range(self.n)]
        for done in penalised:
            lam = np.asarray(done.lam)
            slack = self._slack(done, lam, np.full(self.n, np.inf))
            for i, runs in enumerate(sets):
                proxy, task = float(done.gaps.proxy[i]), float(done.gaps.task[i])
                runs.append(theorems.Run(proxy, task, float(lam[i]), slack=float(slack[i])))
        run = self._as_run(other, Kind.MINIMISER)
        return Case(
            bounds=[envelope_bound(sets, run.truth[Quantity.PROXY_SAFETY_GAP])],
            runs=[run],
            n=self.n,
            words=f"a parameter constraint beside {len(penalised)} runs with a proxy",
            finetunes=0,
            mutants=False,
        )

    def router_case(self, rng: np.random.Generator, free: Any) -> Case:
        """T18: the aligned model, and the unconstrained one where the task has more mass."""
        shape = self.tables.task.context.shape
        more = self.tables.task.context > self.tables.safety.context
        rule = np.where(rng.random((self.n, 1)) < 0.5, more, rng.random(shape) < 0.5)
        task_policy = self._policies(free.theta, self.problem.inputs)
        policy = np.where(rule[..., None], task_policy, self.aligned)
        truth = gaps(self.tables, policy)
        return Case(
            bounds=routing(self.tables, rule, task_policy),
            runs=[self._run(truth, Kind.MINIMISER, np.ones(self.n))],
            n=self.n,
            words="a router between the aligned and the unconstrained model",
            finetunes=self.n,
            problem=self.tables,
            mutants=False,
        )

    def answers_case(self, rng: np.random.Generator, done: Any, how: str) -> Case:
        """T21 and T22: any answers may be the safe ones."""
        policy = self._policies(done.theta, self.problem.inputs)
        safe = rng.random(policy.shape) < rng.choice([0.3, 0.7], size=(self.n, 1, 1))
        mass = self.tables.safety.context
        return answers_case(rng, mass, self.aligned, policy, safe, how, mutants=False)

    def _class_constants(self, radius: Array, moved: Array) -> dict[str, Array]:
        import jax
        import jax.numpy as jnp

        within = jnp.asarray(np.minimum(radius, moved))
        known = jax.vmap(self.model.constants)(self.problem, self.theta_s, within)
        known = {name: np.asarray(column) * (1 + _ERROR) for name, column in known.items()}
        known["gradient_norm_safety"] = self.before["gradient_safety"] + _ERROR
        known["gradient_mismatch"] = self.before["gradient_mismatch"] + _ERROR
        return known

    def _slack(self, done: Any, lam: Array, radius: Array) -> Array:
        import jax
        import jax.numpy as jnp

        from sims.certificate import ball_gap, least_objective

        least = np.asarray(jax.vmap(least_objective)(self.problem.pair, jnp.asarray(lam)))
        slack = np.asarray(done.gaps.task + lam * done.gaps.proxy) - least
        if self.model.name == "log-linear":
            of_ball = jax.vmap(ball_gap)(
                done.theta, self.theta_s, jnp.asarray(radius), done.gradient
            )
            slack = np.minimum(slack, np.asarray(of_ball))
        return np.maximum(slack, 0.0) + _ERROR * (1.0 + lam)

    def _as_run(self, done: Any, kind: Kind, lam: Array | None = None) -> Run:
        # A gap of 0 may come out as -1e-17.
        safety, proxy, task = (np.maximum(np.asarray(gap), 0.0) for gap in done.gaps)
        truth = {
            Quantity.SAFETY_GAP: safety,
            Quantity.PROXY_SAFETY_GAP: proxy,
            Quantity.CAPABILITY_GAP: task,
            Quantity.SAFETY_LOSS_INCREASE: safety - self.before["safety"],
            Quantity.RADIUS: np.asarray(done.moved[:, -1]).astype(np.float64),
        }
        return self._run(truth, kind, np.asarray(done.lam) if lam is None else lam)

    def _run(self, truth: dict[Quantity, Array], kind: Kind, lam: Array) -> Run:
        error = {q: np.full(self.n, _ERROR) for q in truth}
        if Quantity.RADIUS in truth:
            error[Quantity.RADIUS] = _RADIUS_ERROR * truth[Quantity.RADIUS]
        return Run(
            kind=kind,
            truth=truth,
            error=error,
            lam=lam,
            checked=np.isfinite(sum(truth.values())),
        )


def data_constants(tables: TabularProblem, policy: Array) -> dict[str, Array]:
    """What the data alone say, and the losses of the aligned and the fine-tuned policy, ``[n]``.

    ``policy [n, X, V]``. Infinite where a divergence or a loss is.
    """
    safety, proxy, task = tables.safety, tables.proxy, tables.task
    both = (task.context > 0) & (proxy.context > 0)
    joint_s, joint_hat = (
        (d.context[..., None] * d.target).reshape(len(d.context), -1) for d in (safety, proxy)
    )
    used = ((joint_s > 0) | (joint_hat > 0)).reshape(policy.shape)
    with np.errstate(divide="ignore"):
        before, after = -np.log(tables.aligned), -np.log(policy)
    change = np.where(used, after - before, np.nan)
    losses = np.where(used, np.maximum(before, after), 0.0)
    oscillation = np.nanmax(change, axis=(-2, -1)) - np.nanmin(change, axis=(-2, -1))
    proxy_at_task = mass_sum(proxy.context, kl(proxy.target, task.target), where=both)
    task_at_proxy = mass_sum(task.context, kl(task.target, proxy.target), where=both)
    return {
        "tv": tv(joint_s, joint_hat),
        "tv_context": tv(safety.context, proxy.context),
        "tv_teacher": (safety.context * tv(safety.target, proxy.target)).sum(axis=-1),
        "kl": np.minimum(kl(joint_s, joint_hat), kl(joint_hat, joint_s)),
        "loss_range": losses.max(axis=(-2, -1)) * (1 + _ERROR),
        "loss_oscillation": oscillation + _ERROR,
        "proxy_gap_at_task": proxy_at_task,
        "capability_gap_at_proxy": task_at_proxy,
    }


@lru_cache
def _compiled(
    name: str,
) -> tuple[
    LogLinear | MLP | Transformer,
    Plan,
    Callable[..., Any],
    Callable[..., Any],
    Callable[..., Any],
]:
    """The model class, its plan, and compiled: aligning, fine-tuning, measuring a batch."""
    import jax
    import jax.numpy as jnp

    from sims.finetune import Plan, align, tuning
    from sims.models.log_linear import LogLinear
    from sims.models.mlp import MLP
    from sims.models.transformer import Transformer

    model, plan = {
        "log-linear": (LogLinear(), Plan(steps=300, rate=0.3)),
        "mlp": (MLP(), Plan(steps=300, rate=0.03)),
        "transformer": (Transformer(), Plan(steps=200, rate=0.01)),
    }[name]

    def aligned(problem, start, key, stop):
        return align(model, problem, start, plan, key, stop=stop)

    def measured(problem, theta):
        gaps = model.gaps(theta, problem)
        slopes = jax.jacrev(lambda t: model.gaps(t, problem))(theta)
        return {
            "safety": gaps.safety,
            "task": gaps.task,
            "gradient_safety": jnp.linalg.norm(slopes.safety),
            "gradient_mismatch": jnp.linalg.norm(slopes.safety - slopes.proxy),
        }

    aligning, measuring = (jax.jit(jax.vmap(f)) for f in (aligned, measured))
    return model, plan, aligning, tuning(model, plan), measuring
