"""Wrong statements made from right ones: the audit is only worth what it refutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from theory.bound import Bound, Direction, Quantity
from theory.divergence import Array

# (family, statement, quantity, form) -> the largest truth / bound (upper) that the family allows,
# where it is provably below 1: a mutant that is 2 % tighter than the bound itself would be true.
SHARPNESS: dict[tuple[str, str, Quantity, str], float] = {
    # Convexity of both losses along the segment to theta_s halves the value gap (see T9).
    ("quadratic", "T1", Quantity.SAFETY_GAP, "perfect proxy"): 0.5,
    # ... and 2 lam G_s <= |grad f_f(theta_s)| dist <= L_f sqrt(2 G_s / mu) gives a quarter.
    ("quadratic", "T1", Quantity.PROXY_SAFETY_GAP, "quadratic growth"): 0.25,
    # In the common basis the shares are f lam s / (f + lam s)^2 <= 1/4.
    ("quadratic", "T2", Quantity.CAPABILITY_GAP, "task optimum"): 0.25,
    ("quadratic", "T2", Quantity.PROXY_SAFETY_GAP, "proxy optimum"): 0.25,
    # Second derivatives in t = b / a: w^2 / (1 - w + w t)^2 <= w / (4 (1 - w)) 1 / t, hence
    # (1 - w) KL(a || (1 - w) a + w b) <= (w / 4) KL(b || a), on every contested context.
    ("tabular", "T2", Quantity.CAPABILITY_GAP, "task optimum"): 0.25,
    ("tabular", "T2", Quantity.PROXY_SAFETY_GAP, "proxy optimum"): 0.25,
}

_CONVEX = "a convex f_f lies above its tangent, so the curvature is not needed in these families"
_NO_GAP_BELOW_0 = "what is left is a lower bound of at most 0 on a gap"
_ROUNDING = "a safeguard against rounding, which is inside the tolerance"
# (statement, form, term) -> why the statement stays true in every family without the term.
TRUE_WITHOUT: dict[tuple[str, str, str], str] = {
    ("T7", "smooth, local", "curvature"): _CONVEX,
    ("T17", "bracket", "an exact fine-tune"): _NO_GAP_BELOW_0,
    **{
        ("T7", form, "below float resolution"): _ROUNDING
        for form in ("convex", "smooth", "Polyak-Lojasiewicz")
    },
}


@dataclass(frozen=True)
class Wrong:
    """A mutant: its name, value ``[n]`` (computed when asked) and direction.

    ``everywhere``: it is claimed also where the statement's own assumptions fail.
    """

    name: str
    value: Callable[[], Array]
    direction: Direction
    everywhere: bool = False


def mutants_of(b: Bound, family: str) -> Iterator[Wrong]:
    """Each mutant of a bound: 2 % too good, off by a factor 2, flipped, without one term.

    A term is dropped only where that makes the statement stronger. An equality with 0 is instead
    claimed without its assumptions.
    """
    value = np.asarray(b.value, dtype=np.float64)
    if b.direction is Direction.EQUALITY:
        if list(b.terms) == ["zero"]:
            yield Wrong("assumed everywhere", lambda: np.zeros(()), b.direction, everywhere=True)
            return
        yield Wrong("2 % less", lambda: 0.98 * value, b.direction)
        yield Wrong("2 % more", lambda: value / 0.98, b.direction)
    else:
        upper = b.direction is Direction.UPPER
        sharpness = SHARPNESS.get((family, b.statement, b.quantity, b.form), 1.0)
        better = 0.98 * sharpness if upper else 1.0 / (0.98 * sharpness)
        yield Wrong("2 % tighter", lambda: value * better, b.direction)
        if sharpness == 1.0:
            factor = 0.5 if upper else 2.0
            yield Wrong("off by a factor 2", lambda: value * factor, b.direction)
        yield Wrong("flipped", lambda: value, Direction.LOWER if upper else Direction.UPPER)
    if len(b.terms) < 2:
        return
    for name, term in b.terms.items():
        size = np.asarray(term, dtype=np.float64)
        stronger = {
            Direction.UPPER: size > 0,
            Direction.LOWER: size < 0,
            Direction.EQUALITY: size != 0,
        }[b.direction]
        if not stronger.any() or (b.statement, b.form, name) in TRUE_WITHOUT:
            continue
        rest = [np.asarray(t, dtype=np.float64) for other, t in b.terms.items() if other != name]

        def without(rest: list[Array] = rest) -> Array:
            with np.errstate(invalid="ignore", over="ignore"):
                return np.nan_to_num(sum(rest), nan=np.inf, posinf=np.inf, neginf=-np.inf)

        yield Wrong(f"without {name}", without, b.direction)
