"""The identities behind T1 to T15 and T21 to T24; those of T16 and T19 join the list.

Symbols are positive. A weight is written by its odds, ``w = k / (1 + k)``, so that ``w`` and
``1 - w`` are both positive. Where a sum over responses is meant, the summand of *one* response
is proved, and so the identity for every V; terms named as such sum to 0 over y because targets
sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from theory.symbolic.identities_training import TRAINING
from theory.symbolic.proof import HALF, Identity, identity, symmetric


def _positive(names: str) -> tuple[sp.Symbol, ...]:
    return sp.symbols(names, positive=True)


def compensation() -> Identity:
    """T3: for every policy the objective exceeds its minimum by a divergence from P_lambda."""
    a, b, p, k = _positive("a b p k")
    w = k / (1 + k)
    m = (1 - w) * a + w * b
    return identity(
        r"$(1-w)\mathrm{KL}(a\Vert P)+w\mathrm{KL}(b\Vert P)"
        r"=\mathrm{JS}_w(a,b)+\mathrm{KL}(m\Vert P)$ with $m=(1-w)a+wb$, response by response.",
        (1 - w) * a * sp.log(a / p) + w * b * sp.log(b / p),
        (1 - w) * a * sp.log(a / m) + w * b * sp.log(b / m) + m * sp.log(m / p),
    )


def jensen_shannon() -> Identity:
    """T3: the minimum per context is an entropy difference, the Jensen-Shannon divergence."""
    a, b, k = _positive("a b k")
    w = k / (1 + k)
    m = (1 - w) * a + w * b
    return identity(
        r"$(1-w)\mathrm{KL}(a\Vert m)+w\mathrm{KL}(b\Vert m)=H(m)-(1-w)H(a)-wH(b)$, "
        "response by response.",
        (1 - w) * a * sp.log(a / m) + w * b * sp.log(b / m),
        -m * sp.log(m) + (1 - w) * a * sp.log(a) + w * b * sp.log(b),
    )


def optimal_mixture() -> Identity:
    """T3: the Lagrangian of one context has the mixture as its only stationary point."""
    task, proxy, lam, nu = _positive("rho_f rho_p lambda nu")
    mu_f, mu_p = _simplex("f"), _simplex("p")
    policy = _positive("P1 P2 P3")
    lagrangian = -sum(
        (task * f + lam * proxy * s) * sp.log(p) for f, s, p in zip(mu_f, mu_p, policy, strict=True)
    ) + nu * (sum(policy) - 1)
    stationary = [sp.solve(sp.diff(lagrangian, p), p)[0] for p in policy]
    (multiplier,) = sp.solve(sp.cancel(sp.together(sum(stationary) - 1)), nu)
    w = lam * proxy / (task + lam * proxy)
    return identity(
        r"The stationary point of $-\sum_y(\rho_f\mu_f+\lambda\hat\rho_s\hat\mu_s)\log P+\nu"
        r"(\sum_y P-1)$ is $P=(1-w)\mu_f+w\hat\mu_s$, $w=\lambda\hat\rho_s/(\rho_f+\lambda"
        r"\hat\rho_s)$ (three responses).",
        sp.Matrix([p.subs(nu, multiplier) for p in stationary]),
        sp.Matrix([(1 - w) * f + w * s for f, s in zip(mu_f, mu_p, strict=True)]),
    )


def _simplex(name: str) -> list[sp.Expr]:
    weights = _positive(f"{name}1 {name}2 {name}3")
    return [weight / sum(weights) for weight in weights]


def _context_gaps() -> tuple[sp.Symbol, sp.Expr, sp.Expr]:
    """``lambda``, ``G_f`` and ``G_hat_s`` of one context with two responses at the mixture."""
    task, proxy, lam = _positive("rho_f rho_p lambda")
    f, s = _positive("f s")
    capability, safety = sp.S.Zero, sp.S.Zero
    for mu_f, mu_p in ((f / (1 + f), s / (1 + s)), (1 / (1 + f), 1 / (1 + s))):
        mixture = (task * mu_f + lam * proxy * mu_p) / (task + lam * proxy)
        capability += task * mu_f * sp.log(mu_f / mixture)
        safety += proxy * mu_p * sp.log(mu_p / mixture)
    return lam, capability, safety


def value_slope() -> Identity:
    """T3: the optimal value grows with lambda at the rate of the proxy gap."""
    lam, capability, safety = _context_gaps()
    return identity(
        r"$\mathcal V'(\lambda)=\hat G_s(P_\lambda)$ with $\mathcal V=G_f+\lambda\hat G_s$ at the "
        "mixture (one context, two responses).",
        sp.diff(capability + lam * safety, lam),
        safety,
    )


def front_slope() -> Identity:
    """T10(a): along the Pareto front one gap is traded for the other at rate lambda."""
    lam, capability, safety = _context_gaps()
    return identity(
        r"$\mathrm dG_f/\mathrm d\lambda=-\lambda\mathrm dG_s/\mathrm d\lambda$ along the "
        "mixtures (one context, two responses).",
        sp.diff(capability, lam),
        -lam * sp.diff(safety, lam),
    )


def pinsker_split() -> Identity:
    """T3, T10(b): the lower bound of the value by disagreement, least over how it is shared."""
    task, proxy, tau, u = _positive("rho_f rho_p tau u")
    shared = 2 * task * u**2 + 2 * proxy * (tau - u) ** 2
    (least,) = sp.solve(sp.diff(shared, u), u)
    return identity(
        r"$\min_{u+v=\tau}2\rho_fu^2+2\lambda\hat\rho_sv^2"
        r"=2\frac{\rho_f\lambda\hat\rho_s}{\rho_f+\lambda\hat\rho_s}\tau^2$ "
        r"($\lambda\hat\rho_s$ is one symbol).",
        shared.subs(u, least),
        2 * task * proxy / (task + proxy) * tau**2,
    )


def _contested_summand() -> tuple[sp.Symbol, sp.Expr, dict[str, sp.Symbol]]:
    """``rho_s mu_s log(mu_s / P)`` of one response as a function of ``t = 1 / lambda``."""
    t, safety, task, proxy = _positive("t rho_s rho_f rho_p")
    mu_s, mu_f, mu_p = _positive("mu_s mu_f mu_p")
    policy = (task * t * mu_f + proxy * mu_p) / (task * t + proxy)
    names = {
        "rho_s": safety,
        "rho_f": task,
        "rho_p": proxy,
        "mu_s": mu_s,
        "mu_f": mu_f,
        "mu_p": mu_p,
    }
    return t, safety * mu_s * sp.log(mu_s / policy), names


def expansion_first_order() -> Identity:
    """T5: the coefficient of 1/lambda in the true safety gap."""
    t, summand, s = _contested_summand()
    return identity(
        r"The $1/\lambda$ coefficient of $\rho_s\mathrm{KL}(\mu_s\Vert P_\lambda)$ is "
        r"$\rho_s\frac{\rho_f}{\hat\rho_s}\left(\mu_s-\mu_f\frac{\mu_s}{\hat\mu_s}\right)$, "
        "response by response.",
        sp.diff(summand, t).subs(t, 0),
        s["rho_s"] * s["rho_f"] / s["rho_p"] * (s["mu_s"] - s["mu_f"] * s["mu_s"] / s["mu_p"]),
    )


def expansion_same_teacher() -> Identity:
    """T5: with the same teacher the gap decays like 1/lambda^2, with a chi-square coefficient."""
    t, summand, s = _contested_summand()
    same = summand.subs(s["mu_p"], s["mu_s"])
    sums_to_zero = 2 * (s["mu_f"] - s["mu_s"])
    return identity(
        r"With $\hat\mu_s=\mu_s$ the $1/\lambda^2$ coefficient is "
        r"$\frac12\rho_s(\rho_f/\hat\rho_s)^2\left[(\mu_f-\mu_s)^2/\mu_s+2(\mu_f-\mu_s)\right]$, "
        r"response by response; the second summand sums to 0, the first to "
        r"$\chi^2(\mu_f\Vert\mu_s)$.",
        HALF * sp.diff(same, t, 2).subs(t, 0),
        HALF
        * s["rho_s"]
        * (s["rho_f"] / s["rho_p"]) ** 2
        * ((s["mu_f"] - s["mu_s"]) ** 2 / s["mu_s"] + sums_to_zero),
    )


def expansion_same_teacher_first_order() -> Identity:
    """T5: with the same teacher the 1/lambda term vanishes."""
    t, summand, s = _contested_summand()
    same = summand.subs(s["mu_p"], s["mu_s"])
    return identity(
        r"With $\hat\mu_s=\mu_s$ the $1/\lambda$ coefficient is $\rho_s\frac{\rho_f}{\hat\rho_s}"
        r"(\mu_s-\mu_f)$ response by response, which sums to 0.",
        sp.diff(same, t).subs(t, 0),
        s["rho_s"] * s["rho_f"] / s["rho_p"] * (s["mu_s"] - s["mu_f"]),
    )


def contested_convexity() -> Identity:
    """T5(b): each contested term is convex in the weight of the proxy."""
    mu_s, mu_f, mu_p, w = _positive("mu_s mu_f mu_p w")
    policy = w * mu_p + (1 - w) * mu_f
    return identity(
        r"$\frac{\mathrm d^2}{\mathrm dw^2}\mathrm{KL}(\mu_s\Vert w\hat\mu_s+(1-w)\mu_f)="
        r"\sum_y\mu_s(\hat\mu_s-\mu_f)^2/P^2\ge0$, response by response.",
        sp.diff(mu_s * sp.log(mu_s / policy), w, 2),
        mu_s * (mu_p - mu_f) ** 2 / policy**2,
    )


def quadratic_growth_constant() -> Identity:
    """T1(iv): the penalty rate with slack, as a square that cannot be negative."""
    lipschitz, growth, lam, x = _positive("L mu lambda x")
    slope = lipschitz * sp.sqrt(2 / growth)
    delta = lam * x**2 - slope * x
    return identity(
        r"If $\lambda x^2=L_f\sqrt{2/\mu}\thinspace x+\delta$ with $x=\sqrt{\hat G_s}$, then "
        r"$\frac{2L_f^2}{\mu\lambda^2}+\frac{2\delta}\lambda-\hat G_s"
        r"=\left(x-\frac{L_f}\lambda\sqrt{2/\mu}\right)^2\ge0$.",
        2 * lipschitz**2 / (growth * lam**2) + 2 * delta / lam - x**2,
        (x - slope / lam) ** 2,
    )


def hoeffding_constant() -> Identity:
    """T6(ii): the curvature of the log-moment function of two points never exceeds 1/4."""
    p, u = _positive("p u")
    cumulant = sp.log(1 - p + p * sp.exp(u)) - p * u
    tilted = p * sp.exp(u) / (1 - p + p * sp.exp(u))
    e = sp.Symbol("E", positive=True)  # e^u, which makes both sides rational
    return identity(
        r"$\varphi(u)=\log\mathbb E e^{U}-\mathbb E U$ on two points $u$ apart has "
        r"$\varphi(0)=\varphi'(0)=0$ and $\varphi''=\frac14-(q-\frac12)^2\le\frac14$. Hence "
        r"$\mathrm{KL}\le u^2/8$, and $u=2J\epsilon$ gives the $\frac12J^2\epsilon^2$ of T6: "
        "two points are the worst distribution of a given range.",
        sp.Matrix(
            [
                cumulant.subs(u, 0),
                sp.diff(cumulant, u).subs(u, 0),
                sp.diff(cumulant, u, 2).subs(sp.exp(u), e),
            ]
        ),
        sp.Matrix([0, 0, sp.Rational(1, 4) - (tilted.subs(sp.exp(u), e) - HALF) ** 2]),
    )


def sandwich_attained() -> Identity:
    """T7: on an isotropic quadratic the smooth and the PL bound coincide with the truth."""
    mu, distance, share = _positive("mu R t")
    radius = share * distance  # a radius below R for share < 1
    start = mu * distance**2 / 2
    return identity(
        r"For $f_f=\frac\mu2\Vert\theta-\theta_f\Vert^2$ and $\epsilon\le R$: "
        r"$G_f(\theta_\epsilon)=\left(\sqrt{G_0}-\epsilon\sqrt{\mu/2}\right)^2$, both ends of T7.",
        mu * (distance - radius) ** 2 / 2,
        sp.expand((sp.sqrt(start) - radius * sp.sqrt(mu / 2)) ** 2),
    )


def equalising_policy() -> Identity:
    """T11(b): the policy that is equally bad for the proxy's teacher and for every other."""
    k, c, n = _positive("k c n")
    eta, rest = 1 / (1 + k), k / (1 + k)  # rest = 1 - eta and k = (1 - eta) / eta
    log_c = sp.log(n) + sp.log(eta) + k * sp.log(rest)  # the definition of c, n = V - 1
    # log(eta / P(j)) with P(j) = c / (n (1 + c))
    surprise = sp.log(eta) + sp.log(n) + sp.log(1 + c) - log_c
    return identity(
        r"With $c=(V-1)\eta(1-\eta)^{(1-\eta)/\eta}$, $P(0)=\frac1{1+c}$ and the rest shared "
        r"evenly, the teacher $(1-\eta)\delta_0+\eta\delta_j$ costs $\log(1+c)$, as much as "
        r"$\delta_0$ does.",
        rest * sp.log(rest * (1 + c)) + eta * surprise,
        sp.log(1 + c),
    )


