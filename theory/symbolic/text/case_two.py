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
For every $\theta$ with $\Vert\theta-\theta_s\Vert\le\epsilon$, the hybrid's included: (i) if on the
ball $f_s$ is Lipschitz with constant $L_s$, or smooth with constant $\beta_s$,
<<local>>
If its Hessian is Lipschitz with constant $M$, $\nabla f_s(\theta_s)=0$ and $d=\theta-\theta_s$,
then $G_s\le G_s(\theta_s)+\frac12d^\top H_sd+\frac M6\epsilon^3$.

(ii) Under (A-J) the slope from the aligned model is at most $2J$, so
$G_s\le G_s(\theta_s)+2J\epsilon$. For **any** aligned model, without any smoothness assumption,
<<logits>>
which is $\frac12J^2\epsilon^2$ when $P_{\theta_s}=\mu_s$ almost everywhere under $\rho_s$. No
proxy data, no overlap and no TV of data sets enters: TV here is the aligned model's own distance
from the safety targets.

(iii) If $f_s$ grows quadratically (A-QG, constant $\mu_s$) around an isolated $\theta_s$, then
$G_s(\theta)\ge\frac{\mu_s}2\Vert\theta-\theta_s\Vert^2$. A number follows only if something says
how far the minimiser of Case II moves. With $g=\Vert\nabla f_f(\theta_s)\Vert$ and
$R=\mathrm{dist}(\theta_s,\arg\min f_f)$,
<<growth>>
and this is $\frac{\mu_s}2\epsilon^2$ when the radius binds. It needs the exact minimiser.

*Computed.* A table has (i) and (ii) with $J=1/\sqrt2$ and
$L_s=(2\sum_x\rho_s(x)^2)^{1/2}$, and not (iii): its $f_s$ is flat along the logits of
unused contexts. A quadratic problem has the smooth form of (i), and (iii) by convexity. Constants
have what they name, and of (ii) the first form alone if $G_s(\theta_s)\gt0$; a measured
displacement stands in for $\epsilon$ under any strategy, but not in (iii). The form with $M$ is
not computed.
""",
            local=r"""
G_s(\theta)\le G_s(\theta_s)+\min\big\{L_s\epsilon,\
\Vert\nabla f_s(\theta_s)\Vert\epsilon+\tfrac{\beta_s}2\epsilon^2\big\}.
""",
            logits=r"""
G_s(\theta)\le G_s(\theta_s)+2J\epsilon\,\mathbb E_{\rho_s}\mathrm{TV}(\mu_s,P_{\theta_s})
+\tfrac12J^2\epsilon^2,
""",
            growth=r"""
G_s(\theta_\epsilon)\ge\frac{\mu_s}2\min\{\epsilon,\ r\}^2,\qquad r=\begin{cases}
R&\text{if }f_f\text{ is convex}\\
g/\beta_f&\text{if }f_f\text{ is smooth}
\end{cases}
""",
        ),
        assumptions=(
            "(A-L), (A-β), (A-J) or (A-QG), as named in each form",
            r"(iii): $\delta=0$, and $f_f$ convex with $R$ known or smooth with $g/\beta_f$ known",
        ),
        proof=r"""
(i) Lipschitz and descent inequalities. (ii) With $u=z_\theta-z_{\theta_s}$, $|u|\le J\epsilon$:
$\ell(\theta;x,y)-\ell(\theta_s;x,y)=\log\mathbb E_{P_{\theta_s}}e^u-u(y)$, so every loss moves by
at most $2J\epsilon$; in the mean over $\mu_s$ it is
$\mathrm{KL}(P_{\theta_s}\Vert P_\theta)+\mathbb E_{P_{\theta_s}}u-\mathbb E_{\mu_s}u$, where
Hoeffding's lemma bounds the divergence by $(2J\epsilon)^2/8$ and the rest is at most
$2J\epsilon\mathrm{TV}$. (iii) $\theta_\epsilon$ lies on the sphere or is a stationary point of
$f_f$. A stationary point of a convex $f_f$ is a minimiser, so at least $R$ away; one of a smooth
$f_f$ is at least $g/\beta_f$ away, as the gradient must fall from $g$ to 0.
""",
        functions=("theory.parameter_constraint.safety_within_radius",),
        tests=(_TEST,),
        figures=("estimate_pairs", "radius_price", "predicted_measured", "defences_depth"),
    ),
    Statement(
        id="T7",
        title="What a radius leaves of capability, from both sides",
        body=fill(
            r"""
