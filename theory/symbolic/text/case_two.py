"""T6 to T9: Case II, the constraint on the parameters, and the hybrid."""

from __future__ import annotations

from theory.symbolic.latex import Statement, fill

_TEST = "tests/theory/test_parameter_constraint.py"

STATEMENTS = (
    Statement(
        id="T6",
        title="What a radius guarantees for safety",
        body=fill(
            r"""
For every $\theta$ with $\Vert\theta-\theta_s\Vert\le\epsilon$: (i) if $f_s$ is $L_s$-Lipschitz,
or $\beta_s$-smooth, on the ball,
<<local>>
With an $M$-Lipschitz Hessian, $\nabla f_s(\theta_s)=0$ and $d=\theta-\theta_s$:
$G_s\le G_s(\theta_s)+\frac12d^\top H_sd+\frac M6\epsilon^3$.

(ii) Under (A-J) $L_s\le2J$ from the aligned model, and without any smoothness assumption
<<logits>>
which is $\frac12J^2\epsilon^2$ when $P_{\theta_s}=\mu_s$ almost everywhere under $\rho_s$. No
proxy data, no overlap and no TV of data sets enters.

(iii) If $f_s$ grows quadratically (A-QG, constant $\mu_s$) around an isolated $\theta_s$, then
$G_s(\theta)\ge\frac{\mu_s}2\Vert\theta-\theta_s\Vert^2$, which is $\frac{\mu_s}2\epsilon^2$ at
$\theta_\epsilon$ when the constraint is active.
""",
            local=r"""
G_s(\theta)\le G_s(\theta_s)+\min\big\{L_s\epsilon,\
\Vert\nabla f_s(\theta_s)\Vert\epsilon+\tfrac{\beta_s}2\epsilon^2\big\}.
""",
            logits=r"""
G_s(\theta)\le G_s(\theta_s)+2J\epsilon\,\mathbb E_{\rho_s}\mathrm{TV}(\mu_s,P_{\theta_s})
+\tfrac12J^2\epsilon^2,
""",
        ),
        assumptions=("(A-L), (A-β), (A-J) or (A-QG), as named in each form",),
        proof=r"""
(i) Lipschitz and descent inequalities. (ii) With $u=z_\theta-z_{\theta_s}$, $|u|\le J\epsilon$:
$\ell(\theta;x,y)-\ell(\theta_s;x,y)=\log\mathbb E_{P_{\theta_s}}e^u-u(y)$, so every loss moves by
at most $2J\epsilon$; in the mean over $\mu_s$ it is
$\mathrm{KL}(P_{\theta_s}\Vert P_\theta)+ \mathbb E_{P_{\theta_s}}u-\mathbb E_{\mu_s}u$, where
Hoeffding's lemma bounds the divergence by $(2J\epsilon)^2/8$ and the rest is at most
$2J\epsilon\mathrm{TV}$. (iii) Definition.
""",
        functions=("theory.parameter_constraint.safety_within_radius",),
        tests=(_TEST,),
        figures=("estimate_pairs",),
    ),
    Statement(
        id="T7",
        title="What a radius leaves of capability, from both sides",
        body=fill(
            r"""
$G_0=G_f(\theta_s)$, $g=\Vert\nabla f_f(\theta_s)\Vert$, $R=\mathrm{dist}(\theta_s,\arg\min f_f)$,
$t=\min(1,\epsilon/R)$.

*Upper, for* $\theta_\epsilon$. Convex of modulus $\mu_f\ge0$: $(1-t)G_0-\frac{\mu_f}2t(1-t)R^2$.
$\beta_f$-smooth: $G_0-(gs-\frac{\beta_f}2s^2)$ with $s=\min(\epsilon,g/\beta_f)$. (A-PL) on the
ball: the right end of the display below.

*Lower, for every* $\theta$ *in the ball*. Convex: $G_0-g\epsilon$. $\beta_f$-smooth:
$G_0-g\epsilon-\frac{\beta_f}2\epsilon^2$ and, smooth everywhere, the left end below. (A-J):
$G_0-2J\epsilon$. So under (A-PL) and smoothness
<<sandwich>>
*Trade-off.* A safety budget $s$ allows $\epsilon=\sqrt{2s/\beta_s}$, hence
$\sqrt{G_f}\le(\sqrt{G_0}- \sqrt{\mu_fs/\beta_s})_+$ is reached with $G_s\le s$.
""",
            sandwich=r"""
\big(\sqrt{G_0}-\epsilon\sqrt{\beta_f/2}\big)_+^2\le G_f(\theta_\epsilon)
\le\big(\sqrt{G_0}-\epsilon\sqrt{\mu_f/2}\big)_+^2 .
""",
        ),
        assumptions=("convexity, (A-β), (A-PL) or (A-J), as named in each form",),
        proof=r"""
Upper: the comparator $\theta_s+t(\theta_f-\theta_s)$; one step along $-\nabla f_f$; along the
gradient flow by arc length $\sqrt{G_f}$ falls at least at rate $\sqrt{\mu_f/2}$, and the flow
stays in the ball for a length $\epsilon$. Lower: first-order convexity; descent lemma; smoothness
gives $\Vert\nabla f_f\Vert^2\le2\beta_fG_f$, so $\sqrt{G_f}$ is $\sqrt{\beta_f/2}$-Lipschitz;
under (A-J) no log-probability rises by more than $2J\epsilon$.
""",
        functions=("theory.parameter_constraint.capability_within_radius",),
        tests=(_TEST,),
    ),
    Statement(
        id="T8",
        title="Separation of the two cases, and their crossover",
        body=fill(
            r"""
(a) Case I with a same-teacher proxy, where overlap is empty or targets agree on it, and either
(A-R) with $\mathrm{supp}\thinspace\rho_s\subseteq\mathrm{supp}\thinspace\hat\rho_s$ or (A-T) with
$\mathrm{supp}(\rho_s)\cap\mathrm{supp}(\rho_f)\subseteq\mathrm{supp}(\hat\rho_s)$: $G_s=G_f=0$
for every $\lambda\gt0$.

(b) Case II under (A-J), at *any* overlap: $G_f(\theta_\epsilon)\ge(G_f(\theta_s)-2J\epsilon)_+$.
So a radius below $G_f(\theta_s)/2J$ costs capability even when the tasks share no context.

(c) In convex settings (tabular policies, or losses convex in $\theta$) Case I with $\hat D_s=D_s$
traces the whole Pareto front, so it weakly dominates Case II at every $\epsilon$.

(d) Under (A-J) and (A-QG, $\mu_s$) reaching $G_f\le g$ forces
<<forced>>
*Crossover.* Case I cannot go below its floor $\Phi$ (T5), nor its guarantee below
$2B\thinspace\mathrm{TV}$ (T1); Case II guarantees $\frac12J^2\epsilon^2$ without data. So Case II
has the better *guarantee* up to $\epsilon=\sqrt{2\Phi}/J$ (or
$2\sqrt{B\thinspace\mathrm{TV}}/J$): parameter constraints are for bad proxies and small gains in
capability.
""",
            forced=r"""
\Vert\theta-\theta_s\Vert\ge\frac{G_f(\theta_s)-g}{2J},\qquad
G_s(\theta)\ge\frac{\mu_s}{8J^2}\big(G_f(\theta_s)-g\big)_+^2 .
""",
        ),
        assumptions=("as named in each part",),
        proof=r"""
(a) T2's corollary and T5. (b) T7 under (A-J). (c) The set of attainable gap pairs has a convex
lower boundary, whose every point minimises a weighted sum. (d) Solve (b) for the radius;
quadratic growth. The crossover sets $\frac12J^2\epsilon^2$ equal to the limit of Case I.
""",
        functions=(
            "theory.parameter_constraint.separation",
            "theory.parameter_constraint.crossover_radius",
        ),
        tests=("tests/theory/test_separation.py",),
    ),
    Statement(
        id="T9",
        title="The hybrid: mismatch costs only the radius",
        body=fill(
            r"""
$\min f_f+\lambda\hat f_s$ subject to $\Vert\theta-\theta_s\Vert\le\epsilon$, under (A-J):
<<main>>
and, as in T6, $G_s(\theta)\le\frac12J^2\epsilon^2$ if $P_{\theta_s}=\mu_s$. The mismatch is
multiplied by the radius instead of by $2B$.
""",
            main=r"""
G_s(\theta)\le G_s(\theta_s)+\frac{\min\{2J\epsilon,\,G_f(\theta_s)\}+\delta}\lambda
+4J\epsilon\,\mathrm{TV}(D_s,\hat D_s).
""",
        ),
        assumptions=("(A-J)", r"$\theta$ minimises $F_\lambda$ in the ball to within $\delta$"),
        proof=r"""
$\theta_s$ is feasible, so T1(i) applies; every loss moves by at most $2J\epsilon$, hence
$\mathrm{osc}(h)\le4J\epsilon$ and $f_f(\theta_s)-f_f(\theta)\le2J\epsilon$.
""",
        functions=("theory.hybrid.hybrid_safety",),
        tests=("tests/theory/test_hybrid.py",),
    ),
)