def parallel_sum_commuting() -> Identity:
    """Quadratic model, commuting curvatures: one eigendirection at a time."""
    h_f, h_s, lam, d = _positive("h_f h_s lambda d")
    moved = h_f * d / (h_f + lam * h_s)
    return identity(
        r"$G_f+\lambda G_s=\frac12d^2\left(h_f^{-1}+(\lambda h_s)^{-1}\right)^{-1}$ in each common "
        "eigendirection.",
        HALF * h_f * (d - moved) ** 2 + lam * HALF * h_s * moved**2,
        HALF * d**2 / (1 / h_f + 1 / (lam * h_s)),
    )


def parallel_sum() -> Identity:
    """Quadratic model: the optimal value is the parallel sum, for any two 2 x 2 curvatures."""
    (lam,) = _positive("lambda,")
    h_f = symmetric("f")
    h_s = symmetric("s")
    d = sp.Matrix(sp.symbols("d1 d2", real=True))
    moved = (h_f + lam * h_s).inv(method="ADJ") * h_f * d
    left = HALF * (moved - d).T * h_f * (moved - d) + lam * HALF * moved.T * h_s * moved
    inverse = sp.Matrix(h_f.inv(method="ADJ") + sp.Matrix(lam * h_s).inv(method="ADJ"))
    right = HALF * d.T * sp.Matrix(inverse.applyfunc(sp.cancel)).inv(method="ADJ") * d
    return identity(
        r"$G_f+\lambda G_s=\frac12d^\top(H_f:\lambda H_s)d$, $A:B=(A^{-1}+B^{-1})^{-1}$, "
        r"for generic symmetric $2\times2$ matrices.",
        left[0],
        right[0],
    )