$G_0=G_f(\theta_s)$, $g=\Vert\nabla f_f(\theta_s)\Vert$, $R=\mathrm{dist}(\theta_s,\arg\min f_f)$,
$t=\min(1,\epsilon/R)$.

*Upper, for* $\theta_\epsilon$ *of Case II.*

- Convex with modulus $\mu_f\ge0$: $(1-t)G_0-\frac{\mu_f}2t(1-t)R^2$.
- Smooth with constant $\beta_f$: $G_0-gs+\frac{\beta_f}2s^2$ with $s=\min(\epsilon,g/\beta_f)$.
- (A-PL) on the ball: the right end of the display below.

*Lower, for every* $\theta$ *in the ball*, the hybrid's included.

- Convex with modulus $\mu_f\ge0$: $G_0-gs+\frac{\mu_f}2s^2$ with $s=\min(\epsilon,g/\mu_f)$, which
  is $G_0-g\epsilon$ for $\mu_f=0$.
- Smooth with constant $\beta_f$: $G_0-g\epsilon-\frac{\beta_f}2\epsilon^2$ and, if smooth
  everywhere, the left end of the display below.
- (A-J): $G_0-2J\epsilon$.

So under (A-PL) and smoothness
<<sandwich>>
*Trade-off.* If $\theta_s$ minimises $f_s$, a safety budget $b$ allows
$\epsilon=\sqrt{2b/\beta_s}$ (T6), hence $\sqrt{G_f}\le(\sqrt{G_0}-\sqrt{\mu_fb/\beta_s})_+$ is
reached with $G_s\le b$.

*Computed.* A table is convex with $\mu_f=0$, has $\beta_f=\frac12\max_x\rho_f(x)$, $J=1/\sqrt2$ and
no (A-PL); a quadratic problem has $\mu_f$ the least positive eigenvalue of $H_f$, and no (A-J).
Constants have what they name, their upper forms gain $\delta+2e_m'$, and a measured displacement
stands in for $\epsilon$ in the lower ones.
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
stays in the ball for a length $\epsilon$. Lower: convexity gives
$f_f(\theta)\ge f_f(\theta_s)-gr+\frac{\mu_f}2r^2$ at distance $r$, which is least at $r=s$;
descent lemma; smoothness gives $\Vert\nabla f_f\Vert^2\le2\beta_fG_f$, so $\sqrt{G_f}$ is
Lipschitz with constant $\sqrt{\beta_f/2}$; under (A-J) no log-probability rises by more than
$2J\epsilon$.
""",
        functions=("theory.parameter_constraint.capability_within_radius",),
        tests=(_TEST,),
        figures=("estimate_pairs", "radius_price"),
    ),
    Statement(
        id="T8",
        title="Separation of the two cases, and their crossover",
        body=fill(
            r"""
(a) *Case I can be free.* Under (A-R), if targets agree on the overlap, or it is empty, then $G_f=0$
for every $\lambda\gt0$. Also $G_s=0$ if the proxy has the same teacher and either
$\mathrm{supp}\thinspace\rho_s\subseteq\mathrm{supp}\thinspace\hat\rho_s$, or (A-T) holds with
$\mathrm{supp}(\rho_s)\cap\mathrm{supp}(\rho_f)\subseteq\mathrm{supp}(\hat\rho_s)$ and
$P_{\theta_s}=\mu_s$ off the proxy. The constrained form with $\varepsilon\gt0$ has $G_f=0$ as well,
but not $G_s=0$: it fits the task for nothing and may still spend $\varepsilon$ on contexts that the
task does not use.

