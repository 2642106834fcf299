"""The identities behind T16 and T19: what training does to a quadratic, proved symbolically."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from theory.symbolic.proof import HALF, Identity, identity, symmetric


def _vector(name: str) -> sp.Matrix:
    return sp.Matrix(sp.symbols(f"{name}1 {name}2", real=True))


def _path(t: sp.Symbol, task: sp.Matrix, g: sp.Matrix) -> sp.Matrix:
    """The flow to third order."""
    return -t * g + t**2 / 2 * task * g - t**3 / 6 * task**2 * g


def kernel_step() -> Identity:
    """T16: the step in the span of the rows has the least objective, by their Gram matrix only."""
    rows = sp.Matrix(2, 3, sp.symbols("j1:7", real=True))
    weight = sp.diag(*sp.symbols("w1 w2", positive=True))
    ridge = sp.Symbol("kappa", positive=True)
    slope = _vector("a")
    gram = rows * rows.T
    within = (weight * gram + ridge * sp.eye(2)).inv(method="ADJ") * slope
    step = -rows.T * within
    curvature = rows.T * weight * rows + ridge * sp.eye(3)
    left = slope.T * rows * step + HALF * step.T * curvature * step
    return identity(
        r"At $d=-J^\top(WK+\kappa I)^{-1}a$ with $K=JJ^\top$ the objective "
        r"$g^\top d+\frac12d^\top(J^\top WJ+\kappa I)d$, $g=J^\top a$, is "
        r"$-\frac12a^\top K(WK+\kappa I)^{-1}a$, for generic $2\times3$ matrices $J$.",
        left[0],
        (-HALF * slope.T * gram * within)[0],
    )


def descent_filter() -> Identity:
    """T16: gradient descent on a quadratic multiplies the Newton step by 1 - (1 - eta h)^T."""
    eta, h, g = sp.symbols("eta h g", positive=True)
    d = sp.S.Zero
    for _ in range(5):
        d = sp.expand(d - eta * (g + h * d))
    return identity(
        r"Five steps of rate $\eta$ on $gd+\frac12hd^2$ from 0 end at "
        r"$-h^{-1}(1-(1-\eta h)^5)g$.",
        d,
        -(1 - (1 - eta * h) ** 5) * g / h,
    )


def descent_moments() -> Identity:
    """T19: steps of any rates move along g, H_f g, ... by elementary symmetric polynomials."""
    a, b, c, h, g = sp.symbols("eta1 eta2 eta3 h g", positive=True)
    d = sp.S.Zero
    for rate in (a, b, c):
        d = sp.expand(d - rate * (g + h * d))
    return identity(
        r"Three steps of rates $\eta_k$ end at $-e_1g+e_2hg-e_3h^2g$ with "
        r"$e_1=\sum\eta_k$, $e_2=\sum_{j\lt k}\eta_j\eta_k$, $e_3=\eta_1\eta_2\eta_3$.",
        d,
        (-(a + b + c) + (a * b + a * c + b * c) * h - a * b * c * h**2) * g,
    )


def flow_expansion() -> Identity:
    """T19: the third-order path solves the flow up to a remainder of third order in t."""
    t = sp.Symbol("t", positive=True)
    task, g = symmetric("f"), _vector("g")
    path = _path(t, task, g)
    return identity(
        r"$d=-tg+\frac{t^2}2H_fg-\frac{t^3}6H_f^2g$ has "
        r"$\dot d+g+H_fd=-\frac{t^3}6H_f^3g$, for generic symmetric $2\times2$ matrices.",
        path.diff(t) + g + task * path,
        -(t**3) / 6 * task**3 * g,
    )


def onset_coefficients() -> Identity:
    """T19: the coefficients of t^2, t^3 and t^4 of the safety gap."""
    t = sp.Symbol("t", positive=True)
    task, safety, g = symmetric("f"), symmetric("s"), _vector("g")
    path = _path(t, task, g)
    gap = sp.expand((HALF * path.T * safety * path)[0])
    turned = task * g
    return identity(
        r"$\frac12d^\top H_sd$ along that path has the coefficients "
        r"$\frac12g^\top H_sg$ of $t^2$, $-\frac12g^\top H_sH_fg$ of $t^3$ and "
        r"$\frac18g^\top H_fH_sH_fg+\frac16g^\top H_sH_f^2g$ of $t^4$, for generic symmetric "
        r"$2\times2$ matrices.",
        sp.Matrix([gap.coeff(t, k) for k in (2, 3, 4)]),
        sp.Matrix(
            [
                (HALF * g.T * safety * g)[0],
                (-HALF * g.T * safety * turned)[0],
                (turned.T * safety * turned)[0] / 8 + (g.T * safety * task * turned)[0] / 6,
            ]
        ),
    )


def quartic_onset() -> Identity:
    """T19: with H_s g = 0 the gap is quartic, and its next term is of fifth order."""
    t = sp.Symbol("t", positive=True)
    task, g = symmetric("f"), _vector("g")
    away = sp.Matrix([[0, -1], [1, 0]]) * g
    safety = sp.Symbol("k", positive=True) * away * away.T
    path = _path(t, task, g)
    gap = sp.expand((HALF * path.T * safety * path)[0])
    turned = task * g
    return identity(
        r"If $H_sg=0$ the coefficients of $t^2$, $t^3$, $t^4$, $t^5$ are $0$, $0$, "
        r"$\frac18g^\top H_fH_sH_fg$, $-\frac1{12}g^\top H_fH_sH_f^2g$ (two coordinates).",
        sp.Matrix([gap.coeff(t, k) for k in (2, 3, 4, 5)]),
        sp.Matrix(
            [
                0,
                0,
                (turned.T * safety * turned)[0] / 8,
                -(turned.T * safety * task * turned)[0] / 12,
            ]
        ),
    )


def remainder_step() -> Identity:
    """T19: the induction that bounds the remainders of gradient descent's response."""
    h, eta, p, first = sp.symbols("h eta p E", positive=True)
    left = (p * (1 - eta * h) - 1) + (first + eta) * h
    return identity(
        r"With $p$ the product of the factors $1-\eta_jh$ so far and $E$ the sum of their rates, "
        r"one more rate $\eta$ turns the remainder $p-1+Eh$ into itself plus $\eta h(1-p)$; "
        r"$|1-p|\le Eh$ while $|1-\eta_jh|\le1$.",
        left,
        (p - 1 + first * h) + eta * h * (1 - p),
    )


# statement -> what sympy proves of it.
TRAINING: dict[str, tuple[Callable[[], Identity], ...]] = {
    "T16": (kernel_step, descent_filter),
    "T19": (flow_expansion, onset_coefficients, quartic_onset, descent_moments, remainder_step),
}