def adam_step_attained() -> Identity:
    """T13: gradients that grow by beta2 / beta1 make Adam's fifth step exactly k_5 long."""
    b1, b2 = _positive("beta1 beta2")
    t = 5
    m = (1 - b1) * sum(b1**j * (b2 / b1) ** (t - j) for j in range(t)) / (1 - b1**t)
    v = (1 - b2) * sum(b2**j * (b2 / b1) ** (2 * (t - j)) for j in range(t)) / (1 - b2**t)
    geometric = sum((b1**2 / b2) ** j for j in range(t))
    return identity(
        r"$\hat m_t^2/\hat v_t=k_t^2$ at $t=5$ for the gradients $g_i\propto(\beta_2/\beta_1)^i$, "
        "the equality case of Cauchy-Schwarz.",
        m**2 / v,
        (1 - b1) ** 2 / (1 - b2) * (1 - b2**t) / (1 - b1**t) ** 2 * geometric,
    )


def overlap_homogeneity() -> Identity:
    """T15: scaling both masses scales the summand of T4 (Euler's form)."""
    a, b, lam = _positive("a b lambda")
    summand = _overlap_summand(a, b, lam)
    return identity(
        r"$a\partial_ag+b\partial_bg=g$ for $g(a,b)=b\log\left(1+\frac a{\lambda b}\right)$: "
        "$g$ is positively homogeneous of degree 1.",
        a * sp.diff(summand, a) + b * sp.diff(summand, b),
        summand,
    )