(b) Case II under (A-J), at *any* overlap: $G_f(\theta_\epsilon)\ge(G_f(\theta_s)-2J\epsilon)_+$.
So a radius below $G_f(\theta_s)/2J$ costs capability even when the tasks share no context.

(c) In convex settings (tabular policies, or losses convex in $\theta$) Case I with $\hat D_s=D_s$
traces the whole Pareto front, so it weakly dominates Case II at every $\epsilon$: with $v$ the
front and $S$ an upper bound on $G_s(\theta_\epsilon)$, $G_f(\theta_\epsilon)\ge v(S)$.

(d) If (A-J) and (A-QG, constant $\mu_s$, at the only minimiser $\theta_s$) hold **everywhere**, and
not just on a ball, then reaching $G_f(\theta)\le g$ forces
<<forced>>
If $f_f$ is smooth everywhere with constant $\beta_f$, it forces
$\Vert\theta-\theta_s\Vert\ge(\sqrt{G_f(\theta_s)}-\sqrt g)_+\sqrt{2/\beta_f}$ instead, and then
$G_s\ge\frac{\mu_s}2$ times its square.

*Crossover.* The guarantee of Case I never falls below its floor $\Phi$ (T5), nor below
$G_s(\theta_s)+2B\thinspace\mathrm{TV}$ (T1), however large $\lambda$ is; Case II guarantees T6(ii)
without data, which is $\frac12J^2\epsilon^2$ from an exactly aligned model. So Case II has the
better *guarantee* up to the radius where the two are equal, $\epsilon=\sqrt{2\Phi}/J$ or
$2\sqrt{B\thinspace\mathrm{TV}}/J$: parameter constraints are for bad proxies and small gains in
capability. It compares guarantees: the exact gap of Case I may dip below $\Phi$ (T5(c)).

*Computed.* (a) For a quadratic problem it is claimed only if $H_sH_f=0$, which the numbers can
show; ranges that meet only in 0 would do. Constants claim it for $\lambda$ with
$\rho_f(O)=0$, the same teacher, finite coverage and an exact minimiser. (b) Not for a quadratic
problem, which has no logits. (c) For a table $S$ is T6's best form, for a quadratic problem the
exact gap; constants have no front. (d) $g$ is a constant, or what the exact minimiser reaches. A
table has the radius alone, as its $f_s$ is flat along unused logits; a quadratic problem has the
smooth form. The crossover of a table is with $\Phi$, that of constants with the smaller limit
known, that of a quadratic problem is 0, as its proxy is perfect.
""",
            forced=r"""
\Vert\theta-\theta_s\Vert\ge\frac{G_f(\theta_s)-g}{2J},\qquad
G_s(\theta)\ge\frac{\mu_s}{8J^2}\big(G_f(\theta_s)-g\big)_+^2 .
""",
        ),
        assumptions=(
            "as named in each part; (a) needs the exact minimiser",
            "(d) needs (A-J), or smoothness, and (A-QG) on all of the parameter space",
        ),
        proof=r"""
(a) T2's corollary and T5; in the constrained form, the task optimum that equals $\hat\mu_s$ on the
rest of the proxy has $\hat G_s=0$, so it is allowed. (b) T7 under (A-J). (c) The set of attainable
gap pairs has a convex lower boundary, whose every point minimises a weighted sum. (d) Solve (b),
or the left end of T7's display, for the radius; quadratic growth. As $\theta$ may be anywhere, a
constant that holds on a ball says nothing about the fine-tunes outside. The crossover sets T6(ii)
equal to the limit of Case I's guarantee.
""",
        functions=(
            "theory.parameter_constraint.separation",
            "theory.parameter_constraint.crossover_radius",
        ),
        tests=("tests/theory/test_separation.py",),
        figures=("radius_price",),
    ),
    Statement(
        id="T9",
        title="The hybrid: mismatch costs only the radius",
        body=fill(
            r"""
