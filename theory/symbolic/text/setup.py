"""Set-up, notation and assumptions of docs/theorems.md."""

from __future__ import annotations

from theory.symbolic.latex import fill

FRAMEWORK = r"""
The framework (two ways to constrain a fine-tune, two gaps) and the findings that motivate it are
those of Chen, Shen, Das and Chen, *Fundamental Safety-Capability Trade-offs in Fine-tuning Large
Language Models* (arXiv 2503.20807, 2025). The statements T1 to T20 below and their proofs are
this project's own; none of them is a theorem of that paper.

**Case I**, a constraint on the *alignment loss*: fine-tune on the task data and on *proxy* safety
data, whose loss is penalised with strength $\lambda$. **Case II**, a constraint on the *alignment
parameters*: fine-tune on the task data while the weights stay near the aligned model's. The
**hybrid** does both.
"""

NOTATION = fill(
    r"""
Contexts $x\in\mathcal X$ (a prompt, or a prompt and a prefix of the response; countably many) and
responses $y\in\mathcal Y$ (finite, $|\mathcal Y|=V$). The safety data is the distribution
$D_s=(\rho_s,\mu_s)$: $D_s(x,y)=\rho_s(x)\mu_s(y|x)$. Likewise the proxy data
$\hat D_s=(\hat\rho_s,\hat\mu_s)$ and the task data $D_f=(\rho_f,\mu_f)$. The model is
$P_\theta(y|x)$, $\theta\in\Theta$, with loss $\ell(\theta;x,y)=-\log P_\theta(y|x)$ in nats.
<<losses>>
Infima are assumed attained. The **gaps** are
<<gaps>>
The aligned model $\theta_s$ minimises $f_s$ (if it only nearly does, $G_s(\theta_s)$ is added);
$\hat\theta_s$ and $\theta_f$ minimise $\hat f_s$ and $f_f$. $\mathrm{TV}(p,q)=\frac12\sum|p-q|$.
When the class is realizable, $G_s(\theta)=\mathbb E_{\rho_s}\mathrm{KL}(\mu_s\Vert P_\theta)$,
and so on.

The **overlap** $O=\mathrm{supp}\thinspace\rho_f\cap\mathrm{supp}\thinspace\hat\rho_s$ holds the
contested contexts; the **disagreement** there is
$\tau(x)=\mathrm{TV}(\mu_f(\cdot|x),\hat\mu_s(\cdot|x))$.

For autoregressive models take $x$ = (prompt, prefix) and for $\rho$ the teacher-forced measure of
prefixes. Its mass may exceed 1; everything holds for finite measures except where the total
variation of probabilities is used. Statements per token and per sequence then agree by the chain
rule, and two different answers to the same prompt overlap only on the prompt and their common
prefixes.

Case I returns $\theta_\lambda$, which minimises $F_\lambda=f_f+\lambda\hat f_s$ to within
$\delta$; its *constrained form* is $\min f_f$ subject to $\hat G_s\le\varepsilon$. Case II returns
$\theta_\epsilon\in\arg\min f_f$ over the ball of radius $\epsilon$ around $\theta_s$. The
hybrid minimises $F_\lambda$ over that ball.
""",
    losses=r"""
f_s(\theta)=\mathbb E_{D_s}\ell,\qquad \hat f_s(\theta)=\mathbb E_{\hat D_s}\ell,\qquad
f_f(\theta)=\mathbb E_{D_f}\ell,\qquad f_\bullet^\star=\inf_\Theta f_\bullet .
""",
    gaps=r"""
G_s(\theta)=f_s(\theta)-f_s^\star,\qquad \hat G_s(\theta)=\hat f_s(\theta)-\hat f_s^\star,\qquad
G_f(\theta)=f_f(\theta)-f_f^\star .
""",
)

ASSUMPTIONS: dict[str, str] = {
    "A-B": r"bounded loss: $0\le\ell(\theta;x,y)\le B$ on $\Theta$. Logits in $[-R,R]$ give "
    r"$B=2R+\log V$.",
    "A-T": r"tabular: $\Theta$ realises every conditional table, and contexts outside the training "
    r"support keep $P_{\theta_s}$ ($=\mu_s$ unless said otherwise).",
    "A-R": r"overlap-realizable: some $\theta$ has $P_\theta=\mu_f$ on $\mathrm{supp}\thinspace"
    r"\rho_f$ and $\hat\mu_s$ on the rest of $\mathrm{supp}\thinspace\hat\rho_s$, and some "
    r"$\theta$ the same with the roles swapped. (A-T) implies it.",
    "A-J": r"logits are Lipschitz from the aligned model: $\Vert z_\theta(x,\cdot)-z_{\theta_s}"
    r"(x,\cdot)\Vert_\infty\le J\Vert\theta-\theta_s\Vert$ on the ball considered. A shift common "
    r"to all logits of a context changes no probability, so half the range of the change counts; a "
    r"table of logits with the Euclidean norm has $J=1/\sqrt2$.",
    "A-L": r"a loss is Lipschitz with constant $L$.",
    "A-β": r"a loss is smooth: its gradient is Lipschitz with constant $\beta$.",
    "A-PL": r"Polyak-Łojasiewicz: $\Vert\nabla f\Vert^2\ge2\mu(f-f^\star)$.",
    "A-QG": r"quadratic growth: $f-f^\star\ge\frac\mu2\mathrm{dist}^2$ to the minimisers.",
}

RESULT = r"""
A function takes a *problem* and a *strategy* (Case I, Case II or the hybrid). The problem is a
table of contexts and responses, the quadratic model of the last section, or named *constants* of
a real model (a loss range, a radius, a total variation). Where they differ, a statement ends with
what is *computed* for which.

Every function returns `Bound` objects: the value, its direction (upper, lower, equality), the
quantity bounded, the unit, the statement, its assumptions and its terms, which add up to the
value. The status is one of

- `EXACT`: an equality;
- `CERTIFIED`: all constants are known;
- `HIGH_PROBABILITY`: holds with probability at least 1 minus the stated failure probability;
- `ESTIMATED`: some constant was estimated, and then never `CERTIFIED`;
- `VACUOUS`: an upper bound that is infinite or above the trivial one ($B$ or $\log V$, where
  known), or a lower bound of 0;
- `NOT_APPLICABLE`: with the assumption that fails.

Rounding and non-convergence go to the safe side. A bound of scope *worst case* (T11) is on the
supremum over safety data that one does not know, not on the instance at hand.
"""

QUADRATIC = fill(
    r"""
$f_s=\frac12\Vert\theta-\theta_s\Vert^2_{H_s}$ and $f_f=\frac12\Vert\theta-\theta_f\Vert^2_{H_f}$
with $d=\theta_f-\theta_s$ and a perfect proxy have closed forms.
<<case_one>>
$A:B=(A^{-1}+B^{-1})^{-1}$ is the **parallel sum**, which is 0 when the ranges of $H_f$ and $H_s$
meet only in 0: the parametric version of an empty context overlap. Since
$H_\bullet\approx\sum_x\rho_\bullet(x)J_x^\top F_xJ_x$, shared *features* matter, not only shared
contexts. Case II is $\theta_\epsilon-\theta_s=(H_f+\nu I)^{-1}H_fd$ with the least $\nu\ge0$ that
meets the radius: the same with $H_s$ replaced by the identity, so it spends its budget also in
directions where $H_s$ is flat.
""",
    case_one=r"""
\theta_\lambda-\theta_s=(H_f+\lambda H_s)^{-1}H_fd,\qquad
G_f+\lambda G_s=\tfrac12d^\top(H_f:\lambda H_s)\,d .
""",
)