def overlap_concavity() -> Identity:
    """T15: the Hessian of T4's summand is minus a square, so merging contexts raises the sum."""
    a, b, lam = _positive("a b lambda")
    direction = sp.Matrix([b, -a])
    return identity(
        r"$\nabla^2 g=-\frac1{b(a+\lambda b)^2}vv^\top\preceq0$ with $v=(b,-a)^\top$.",
        sp.hessian(_overlap_summand(a, b, lam), (a, b)),
        -direction * direction.T / (b * (a + lam * b) ** 2),
    )


def _overlap_summand(a: sp.Expr, b: sp.Expr, lam: sp.Expr) -> sp.Expr:
    return b * sp.log(1 + a / (lam * b))


def _coin(name: str) -> sp.Expr:
    """A probability, written by its odds."""
    (odds,) = _positive(f"{name},")
    return odds / (1 + odds)


def traded_answers() -> Identity:
    """T21: a model that only moves mass between safe and other answers loses the divergence."""
    q, p, c = _coin("k"), _coin("m"), _coin("c")
    before, after = (q * c, q * (1 - c), 1 - q), (p * c, p * (1 - c), 1 - p)
    return identity(
        r"$\mathrm{KL}(P_s\Vert P)=\mathrm{kl}(q\Vert p)$ where $P$ keeps the proportions among "
        "the safe answers and among the others (two safe answers, one other): T21 is attained.",
        sp.Add(*(b * sp.log(b / a) for b, a in zip(before, after, strict=True))),
        q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p)),
    )


