"""What tables claim under a loss constraint, form by form: T1 to T5, T8 to T10 and T12."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from sims.adversary.form import Form
from sims.adversary.mixture import Mixture, distance, kl
from theory.bound import Direction, Quantity

UPPER, LOWER = Direction.UPPER, Direction.LOWER
SAFETY, PROXY, TASK = Quantity.SAFETY_GAP, Quantity.PROXY_SAFETY_GAP, Quantity.CAPABILITY_GAP
TOTAL = Quantity.WEIGHTED_SUM

PERFECT = {"same_teacher": 1.0, "same_contexts": 1.0}
NEAR = {"near": 1.0}
EXACT = {"exact": 1.0}


def _entropy(q: Mixture) -> jax.Array:
    parts = (q.rho_f + q.lam * q.rho_hat) * q.tau
    binary = -jax.scipy.special.xlogy(q.w, q.w) - jax.scipy.special.xlogy(1.0 - q.w, 1.0 - q.w)
    return q.contested_sum(parts * binary)


def _per_lambda(q: Mixture) -> jax.Array:
    return 1.0 + 16.0 * q.start + (1.0 + 16.0 * q.task_start) / q.lam


def _weighted(q: Mixture) -> jax.Array:
    return 1.0 + q.lam


def _value_gap_forms() -> list[Form]:
    """T1 term by term; the aligned model close to the minimiser makes each of them linear."""
    mismatches = {
        "total variation": {"proxy mismatch": lambda q: q.mismatch},
        "context and teacher": {
            "context mismatch": lambda q: q.split[0],
            "teacher mismatch": lambda q: q.split[1],
        },
        "Kullback-Leibler": {"proxy mismatch": lambda q: q.pinsker},
    }
    ties = {
        "proxy mismatch": {},
        "context mismatch": {"same_teacher": 1.0},
        "teacher mismatch": {"same_contexts": 1.0},
    }
    made = []
    for form, terms in mismatches.items():
        parts = {
            "value gap / lambda": (lambda q: (q.rise, q.value_gap), PERFECT),
            **{
                name: (
                    lambda q, size=size: (q.rise - q.value_gap, size(q) * q.oscillation),
                    ties[name],
                )
                for name, size in terms.items()
            },
        }
        made += [
            Form("T1", SAFETY, UPPER, form, ratio, part, "lam", {**NEAR, **tie}, _per_lambda)
            for part, (ratio, tie) in parts.items()
        ]
    return made


# Second derivatives in t = b / a: w^2 / (1 - w + w t)^2 <= w / (4 (1 - w)) 1 / t, on every
# contested context.
_QUARTER = (
    "(1 - w) KL(a || (1 - w) a + w b) <= (w / 4) KL(b || a): each gap gets a quarter of what "
    "their weighted sum is compared with"
)


def _chord(q: Mixture) -> tuple[jax.Array, jax.Array]:
    return q.task, (1.0 - q.proxy / q.of_task) * q.of_proxy


def _comparator_forms() -> list[Form]:
    task, proxy = "task optimum", "proxy optimum"
    total = "G_f + lambda G_hat_s, "
    loose = partial(Form, sharpest=0.25, why=_QUARTER)
    epsilon = partial(Form, "T2", strategy="epsilon")
    return [
        Form("T2", TOTAL, UPPER, total + task, lambda q: (q.total, q.lam * q.of_task)),
        Form("T2", TOTAL, UPPER, total + proxy, lambda q: (q.total, q.of_proxy)),
        loose("T2", TASK, UPPER, task, lambda q: (q.task, q.lam * q.of_task)),
        Form("T2", TASK, UPPER, proxy, lambda q: (q.task, q.of_proxy)),
        Form("T2", PROXY, UPPER, task, lambda q: (q.proxy, q.of_task)),
        loose("T2", PROXY, UPPER, proxy, lambda q: (q.proxy, q.of_proxy / q.lam)),
        epsilon(PROXY, UPPER, "constrained", lambda q: (q.proxy, q.proxy)),
        epsilon(TASK, UPPER, "constrained", _chord, size=_weighted),
    ]


def _overlap_forms() -> list[Form]:
    total = "G_f + lambda G_hat_s, "
    weighted = partial(Form, "T3", TOTAL, size=_weighted)
    overlap = partial(Form, "T4")
    return [
        weighted(
            LOWER,
            total + "Pinsker",
            lambda q: (q.contested_sum(2.0 * q.rho_f * q.w * q.tau**2), q.total),
        ),
        weighted(UPPER, total + "entropy", lambda q: (q.total, _entropy(q))),
        weighted(
            LOWER,
            total + "any policy",
            lambda q: (q.total, q.of_any(q.rho_f, q.mu_f) + q.lam * q.of_any(q.rho_hat, q.mu_hat)),
            strategy="hybrid, any policy",
        ),
        overlap(PROXY, UPPER, "logarithm", lambda q: (q.proxy, _logarithm(q, q.rho_hat, 0))),
        overlap(TASK, UPPER, "logarithm", lambda q: (q.task, _logarithm(q, q.rho_f, 1))),
        overlap(
            PROXY, UPPER, "linear", lambda q: (q.proxy, q.contested_sum(q.rho_f * q.tau) / q.lam)
        ),
        overlap(
            TASK, UPPER, "linear", lambda q: (q.task, q.contested_sum(q.rho_hat * q.tau) * q.lam)
        ),
        overlap(PROXY, UPPER, "mass", lambda q: (q.proxy, jnp.log1p(1.0 / q.lam))),
        overlap(TASK, UPPER, "mass", lambda q: (q.task, jnp.log1p(q.lam))),
        overlap(
            PROXY,
            UPPER,
            "divergence",
            lambda q: (q.proxy, q.contested_sum((1.0 - q.w) * q.rho_hat * kl(q.mu_hat, q.mu_f))),
        ),
        overlap(
            TASK,
            UPPER,
            "divergence",
            lambda q: (q.task, q.contested_sum(q.w * q.rho_f * kl(q.mu_f, q.mu_hat))),
        ),
        overlap(
            PROXY,
            LOWER,
            "Pinsker",
            lambda q: (2.0 * q.contested_sum(q.rho_hat * ((1.0 - q.w) * q.tau) ** 2), q.proxy),
        ),
        overlap(
            TASK,
            LOWER,
            "Pinsker",
            lambda q: (2.0 * q.contested_sum(q.rho_f * (q.w * q.tau) ** 2), q.task),
        ),
    ]


def _logarithm(q: Mixture, mass: jax.Array, side: int) -> jax.Array:
    return q.contested_sum(mass * q.tau * q.log_odds[side])


def _floor_forms() -> list[Form]:
    same = {"same_teacher": 1.0}
    # One contested context, one that only the task has, one that neither has.
    apart = {"covers": (1.0, 0.0, 0.0), "uses": (1.0, 1.0, 0.0)}

    def linear(q: Mixture) -> jax.Array:
        return q.coverage * q.rho_f.sum() / q.lam

    def same_teacher(q: Mixture) -> jax.Array:
        return q.coverage * (q.rho_f * q.tau).sum() / q.lam

    def of_floor(name: str):
        def ratio(q: Mixture):
            rest = sum(part for cause, part in q.floor.items() if cause != name) + q.contest
            return q.safety - rest, q.floor[name]

        return ratio

    floor = partial(Form, "T5", SAFETY, UPPER)
    return [
        floor("logarithm", lambda q: (q.safety, q.contest), part="contested", setting=same),
        floor("linear", lambda q: (q.safety, linear(q)), part="contested", setting=same),
        floor("same teacher", lambda q: (q.safety, same_teacher(q)), setting=same),
        floor("logarithm", of_floor("teacher mismatch"), part="teacher mismatch"),
        *(
            floor("logarithm", of_floor(name), part=name, setting=apart)
            for name in ("forgotten", "untouched")
        ),
    ]


_LOGITS = "a move of r changes a loss by at most sqrt 2 r, and two contexts by at most 2 r together"


def _radius_forms() -> list[Form]:
    """T8 (d), T9 and T12: the minimiser lies in the ball, so the hybrid ends there too."""
    root = float(np.sqrt(2.0))

    def general(q: Mixture) -> jax.Array:
        return jnp.minimum(root * q.reach, q.task_start) / q.lam

    def table(q: Mixture) -> jax.Array:
        return jnp.minimum(q.slope * q.reach, q.task_start) / q.lam

    gap, off = "value gap / lambda", "proxy mismatch"
    hybrid = partial(Form, "T9", SAFETY, UPPER, strategy="hybrid")
    term = partial(hybrid, size=_per_lambda)
    # Their terms come out where the value gap is small: those searches start at large lambdas.
    perfect, near = {**NEAR, **PERFECT}, {**NEAR, "log_lam": 4.0}
    bent = {**EXACT, "same_teacher": 1.0, "covers": (1.0, 1.0, 0.0), "log_lam": 7.0}
    rise = Quantity.SAFETY_LOSS_INCREASE
    local = partial(Form, "T12", rise, UPPER, "centred logits", size=_per_lambda)
    return [
        Form(
            "T8",
            Quantity.RADIUS,
            LOWER,
            "(d) forced radius, logits",
            lambda q: (q.value_gap * q.lam / root, q.reach),
            size=lambda q: 1.0 + q.task_start,
        ),
        term("(A-J)", lambda q: (q.rise, general(q)), gap, setting=perfect),
        term("tabular", lambda q: (q.rise, table(q)), gap, setting=perfect),
        term(
            "(A-J)",
            lambda q: (q.rise - general(q), 2.0 * root * q.reach * q.mismatch),
            off,
            setting=near,
            sharpest=1.0 / root,
            why=_LOGITS,
        ),
        term(
            "tabular",
            lambda q: (q.rise - table(q), 2.0 * q.reach * q.mismatch),
            off,
            setting=near,
        ),
        hybrid("(A-J), without data", lambda q: (q.safety, 0.25 * q.reach**2), setting=EXACT),
        Form(
            "T9",
            TASK,
            UPPER,
            "comparator theta_s",
            lambda q: (q.task, q.task_start + q.lam * q.proxy_start),
            strategy="hybrid",
            size=_weighted,
        ),
        local(lambda q: (q.rise, q.value_gap), gap, setting=perfect),
        local(
            lambda q: (q.rise - q.value_gap - q.bend, q.pull * q.reach),
            "gradient mismatch",
            setting=near,
        ),
        local(
            lambda q: (q.rise - q.value_gap - q.pull * q.reach, q.bend),
            "curvature",
            setting=bent,
        ),
    ]


def _limit_forms() -> list[Form]:
    def weighted(q: Mixture) -> jax.Array:
        return q.of_any(q.rho_f, q.mu_f) + q.lam * q.of_any(q.rho_s, q.mu_s)

    def overlap(q: Mixture) -> jax.Array:
        shared = jnp.minimum(q.rho_f, q.rho_s) * distance(q.mu_f, q.mu_s) ** 2
        return jnp.sqrt(2.0 * shared.sum())

    def roots(q: Mixture) -> jax.Array:
        return jnp.sqrt(q.of_any(q.rho_f, q.mu_f)) + jnp.sqrt(q.of_any(q.rho_s, q.mu_s))

    return [
        Form(
            "T10",
            TOTAL,
            LOWER,
            "G_f + lambda G_s, any policy",
            lambda q: (q.front, weighted(q)),
            strategy="any policy",
            size=_weighted,
        ),
        Form(
            "T10",
            Quantity.SQRT_SUM,
            LOWER,
            "overlap",
            lambda q: (overlap(q), roots(q)),
            strategy="any policy",
            size=lambda q: 1.0 / jnp.maximum(roots(q), 1e-6),
        ),
    ]


def mixture_forms() -> tuple[Form, ...]:
    """All of them; T10's are about any policy."""
    return (
        *_value_gap_forms(),
        *_comparator_forms(),
        *_overlap_forms(),
        *_floor_forms(),
        *_radius_forms(),
        *_limit_forms(),
    )
