"""T12 to T15: bounds that stay useful on real language models."""

from __future__ import annotations

from theory.symbolic.latex import Statement, fill

STATEMENTS = (
    Statement(
        id="T12",
        title="Local proxy mismatch",
        body=fill(
            r"""
T1's total variation is close to 1 for text, where two prompt sets rarely share a string. Let
$r=\Vert\theta_\lambda-\theta_s\Vert$ in the trained coordinates and $\Delta=f_s-\hat f_s$, with
$\beta_\Delta$ the largest curvature of $\Delta$ on the ball of radius $r$ around $\theta_s$. Then
<<main>>
*A priori*, $f_f(\theta_\lambda)$ is replaced by a lower bound on $f_f$ (0, or an entropy) and $r$
by the constraint's radius or T13's. With $\hat G_s\le\varepsilon$ instead of a penalty the first
term is $\varepsilon-\hat G_s(\theta_s)$, or $\varepsilon$. Proxy mismatch is thus a *gradient*
mismatch: what counts is whether the proxy pulls the weights the same way as the safety data, not
whether the prompts look alike.

*Computed.* A table measures $r$ and $\Delta$ in centred logits at its exact minimiser (for a
hybrid the radius and $G_f(\theta_s)$ stand in), with
$\beta_\Delta=\frac12\max_x\max(0,\rho_s-\hat\rho_s)$, where $f_s$ and $\hat f_s$ are finite at
$\theta_s$. Constants take $G_f(\theta_s)$, or a start and a floor of the task loss, for the value
gap, with $2e_n+2e_m'/\lambda$ of T1(v) on top. A quadratic problem has $\Delta=0$.
""",
            main=r"""
f_s(\theta_\lambda)-f_s(\theta_s)\le\frac{f_f(\theta_s)-f_f(\theta_\lambda)+\delta}\lambda
+\Vert\nabla\Delta(\theta_s)\Vert\,r+\tfrac12\beta_\Delta r^2 .
""",
        ),
        assumptions=(
            r"$F_\lambda(\theta_\lambda)\le F_\lambda(\theta_s)+\delta$, measured after a run",
            r"$\beta_\Delta$ is at least every eigenvalue of the Hessian of $\Delta$ on the ball",
        ),
        proof=r"""
Taylor's formula with the mean-value remainder bounds $\Delta(\theta_\lambda)-\Delta(\theta_s)$ by
the last two terms. The objective did not end above its start by more than $\delta$, which bounds
$\hat f_s(\theta_\lambda)-\hat f_s(\theta_s)$ by the first. Add.
""",
        functions=("theory.local.local_mismatch",),
        tests=(
            "tests/theory/test_local.py::test_t12_holds_at_the_minimiser_and_at_any_point_with_its_measured_slack",
            "tests/theory/test_local.py::test_t12_is_attained_so_that_any_smaller_constant_breaks_it",
            "tests/theory/test_local.py::test_t12_on_tables_with_zero_masses_and_tiny_gaps",
        ),
        figures=("predicted_measured",),
    ),
    Statement(
        id="T13",
        title="Radius from the training budget",
        body=fill(
            r"""
Even an unconstrained fine-tune is a parameter-constrained one. After $T$ steps of rates $\eta_t$:

*SGD* with gradients clipped to norm $c$, momentum $m$ (with Nesterov's look-ahead $m^{t+1}$ for
$m^t$) and no weight decay, which would be added after the clipping:
<<sgd>>
*Adam* (also AMSGrad, and Adam with coupled weight decay) on $n$ numbers: no coordinate moves by
more than $\eta_tk_t$ at step $t$, so
<<adam>>
*AdamW*, with decoupled decay $\omega$ on all of them and $a_t=\eta_t\omega$:
<<adamw>>
Parameter groups add in squares. For LoRA with scaling $\alpha$ over the rank $k$ also
$\Vert\frac\alpha kBA\Vert_F\le\frac\alpha k\Vert B\Vert_F\Vert A\Vert_F$.

All three are attained: SGD by a constant gradient, Adam at every step at once by gradients that
grow like $(\beta_2/\beta_1)^t$, AdamW when steps and decay pull the same way. $k_1=1$, and with
$\beta=(0.9,0.999)$ $k_t$ tends to 7.27. Adam's $\varepsilon$ only shortens steps.
""",
            sgd=r"""
r\le\sum_{t\le T}\eta_t\,c\,\frac{1-m^t}{1-m}\le\frac c{1-m}\sum_{t\le T}\eta_t .
""",
            adam=r"""
r\le\sqrt n\sum_{t\le T}\eta_tk_t,\qquad
k_t=\frac{1-\beta_1}{\sqrt{1-\beta_2}}\cdot\frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t}\cdot
\Big(\sum_{j\lt t}(\beta_1^2/\beta_2)^j\Big)^{1/2}.
""",
            adamw=r"""
r_t\le|1-a_t|\,r_{t-1}+a_t\Vert\theta_0\Vert+\sqrt n\,\eta_tk_t,\qquad r_0=0 .
""",
        ),
        assumptions=("the optimiser follows its update rule in exact arithmetic",),
        proof=r"""
SGD: the velocity is a geometric sum of clipped gradients. Adam: by Cauchy-Schwarz
$|\sum_j\beta_1^jg_{t-j}|\le(\sum_j(\beta_1^2/\beta_2)^j)^{1/2}(\sum_j\beta_2^jg_{t-j}^2)^{1/2}$,
which holds for every finite $t$ and is an equality for the geometric gradients. AdamW:
$\theta_t-\theta_0=(1-a_t)(\theta_{t-1}-\theta_0)-a_t\theta_0-\eta_tu_t$ with
$\Vert u_t\Vert\le\sqrt nk_t$. Groups are orthogonal.
""",
        functions=(
            "theory.local.radius_from_budget",
            "theory.local.adam_step_factor",
            "theory.local.lora_product_radius",
        ),
        tests=(
            "tests/theory/test_local.py::test_t13_sgd_never_leaves_the_radius",
            "tests/theory/test_local.py::test_t13_adam_never_leaves_the_radius",
            "tests/theory/test_local.py::test_t13_adam_is_attained_at_every_step_by_geometrically_growing_gradients",
            "tests/theory/test_local.py::test_t13_bounds_the_optimisers_of_torch",
        ),
    ),
    Statement(
        id="T14",
        title="Finite samples",
        body=fill(
            r"""
$n\ge2$ independent losses in $[0,B]$ with sample mean $\bar\ell$ and sample variance $S^2$ (divisor
$n-1$) satisfy, with probability at least $1-p$,
<<main>>
The interval is two-sided: each side fails with probability at most $p/2$. (The one-sided bound of
Maurer and Pontil, 2009, has $\log(2/p)$ for one side that fails with probability $p$.) It is cut to
the range, and $n=1$ gives the range. A gap is a difference on the *same* examples: apply it to the
paired differences, which lie in $[-B,B]$, so with $2B$ for $B$. A bound that combines $k$ intervals
splits $p$ over them.
""",
            main=r"""
\big|\mathbb E\ell-\bar\ell\big|\le\sqrt{\frac{2S^2\log(4/p)}n}+\frac{7B\log(4/p)}{3(n-1)} .
""",
        ),
        assumptions=("independent examples, losses in a known range",),
        proof=r"""
Bennett's inequality with the true deviation, and a self-bounding inequality that exceeds the
sample deviation only with small probability, each with half of what one side may fail; union
bound over the two sides.
""",
        functions=("theory.confidence.empirical_bernstein",),
        tests=("tests/theory/test_confidence.py",),
    ),
    Statement(
        id="T15",
        title="Measured overlap errs on the safe side",
        body=fill(
            r"""
For any map $\phi$ of contexts (clusters of embeddings, hashed n-grams), replace
$\rho_f,\hat\rho_s$ in T4's upper sums by the masses $a_k,b_k$ of the images and $\tau$ by 1: they
are still upper bounds,
<<main>>
An overlap $1-\mathrm{TV}(\rho_s,\rho_f)$ measured on images is never too small, as no map raises
TV. The images must be fixed before the rows on which their masses are measured are seen; masses
from samples then need one of two margins, else the result is an estimate.

*Masses.* The empirical masses of $n$ draws over $K$ images are within
$\frac12\sqrt{(K-1)/n}+\sqrt{\log(1/p)/2n}$ of the true ones in TV, except with probability $p$. The
two radii add to the measured overlap; for the sums above, an upper bound on their largest value
over all masses within the radii is taken.

*Error rates.* Let a rule name safety contexts correctly with probability at least $q_s$ and task
contexts with at least $q_f$. Then
<<accuracy>>
Of the sums above the safety one is then at most that of two images with $b=(q_s,1-q_s)$ and
$a=(1-q_f,q_f)$, or $\log(1+1/\lambda)$ if $q_s+q_f\le1$; swap the roles and take $1/\lambda$ for
capability. $q_s$ and $q_f$ are Clopper-Pearson lower limits on held-out rows, each with its own
share of $p$, since the two classes are separate samples.

The commands use both, with a quarter of $p$ for each of the two radii and of the two limits, and
keep the smaller result.
""",
            main=r"""
\hat G_s(P_\lambda)\le\sum_kb_k\log\Big(1+\frac{a_k}{\lambda b_k}\Big),\qquad
G_f(P_\lambda)\le\sum_ka_k\log\Big(1+\frac{\lambda b_k}{a_k}\Big).
""",
            accuracy=r"""
1-\mathrm{TV}(\rho_s,\rho_f)\ \le\ (1-q_s)+(1-q_f)=2(1-q),\qquad q=\tfrac12(q_s+q_f).
""",
        ),
        assumptions=("those of T4; any map of contexts",),
        proof=r"""
$(a,b)\mapsto b\log(1+a/\lambda b)$ is concave and positively homogeneous, hence superadditive:
merging contexts can only raise the sum. Data processing. Masses: Cauchy-Schwarz for the mean of
the distance, McDiarmid's inequality for its deviation; by concavity and homogeneity the sum is at
most a linear form, $\sum_kp_ka_k+q_kb_k$ with $p_k=1/\lambda(1+u_k)$ and
$q_k=\log(1+u_k)-u_k/(1+u_k)$ for any $u_k\ge0$, and a linear form moves by at most its oscillation
times the radius. A test of two hypotheses errs with probability at least $(1-\mathrm{TV})/2$. Two
images: the concave sum is largest where both have the same masses and falls away from there.
""",
        functions=(
            "theory.overlap.overlap_sum",
            "theory.overlap.overlap_sum_upper",
            "theory.overlap.overlap_from_accuracy",
            "theory.overlap.overlap_sum_from_accuracy",
            "theory.confidence.multinomial_tv_radius",
            "theory.confidence.clopper_pearson",
        ),
        tests=("tests/theory/test_overlap.py", "tests/theory/test_confidence.py"),
    ),
)
