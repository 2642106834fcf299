"""T1 to T5: Case I, the constraint on the alignment loss."""

from __future__ import annotations

from theory.symbolic.latex import Statement, fill

_TEST = "tests/theory/test_loss_constraint.py"

STATEMENTS = (
    Statement(
        id="T1",
        title="Safety gap by the value gap and the proxy mismatch",
        body=fill(
            r"""
Any model class, with $F_\lambda(\theta_s)$ finite. (i) Let
$h=\ell(\theta_\lambda;\cdot)-\ell(\theta_s;\cdot)$ and $\mathrm{osc}(h)=\sup h-\inf h\le2B$, taken
only over the $(x,y)$ where $D_s$ and $\hat D_s$ differ. Then
<<main>>
(ii) The last term may be replaced by
$B\sqrt{2\min(\mathrm{KL}(D_s\Vert\hat D_s), \mathrm{KL}(\hat D_s\Vert D_s))}$; by
$2L_\ell W_1(D_s,\hat D_s)$ if $\ell(\theta;\cdot)$ is Lipschitz in $(x,y)$ with constant $L_\ell$
for every $\theta$; or by the integral probability metric over the functions $h$.

(iii) Context and teacher part. With the same teacher the second terms vanish. Where the proxy has
no mass its teacher is free, and may be taken to agree.
<<split>>
(iv) If $\hat f_s$ grows quadratically (A-QG) with constant $\mu$ and $f_f$ is Lipschitz with
constant $L_f$,
<<growth>>
(v) *Finite samples.* If empirical and true losses differ by at most $e_n$ (proxy) and $e_m'$
(task) uniformly over $\Theta$, a run that minimises the empirical objective to within $\delta$
minimises $F_\lambda$ to within $\delta+2\lambda e_n+2e_m'$. So (i) gains $2e_n+2e_m'/\lambda$, and
(iv) twice that. A finite class of size $N$ has $e_n=B\sqrt{\log(2N/p)/2n}$ with probability $1-p$.

*Tightness.* Two responses, $P\in[e^{-B},1-e^{-B}]$, and contexts $U$ with $\rho_s(U)=\eta$,
$\hat\rho_s(U)=0$, $\rho_f(U)\gt0$ on which $\mu_s=\delta_0$ and $\mu_f=\delta_1$: then
$G_s(\theta_\lambda)\ge\eta(B+\log(1-e^{-B}))$ for every $\lambda$, so the TV term is right up to
a factor 2.

*Computed.* A table takes $h$ of its exact minimiser, in the first line of (i). Constants take $2B$
or a known oscillation, $G_f(\theta_s)$ for the value gap, and (v). A quadratic problem has a
perfect proxy, hence no mismatch, and in (iv) $L_f=\sqrt{2\beta_fG_f(\theta_s)}$, the largest slope
of $f_f$ where it is below $f_f(\theta_s)$. Where $F_\lambda(\theta_s)$ is infinite the comparison
with $\theta_s$ proves nothing and the bound is infinite. The integral probability metric and the
finite class are not computed.
""",
            main=r"""
\begin{aligned}
G_s(\theta_\lambda)&\le G_s(\theta_s)+\frac{f_f(\theta_s)-f_f(\theta_\lambda)+\delta}{\lambda}
+\mathrm{osc}(h)\,\mathrm{TV}(D_s,\hat D_s)\\
&\le G_s(\theta_s)+\frac{G_f(\theta_s)+\delta}{\lambda}+2B\,\mathrm{TV}(D_s,\hat D_s).
\end{aligned}
""",
            split=r"""
\begin{aligned}
\mathrm{TV}(D_s,\hat D_s)&\le\mathrm{TV}(\rho_s,\hat\rho_s)
+\mathbb E_{\rho_s}\mathrm{TV}(\mu_s,\hat\mu_s),\\
\mathrm{KL}(D_s\Vert\hat D_s)&=\mathrm{KL}(\rho_s\Vert\hat\rho_s)
+\mathbb E_{\rho_s}\mathrm{KL}(\mu_s\Vert\hat\mu_s).
\end{aligned}
""",
            growth=r"""
\hat G_s(\theta_\lambda)\le\frac{2L_f^2}{\mu\lambda^2}+\frac{2\delta}{\lambda}.
""",
        ),
        assumptions=(
            r"(A-B) in (i) when $\mathrm{osc}(h)$ is not known and in (ii)",
            r"$\theta_\lambda$ minimises $F_\lambda$ to within $\delta$",
            r"$F_\lambda(\theta_s)$ is finite",
            r"(A-QG) of $\hat f_s$ and (A-L) of $f_f$ in (iv) only",
        ),
        proof=r"""
(i) $F_\lambda(\theta_\lambda)\le F_\lambda(\theta_s)+\delta$ says that
$\mathbb E_{\hat D_s}h\le(f_f(\theta_s)-f_f(\theta_\lambda)+\delta)/\lambda$, which would be
$\infty-\infty$ if $F_\lambda(\theta_s)$ were infinite. Changing the measure costs
$\mathbb E_{D_s}h-\mathbb E_{\hat D_s}h\le\mathrm{osc}(h)\mathrm{TV}(D_s,\hat D_s)$, an integral
against $D_s-\hat D_s$, which sees $h$ only where the two differ; finally
$f_f(\theta_\lambda)\ge f_f^\star$. (ii) Pinsker's inequality; Kantorovich duality. (iii)
Telescope through $\rho_s\hat\mu_s$; chain rule. (iv) Compare with the projection of
$\theta_\lambda$ on the minimisers of $\hat f_s$:
$\lambda\hat G_s\le L_f\sqrt{2\hat G_s/\mu}+\delta$. The difference of the two sides of the claim
is then at least a square. (Bounding the root of the quadratic and squaring it, as is more usual,
would give $4L_f^2$ for $2L_f^2$.) (v) Each of two expectations is off by the uniform deviation
twice.
""",
        functions=("theory.loss_constraint.value_gap", "theory.mismatch.context_teacher_split"),
        tests=(_TEST, "tests/theory/test_mismatch.py"),
        figures=("audit_tightness", "adversarial_worst", "predicted_measured"),
    ),
    Statement(
        id="T2",
        title="Both gaps by a comparator",
        body=fill(
            r"""
Any model class, and every choice of minimisers $\hat\theta_s,\theta_f$ (take the best):
<<main>>
Hence $G_f(\theta_\lambda)\le\min(\lambda\hat G_s(\theta_f),G_f(\hat\theta_s))+\delta$ and
$\hat G_s(\theta_\lambda)\le\min(G_f(\hat\theta_s)/\lambda,\hat G_s(\theta_f))+\delta/\lambda$;
also $\hat G_s(\theta_f)\le G_s(\theta_f)+2B\thinspace\mathrm{TV}(D_s,\hat D_s)$. For exact
minimisers $\hat G_s(\theta_\lambda)$ does not increase and $G_f(\theta_\lambda)$ does not
decrease with $\lambda$.

*Context overlap beyond tables.* Under (A-R)
<<overlap>>
so an empty overlap, or agreement on it, makes both gaps 0 for every $\lambda$.

*Constrained form.* $\hat G_s(\theta)\le\varepsilon$ implies
$G_s(\theta)\le G_s(\theta_s)+\varepsilon+2B\thinspace\mathrm{TV}(D_s,\hat D_s)$. If $f_f$ and
$\hat f_s$ are convex (in $\theta$, or in $P$ under (A-T)), then $v(\varepsilon)=\min G_f$ subject
to $\hat G_s\le\varepsilon$ is convex and non-increasing, $v'(\varepsilon(\lambda))=-\lambda$, and
$v(\varepsilon)\le(1-\varepsilon/\hat G_s(\theta_f))_+G_f(\hat\theta_s)$.

*Computed.* A table takes the sums over the overlap, a quadratic problem its two limits
$\lambda\to0$ and $\lambda\to\infty$, which are the best minimisers. Constants take
$\hat G_s(\theta_f)$ and $G_f(\hat\theta_s)$ as given, with
$\delta+2\lambda e_n+2e_m'$ for $\delta$ (T1(v)); their constrained form takes T1's mismatch terms.
""",
            main=r"""
G_f(\theta_\lambda)+\lambda\hat G_s(\theta_\lambda)
\le\min\{G_f(\hat\theta_s),\ \lambda\hat G_s(\theta_f)\}+\delta .
""",
            overlap=r"""
G_f(\theta_\lambda)\le\lambda\sum_{x\in O}\hat\rho_s\,\mathrm{KL}(\hat\mu_s\Vert\mu_f),\qquad
\hat G_s(\theta_\lambda)\le\frac1\lambda\sum_{x\in O}\rho_f\,\mathrm{KL}(\mu_f\Vert\hat\mu_s),
""",
        ),
        assumptions=(
            r"$\theta_\lambda$ minimises $F_\lambda$ to within $\delta$",
            "(A-R) for the sums over the overlap; (A-B) where TV enters; convexity for the chord",
        ),
        proof=r"""
$F_\lambda(\theta_\lambda)$ is at most $F_\lambda(\theta_f)+\delta$ and at most
$F_\lambda(\hat\theta_s)+\delta$; subtract $f_f^\star+\lambda\hat f_s^\star$. Monotonicity: add
the two optimality inequalities at $\lambda\lt\lambda'$. Under (A-R) the best $\theta_f$ equals
$\hat\mu_s$ off $\mathrm{supp}\thinspace\rho_f$, and likewise for $\hat\theta_s$. The chord joins
$(0,v(0))$ with $v(0)\le G_f(\hat\theta_s)$ to $(\hat G_s(\theta_f),0)$ on a convex curve.
""",
        functions=("theory.loss_constraint.comparator",),
        tests=(_TEST,),
    ),
    Statement(
        id="T3",
        title="The exact tabular solution",
        body=fill(
            r"""
With $w(x)=\lambda\hat\rho_s(x)/(\rho_f(x)+\lambda\hat\rho_s(x))$ the minimiser of $F_\lambda$ is
<<policy>>
and its gaps are
<<gaps>>
with the Jensen-Shannon divergence $\mathrm{JS}_w(a,b)=H((1-w)a+wb)-(1-w)H(a)-wH(b)$. For
**every** policy $P$
<<every>>
Also $\mathcal V'(\lambda)=\hat G_s(P_\lambda)$, and with the binary entropy $h_b$
<<sandwich>>
*Computed.* All of it for a penalty $\lambda$; with $\varepsilon$, at the multiplier that meets the
constraint. A hybrid of the same $\lambda$ is some policy $P$, so $\mathcal V(\lambda)$ bounds its
sum from below. A quadratic problem has the closed forms of the quadratic model (last section) for
every strategy.
""",
            policy=r"""
P_\lambda(\cdot|x)=\begin{cases}
(1-w)\mu_f+w\hat\mu_s&x\in O\\
\mu_f&\rho_f\gt0=\hat\rho_s\\
\hat\mu_s&\hat\rho_s\gt0=\rho_f\\
P_{\theta_s}&\text{otherwise}
\end{cases}
""",
            gaps=r"""
\begin{aligned}
G_f(P_\lambda)&=\sum_O\rho_f\,\mathrm{KL}\big(\mu_f\Vert(1-w)\mu_f+w\hat\mu_s\big),\\
\hat G_s(P_\lambda)&=\sum_O\hat\rho_s\,\mathrm{KL}\big(\hat\mu_s\Vert(1-w)\mu_f+w\hat\mu_s\big),\\
G_f(P_\lambda)+\lambda\hat G_s(P_\lambda)&=\mathcal V(\lambda)
=\sum_O(\rho_f+\lambda\hat\rho_s)\,\mathrm{JS}_w(\mu_f,\hat\mu_s)
\end{aligned}
""",
            every=r"""
G_f(P)+\lambda\hat G_s(P)=\mathcal V(\lambda)
+\sum_x(\rho_f+\lambda\hat\rho_s)\,\mathrm{KL}(P_\lambda\Vert P).
""",
            sandwich=r"""
\sum_O2\,\frac{\rho_f\,\lambda\hat\rho_s}{\rho_f+\lambda\hat\rho_s}\,\tau^2
\ \le\ \mathcal V(\lambda)\ \le\ \sum_O(\rho_f+\lambda\hat\rho_s)\,h_b(w)\,\tau .
""",
        ),
        assumptions=("(A-T)",),
        proof=r"""
Context by context one minimises
$\rho_f\mathrm{KL}(\mu_f\Vert P)+\lambda\hat\rho_s\mathrm{KL}(\hat\mu_s\Vert P)$. The
compensation identity splits it into $\mathrm{JS}_w$ and a divergence from the mixture, which is 0
at the mixture alone. The slope of $\mathcal V$ is the envelope theorem. Lower bound: Pinsker's
inequality twice and the least of $2\rho_fu^2+2\lambda\hat\rho_sv^2$ over $u+v\ge\tau$. Upper
bound: the decomposition in the proof of T4.
""",
        functions=("theory.loss_constraint.mixture", "theory.exact.exact"),
        tests=(_TEST, "tests/theory/test_exact.py"),
        figures=("pareto_front", "simulated_fronts", "feature_overlap"),
    ),
    Statement(
        id="T4",
        title="Overlap mass times disagreement",
        body=fill(
            r"""
No bounded-loss assumption:
<<upper>>
*Mass form.* With $a=\rho_f(O)$ and $b=\hat\rho_s(O)$: $\hat G_s\le b\log(1+\frac a{\lambda b})$
and $G_f\le a\log(1+\frac{\lambda b}a)$, with equality when the targets are disjoint on $O$ and
$\rho_f/\hat\rho_s$ is constant there. *Divergence form.*
$\hat G_s\le\sum_O\hat\rho_s(1-w)\mathrm{KL}(\hat\mu_s\Vert\mu_f)$ and
$G_f\le\sum_O\rho_fw\mathrm{KL}(\mu_f\Vert\hat\mu_s)$.

*Rates.* As $\lambda\to\infty$,
$\hat G_s=\frac1{2\lambda^2}\sum_O(\rho_f^2/\hat\rho_s)\chi^2(\mu_f\Vert\hat\mu_s)+o(\lambda^{-2})$
if that is finite and $O$ is finite; $\Theta(1/\lambda)$ if the supports are disjoint.

*Computed.* Every form for a table; the mass form alone for constants. It is about the exact
minimiser: with $\delta\gt0$ or a sampling deviation it may fail, and constants that name one are
refused.
""",
            upper=r"""
\begin{aligned}
2\sum_O\hat\rho_s(1-w)^2\tau^2\ \le\ \hat G_s(P_\lambda)
&\le\sum_O\hat\rho_s\,\tau\log\Big(1+\frac{\rho_f}{\lambda\hat\rho_s}\Big)
\le\frac1\lambda\sum_O\rho_f\,\tau,\\
2\sum_O\rho_f\,w^2\tau^2\ \le\ G_f(P_\lambda)
&\le\sum_O\rho_f\,\tau\log\Big(1+\frac{\lambda\hat\rho_s}{\rho_f}\Big)
\le\lambda\sum_O\hat\rho_s\,\tau .
\end{aligned}
""",
        ),
        assumptions=(
            r"(A-T), or the class contains $P_\lambda$ and realises $\mu_f$ and $\hat\mu_s$ "
            "separately",
            r"exact minimiser, $\delta=0$",
        ),
        proof=r"""
Write $\hat\mu_s=(1-\tau)c+\tau a'$ and $\mu_f=(1-\tau)c+\tau b'$ with $a'$ and $b'$ of disjoint
supports. By joint convexity $\mathrm{KL}(\hat\mu_s\Vert w\hat\mu_s+(1-w)\mu_f)$ is at most
$\tau\mathrm{KL}(a'\Vert wa'+(1-w)b')=-\tau\log w$, which is the summand; $G_f$ by symmetry. Then
$\log(1+u)\le u$; the mass form is Jensen's inequality for the concave
$(a,b)\mapsto b\log(1+a/\lambda b)$. Below: Pinsker, with
$\mathrm{TV}(\hat\mu_s,P_\lambda)=(1-w)\tau$ and $\mathrm{TV}(\mu_f,P_\lambda)=w\tau$.
""",
        functions=("theory.loss_constraint.overlap_mass",),
        tests=(_TEST,),
    ),
    Statement(
        id="T5",
        title="The true safety gap, its floor, and when over-penalising hurts",
        body=fill(
            r"""
The exact minimiser of Case I has, term by term,
<<exact>>
The last term is 0 if the aligned model meets its own targets, $P_{\theta_s}=\mu_s$, and not
otherwise. The limit for $\lambda\to\infty$ is the **floor** $\Phi$, free of $\lambda$:
<<floor>>
with $r=\sup_O\rho_s/\hat\rho_s$. If
$\mathrm{supp}\thinspace\rho_s\subseteq\mathrm{supp}\thinspace\hat\rho_s$, then
$\Phi=\mathbb E_{\rho_s}\mathrm{KL}(\mu_s\Vert\hat\mu_s)\le\mathrm{KL}(D_s\Vert\hat D_s)$.

*Same teacher* and coverage $\rho_s\le r\hat\rho_s$: $G_s(P)\le r\hat G_s(P)$ for **every** $P$,
so $\Phi=0$ and $G_s(P_\lambda)\le\frac r\lambda\sum_O\rho_f\tau$. Context mismatch then costs a
factor and no additive term.

*First order in* $1/\lambda$ (finite $O$, full support):
<<first>>
(a) Same teacher: the coefficient is 0 and the decay $\lambda^{-2}$, with leading term
$\frac1{2\lambda^2}\sum_O\rho_s(\rho_f/\hat\rho_s)^2\chi^2(\mu_f\Vert\mu_s)$. (b) Each contested
term is convex in $w$, and non-increasing on $[0,1]$ if and only if
$\mathbb E_{\mu_f}[\mu_s/\hat\mu_s]\le1$. (c) If the summed coefficient is negative, some finite
$\lambda$ is strictly better than the limit: the gap dips below its floor. So monotonicity in
$\lambda$ is a theorem for $\hat G_s$ and $G_f$ (T2), not for the true $G_s$ with a mismatched
proxy. A proxy that an exactly aligned model itself generated, $\hat\mu_s=\mu_s$, removes the
teacher term.

*Computed.* Every form for a table. Constants take $\Phi$, $r$ and $\rho_f(O)$ for the linear form
and, with $\rho_s(O)$ too, $\rho_s(O)\log(1+r\rho_f(O)/\lambda\rho_s(O))$ by Jensen's inequality; as
in T4 they are refused unless the minimiser is exact.
""",
            exact=r"""
G_s(P_\lambda)=\underbrace{\sum_O\rho_s\mathrm{KL}\big(\mu_s\Vert
w\hat\mu_s+(1-w)\mu_f\big)}_{\text{contested}}
+\underbrace{\sum_{\hat\rho_s\gt0=\rho_f}\rho_s\mathrm{KL}(\mu_s\Vert\hat\mu_s)}_{\text{teacher}}
+\underbrace{\sum_{\rho_f\gt0=\hat\rho_s}\rho_s\mathrm{KL}(\mu_s\Vert\mu_f)}_{\text{uncovered}}
+\underbrace{\sum_{\rho_f=\hat\rho_s=0}\rho_s
\mathrm{KL}(\mu_s\Vert P_{\theta_s})}_{\text{untouched}}
""",
            floor=r"""
\begin{aligned}
\Phi&=\sum_{\hat\rho_s\gt0}\rho_s\mathrm{KL}(\mu_s\Vert\hat\mu_s)
+\sum_{\rho_f\gt0=\hat\rho_s}\rho_s\mathrm{KL}(\mu_s\Vert\mu_f)
+\sum_{\rho_f=\hat\rho_s=0}\rho_s\mathrm{KL}(\mu_s\Vert P_{\theta_s}),\\
G_s(P_\lambda)&\le\Phi+\sum_O\rho_s\log\Big(1+\frac{\rho_f}{\lambda\hat\rho_s}\Big)
\le\Phi+\frac r\lambda\rho_f(O),
\end{aligned}
""",
            first=r"""
G_s(P_\lambda)=\Phi+\frac1\lambda\sum_O\rho_s\frac{\rho_f}{\hat\rho_s}\Big(1-\mathbb E_{y\sim\mu_f}
\frac{\mu_s(y|x)}{\hat\mu_s(y|x)}\Big)+O(\lambda^{-2}).
""",
        ),
        assumptions=(
            "(A-T); the coverage inequality holds in any realizable class",
            r"exact minimiser, $\delta=0$",
        ),
        proof=r"""
Insert T3 in $G_s=\sum\rho_s\mathrm{KL}(\mu_s\Vert P_\lambda)$. The upper bound uses
$P_\lambda\ge w\hat\mu_s$. The derivative of the contested term at $w=1$ is
$\mathbb E_{\mu_f}[\mu_s/\hat\mu_s]-1$, and $1-w=\rho_f/(\lambda\hat\rho_s)+O(\lambda^{-2})$. A
convex function on $[0,1]$ is non-increasing exactly when its derivative at 1 is not positive.
""",
        functions=(
            "theory.loss_constraint.safety_floor",
            "theory.loss_constraint.safety_gap_expansion",
        ),
        tests=(_TEST,),
        figures=("proxy_floor", "lambda_decay", "alignment_gap"),
    ),
)