$\min f_f+\lambda\hat f_s$ subject to $\Vert\theta-\theta_s\Vert\le\epsilon$, under (A-J) and with
$F_\lambda(\theta_s)$ finite:
<<main>>
and, as in T6, $G_s(\theta)\le\frac12J^2\epsilon^2$ if $P_{\theta_s}=\mu_s$. The mismatch is
multiplied by the radius instead of by $2B$. The capability gap, without (A-J), is at most
<<capability>>
*Sharper for a table*, in centred logits, with $g=\Vert\nabla f_f(\theta_s)\Vert$:
<<table>>
so $2\epsilon$ stands for $4J\epsilon=2\sqrt2\epsilon$ and $g$ for $2J$. *Sharper for a quadratic
problem*, whose proxy is perfect, half the value gap suffices for its exact minimiser:
<<quadratic>>
*Where the start is infinite.* If $f_f$ or $\hat f_s$ is infinite at $\theta_s$ (some answer of the
data has probability 0, and no radius moves a logit of $-\infty$), then $F_\lambda$ is infinite on
the whole ball, every $\theta$ there is a minimiser and the first step of the proof would be
$\infty-\infty$. The statement then does not apply; the bound without data still does.

*Computed.* Both forms for a table; T1(v) is added for constants, for which a penalty with a
measured displacement counts as a hybrid, and the capability form is left out.
""",
            main=r"""
G_s(\theta)\le G_s(\theta_s)+\frac{\min\{2J\epsilon,\,G_f(\theta_s)\}+\delta}\lambda
+4J\epsilon\,\mathrm{TV}(D_s,\hat D_s)
""",
            capability=r"""
G_f(\theta)\le G_f(\theta_s)+\lambda\hat G_s(\theta_s)+\delta .
""",
            table=r"""
G_s(\theta)\le G_s(\theta_s)+\frac{\min\{g\epsilon,\,G_f(\theta_s)\}}\lambda
+2\epsilon\,\mathrm{TV}(D_s,\hat D_s),
""",
            quadratic=r"""
G_s(\theta)\le\frac{\min\{g\epsilon,\,G_f(\theta_s)\}}{2\lambda}.
""",
        ),
        assumptions=(
            "(A-J) on the ball",
            r"$\theta$ minimises $F_\lambda$ in the ball to within $\delta$",
            r"$F_\lambda(\theta_s)$ is finite",
        ),
        proof=r"""
$\theta_s$ is feasible, so T1(i) applies; every loss moves by at most $2J\epsilon$, hence
$\mathrm{osc}(h)\le4J\epsilon$ and $f_f(\theta_s)-f_f(\theta)\le2J\epsilon$. Capability:
$F_\lambda(\theta)\le F_\lambda(\theta_s)+\delta$ and $\hat G_s(\theta)\ge0$. Table: convexity gives
$f_f(\theta_s)-f_f(\theta)\le g\epsilon$; at a context whose logits move by $u_x$ no loss moves by
more than the range of $u_x$, at most $\sqrt2\Vert u_x\Vert$, and
$\sqrt2(\Vert u_x\Vert+\Vert u_{x'}\Vert)\le2\epsilon$ for two contexts. Quadratic: the minimiser of
a convex function on the ball has $\langle\nabla F_\lambda(\theta),\theta_s-\theta\rangle\ge0$, and
that product is at most $f_f(\theta_s)-f_f(\theta)-2\lambda G_s(\theta)$.
""",
        functions=("theory.hybrid.hybrid_safety",),
        tests=("tests/theory/test_hybrid.py",),
        figures=("strategy_plane",),
    ),
)