def coin_slopes() -> Identity:
    """T21: the divergence of two coins rises in q and falls in p below q, so limits may enter."""
    k, m = _positive("k m")
    q, p = k / (1 + k), m / (1 + m)
    divergence = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    return identity(
        r"$\partial_q\mathrm{kl}(q\Vert p)=\log\frac{q(1-p)}{p(1-q)}$ and "
        r"$\partial_p\mathrm{kl}(q\Vert p)=\frac{p-q}{p(1-p)}$.",
        # By the odds: dq / dk = 1 / (1 + k)^2.
        sp.Matrix([sp.diff(divergence, k) * (1 + k) ** 2, sp.diff(divergence, m) * (1 + m) ** 2]),
        sp.Matrix([sp.log(k / m), (p - q) / (p * (1 - p))]),
    )


def fair_bet() -> Identity:
    """T23: at the boundary of the null a bet neither gains nor loses on average."""
    b, g, stake = _positive("b g lambda")
    return identity(
        r"$\mathbb E[1+\lambda(b-D)]=1$ for answers lost with probability $b+g$ and gained with "
        r"$g$, so that $\mathbb ED=b$.",
        (1 - b - 2 * g) * (1 + stake * b)
        + g * (1 + stake * (b + 1))
        + (b + g) * (1 + stake * (b - 1)),
        sp.S.One,
    )


# statement -> what sympy proves of it.
IDENTITIES: dict[str, tuple[Callable[[], Identity], ...]] = {
    "T1": (quadratic_growth_constant,),
    "T3": (compensation, jensen_shannon, optimal_mixture, value_slope, pinsker_split),
    "T5": (
        expansion_first_order,
        expansion_same_teacher_first_order,
        expansion_same_teacher,
        contested_convexity,
    ),
    "T6": (hoeffding_constant,),
    "T7": (sandwich_attained,),
    "T10": (front_slope,),
    "T11": (equalising_policy,),
    "T13": (adam_step_attained,),
    "T15": (overlap_homogeneity, overlap_concavity),
    "T21": (traded_answers, coin_slopes),
    "T23": (fair_bet,),
    **TRAINING,
    "The quadratic model": (parallel_sum_commuting, parallel_sum),
}
