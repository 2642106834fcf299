"""T16 to T20: forecasts of a fine-tune, and what finished ones prove about all others."""

from __future__ import annotations

from theory.symbolic.latex import Statement, fill

STATEMENTS = (
    Statement(
        id="T16",
        title="Linearised forecast (an estimate, not a bound)",
        body=fill(
            r"""
Linearise the logits at $\theta_s$ and take each loss to second order,
$m(d)=g^\top d+\frac12d^\top Hd$ with Gauss-Newton curvatures $H_f,\hat H_s,H_s$. The fine-tune
minimises $m_f+\lambda\hat m_s$; the three changes are $m_f$, $\hat m_s$ and $m_s$ at its step,
which is

- *Case I*, with a ridge $\kappa\ge0$ for curvature that the rows miss:
<<step>>
- *Case II and the hybrid*: the trust-region step, the same with $\kappa+\nu$ for $\kappa$ and the
  least $\nu\ge0$ at which $\Vert d\Vert\le\epsilon$;
- $\lambda=\infty$: of the minimisers of $\hat m_s$ the best for $m_f$;
- *stopped early*, after $T$ steps of rate $\eta$ or a flow of time $t$: $A^{-1}$ becomes
  $A^{-1}(1-(1-\eta A)^T)$ or $A^{-1}(1-e^{-tA})$, also where $A$ is singular.

*A kernel suffices.* Write all gradients and curvatures over rows of one matrix $J$, that is
$g=J^\top a$ and $H=J^\top WJ$ with a diagonal $W\ge0$, zero off the loss's own rows. Then
<<kernel>>
so the changes need $K=JJ^\top$ alone, of size
$(n_f+\hat n_s+n_s)\times(n_f+\hat n_s+n_s)$, and no array of the model's dimension. One row an
example is an unbiased factor of its Gauss-Newton matrix if its labels are drawn from the model's
own prediction at every position; the gradient needs the true labels, a second row.

Where $g$ has a part outside the range of $A$, the model has no minimum without a ridge, a radius or
an early stop. The front is the parallel sum $H_f:\lambda H_s$ of the quadratic model if $g_s=0$ and
$g_f$ lies in the range of $H_f$. For a preconditioned optimiser the columns of $J$ are scaled by
$P^{1/2}$; lengths are then $\Vert P^{-1/2}d\Vert$.
""",
            step=r"""
d=-A^{-1}(g_f+\lambda\hat g_s),\qquad A=H_f+\lambda\hat H_s+\kappa I .
""",
            kernel=r"""
(J^\top WJ+\kappa I)^{-1}J^\top a=J^\top(WK+\kappa I)^{-1}a ,
""",
        ),
        assumptions=("logits linear in the parameters; status ESTIMATED",),
        proof=r"""
The minimiser, the minimiser in a ball and the descent of a quadratic. Each lies in the span of the
rows, where $J$ has coordinates of dimension at most $n$ and Gram matrix $K$. Drawn labels: given
the context their gradients are independent with mean 0, so products between positions average to 0.
""",
        functions=("theory.forecast.forecast", "theory.forecast.Kernel"),
        tests=(
            "tests/theory/test_forecast.py::test_the_loss_constraint_is_the_dense_newton_step",
            "tests/theory/test_forecast.py::test_the_radius_is_met_by_the_secular_equation",
            "tests/theory/test_forecast.py::test_early_stopping_is_gradient_descent_itself",
            "tests/theory/test_forecast.py::test_the_forecast_is_exact_on_quadratic_problems",
            "tests/theory/test_forecast.py::test_rows_of_drawn_labels_average_to_the_gauss_newton_matrix",
        ),
        figures=("forecast_ranking", "defences_plane"),
    ),
    Statement(
        id="T17",
        title="What finished runs prove about all others",
        body=fill(
            r"""
Any model class. Run $i$ has the losses $(s_i,c_i)=(\hat f_s,f_f)(\theta_i)$ and was trained at
$\lambda_i$ to within $\delta_i$ of the minimum; $h_i=c_i+\lambda_is_i-\delta_i$.

(a) Every $\theta$ whatever satisfies $f_f(\theta)\ge\max_i(h_i-\lambda_i\hat f_s(\theta))$: the
runs draw a convex lower envelope that no fine-tune of this class beats.

(b) Let $\theta_\lambda$ minimise $F_\lambda$ to within $\delta$ at a $\lambda$ that was not run,
and $U=\min_k(c_k+\lambda s_k)+\delta$ over **all** runs. Then $\hat f_s(\theta_\lambda)$ lies
between
<<bracket>>
which are infinite where no run lies on that side, and
$U-\lambda u\le f_f(\theta_\lambda)\le U-\lambda l$. Comparing with one run at a time, by
$U\le c_i+\lambda s_i+\delta$, gives the wider $u\le s_i+(\delta+\delta_i)/(\lambda-\lambda_i)$ for
$\lambda_i\lt\lambda$ and $l\ge s_j-(\delta+\delta_j)/(\lambda_j-\lambda)$ for
$\lambda_j\gt\lambda$.

(c) *Mutual check*: $\delta_i\ge\max_j(c_i+\lambda_is_i-c_j-\lambda_is_j)_+$. A run beaten on its
own objective by another run was under-trained, by at least that much. In Case II, radii
$r_i\le r_j$ with $c_i\lt c_j$ show the same of run $j$, by at least $c_j-c_i$.
""",
            bracket=r"""
l=\max_{\lambda_j\gt\lambda}\frac{h_j-U}{\lambda_j-\lambda}\qquad\text{and}\qquad
u=\min_{\lambda_i\lt\lambda}\frac{U-h_i}{\lambda-\lambda_i},
""",
        ),
        assumptions=(r"the slacks $\delta_i$ are at least the true ones",),
        proof=r"""
(a) Definition of $\delta_i$. (b) $f_f(\theta_\lambda)+\lambda\hat f_s(\theta_\lambda)\le U$, and
(a) for run $i$; subtract and divide by $\lambda-\lambda_i$. The two ends, and with them both limits
of $f_f$, are corners of the polygon that all these inequalities leave, so no more can be concluded.
(c) The minimum at $\lambda_i$ is at most $c_j+\lambda_is_j$.
""",
        functions=(
            "theory.envelope.envelope",
            "theory.envelope.bracket",
            "theory.envelope.undertrained",
            "theory.envelope.undertrained_by_radius",
        ),
        tests=(
            "tests/theory/test_envelope.py::test_no_point_of_the_class_lies_below_the_envelope",
            "tests/theory/test_envelope.py::test_the_bracket_holds_every_run_that_was_not_made",
            "tests/theory/test_envelope.py::test_the_mutual_check_never_exceeds_the_true_slack_and_finds_a_bad_run",
        ),
        figures=("tradeoff_real",),
    ),
    Statement(
        id="T18",
        title="Routing: achievability, and what weight sharing costs",
        body=fill(
            r"""
Let $q$ be any rule on contexts: answer with the task model $P_f$ where $q(x)=f$ and with the
aligned model elsewhere. This policy $P$ has
<<main>>
With contexts that the rule separates without error, and each model optimal on its own data, both
gaps vanish. The masses sent the wrong way, $\rho_s(q=f)+\rho_f(q=s)$, are together at least
$1-\mathrm{TV}(\rho_s,\rho_f)$.

*Split.* T10 bounds every policy from below, T18 the best from above. So the safety gap $G_s$ of a
fine-tune is the sum of an *unavoidable* part $A$, which is the least safety gap of any policy as
capable as the fine-tune and due to shared contexts, and of *interference* $G_s-A$, due to shared
weights. With $L$ the limit of T10 at the capability gap $G_f$ of the fine-tune and $P$ the router,
<<split>>
A router that is less capable than the fine-tune proves nothing about $A$.
""",
            main=r"""
\begin{aligned}
G_s(P)&\le G_s(\theta_s)+\sum_{q(x)=f}\rho_s\,\mathrm{KL}(\mu_s\Vert P_f),\\
G_f(P)&\le G_f(P_f)+\sum_{q(x)=s}\rho_f\,\mathrm{KL}(\mu_f\Vert P_{\theta_s}).
\end{aligned}
""",
            split=r"""
L\ \le\ A\ \le\ \begin{cases}
\min\{G_s,\ G_s(P)\}&\text{if }G_f(P)\le G_f\\
G_s&\text{otherwise.}
\end{cases}
""",
        ),
        assumptions=(
            "a fixed rule; measured parts are means over held-out rows",
            "the router bounds the unavoidable part only where its capability gap is at most the "
            "fine-tune's",
        ),
        proof=r"""
Split the sum over contexts by the rule; what each model answers costs at most its whole gap. The
router is a policy, so $A$ is at most its safety gap if it is as capable, and so is the fine-tune.
""",
        functions=(
            "theory.routing.routing",
            "theory.routing.measured_routing",
            "theory.routing.split_safety_gap",
            "theory.routing.separating_mismatch",
        ),
        tests=(
            "tests/theory/test_routing.py::test_a_router_has_exactly_the_gaps_of_the_policy_that_it_is",
            "tests/theory/test_routing.py::test_separable_contexts_cost_nothing_even_where_models_disagree_completely",
            "tests/theory/test_routing.py::test_the_split_holds_the_true_least_gap_of_every_fine_tune",
            "tests/theory/test_routing.py::test_a_router_that_is_less_capable_proves_nothing_about_interference",
        ),
        figures=("forced_or_shared",),
    ),
    Statement(
        id="T19",
        title="Onset: how fast safety goes",
        body=fill(
            r"""
Training on $f_f$ alone from $\theta_s$, with $\nabla f_s(\theta_s)=0$, $g=\nabla f_f(\theta_s)$ and
$f_s$ quadratic near $\theta_s$. Gradient flow for time $t$:
<<onset>>
and if the task gradient avoids every safety-sensitive direction, $H_sg=0$, then
<<quartic>>
*Gradient descent.* $\theta-\theta_s=-e_1g+e_2H_fg-\dots$ with
$e_1=\sum_k\eta_k$ and $e_2=\sum_{j\lt k}\eta_j\eta_k$ in the place of $t$ and $\frac{t^2}2$. With
$T$ equal rates $t^2$ becomes $\eta^2T^2$, $t^3$ becomes $\eta^3T^2(T-1)$ and $t^4$ becomes
$\eta^4T^2(T-1)^2$: a single step along a $g$ with $H_sg=0$ costs nothing.

So first-order orthogonality buys a quartic instead of a quadratic onset and no more: the curvature
of the task loss turns the path into the sensitive directions. (A quartic onset was published by
Springer et al., *The Geometry of Alignment Collapse*, arXiv 2602.15799; this derivation is ours.)

*Bounds.* Let both losses be quadratic with positive semi-definite curvatures,
$\Vert v\Vert_s^2=v^\top H_sv$, $e_3=\frac{t^3}6$ or $\sum_{i\lt j\lt k}\eta_i\eta_j\eta_k$, and all
rates at most $2/\Vert H_f\Vert$. Then
<<bounds>>
and $G_s\le\frac12\Vert H_s\Vert\min(e_1\Vert g\Vert,R)^2$, with $R$ the distance from $\theta_s$ to
the minimisers of $f_f$, doubled for rates above $1/\Vert H_f\Vert$. Both sides of the first line
meet as $t\to0$ if $H_sg\ne0$; those of the second also if $H_sg=0$ but $H_sH_fg\ne0$.

*Without its assumptions.* If $\nabla f_s(\theta_s)=p\ne0$, the change starts with
$-t\thinspace p^\top g+\frac{t^2}2p^\top H_fg$: the onset is linear. If $f_s$ is not quadratic,
its third derivative adds $-\frac{t^3}6\nabla^3f_s[g,g,g]$. Where $H_sg=0$ this vanishes, as
$\theta_s$ is a minimum, so the onset stays quartic or slower, but its coefficient gains
$\frac14\nabla^3f_s[g,g,H_fg]+\frac1{24}\nabla^4f_s[g,g,g,g]$.
""",
            onset=r"G_s(t)=\tfrac{t^2}2g^\top H_sg-\tfrac{t^3}2g^\top H_sH_fg+O(t^4),",
            quartic=r"G_s(t)=\tfrac{t^4}8\,g^\top H_fH_sH_fg+O(t^5).",
            bounds=r"""
\begin{aligned}
\big|\sqrt{2G_s}-e_1\Vert g\Vert_s\big|&\le\Vert H_s\Vert^{1/2}e_2\Vert H_fg\Vert,\\
\big|\sqrt{2G_s}-\Vert e_1g-e_2H_fg\Vert_s\big|&\le\Vert H_s\Vert^{1/2}e_3\Vert H_f^2g\Vert ,
\end{aligned}
""",
        ),
        assumptions=(
            "expansion: smooth task loss, quadratic safety loss near the aligned model",
            "bounds: both losses quadratic",
        ),
        proof=r"""
Taylor's formula of the flow, $\theta(t)-\theta_s=-tg+\frac{t^2}2H_fg+O(t^3)$, inserted in the
quadratic form of $H_s$; terms with $g^\top H_s$ vanish in the second case. Bounds: in an
eigendirection of curvature $h$ the path is $-\phi(h)g$ with $\phi=\int_0^te^{-sh}ds$ or
$\sum_k\eta_k\prod_{j\lt k}(1-\eta_jh)$. As $|e^{-sh}|$ and the products are at most 1,
$|\phi-e_1|\le e_2h$ and $|\phi-e_1+e_2h|\le e_3h^2$, by induction over the steps; triangle
inequality in $\Vert\cdot\Vert_s\le\Vert H_s\Vert^{1/2}\Vert\cdot\Vert$. Also $\phi\le e_1$ and
$|h\phi|\le1$, or 2.
""",
        functions=(
            "theory.onset.onset",
            "theory.onset.expansion",
            "theory.onset.onset_bounds",
            "theory.onset.onset_exponent",
        ),
        tests=(
            "tests/theory/test_onset.py::test_the_gap_agrees_with_forty_digits_from_tiny_times_to_the_end",
            "tests/theory/test_onset.py::test_no_bound_is_violated",
            "tests/theory/test_onset.py::test_both_sides_meet_as_time_goes_to_zero",
            "tests/theory/test_onset.py::test_orthogonality_buys_a_quartic_onset_and_one_step_costs_nothing",
            "tests/theory/test_onset.py::test_the_onset_of_a_task_loss_that_is_not_quadratic",
        ),
    ),
    Statement(
        id="T20",
        title="Coarse unroll (an estimate, not a bound)",
        body=fill(
            r"""
The cheapest faithful model of a fine-tune is the fine-tune with fewer, larger steps: $K$ steps of
the same optimiser from $\theta_s$ on a fresh subsample, at a rate $\eta_K$ whose displacement
matches the one that the full budget of $T$ steps will reach. It carries all orders of the loss, the
optimiser's preconditioner and the proxy's pull. One unroll a $\lambda$ gives the whole curve. It
costs $K/T$ of the run, and less with $m$ rows a step where the run has $M$.

- *Rate.* With $r=c\thinspace\eta T^b$, $b$ and $c$ fitted to the first steps of the real run,
  $\eta_K=r/cK^b$, which is $\eta(T/K)^b$ for the law's own $r$. Without such a fit,
  $\eta_K=\eta\frac TK$ carries the gradient that all rows share as far as the run does, where the
  path is straight. A step of AdamW has the length of the rate whatever its rows say, and while
  their noise dominates, that gradient is $\sqrt m$ of it: then $\eta_K=\eta\frac TK\sqrt{M/m}$. Its
  moments forget $T/K$ times as fast, $\beta_K=\beta^{T/K}$.
- *Few rows.* For the same rows, steps of one row each stay closer to the run's direction than few
  steps of many: a later row is read where the earlier ones have led (`benchmarks/forecast.py` puts
  both beside runs).
- *Radius.* An unroll that ends at $r'$ instead of $r$ is corrected by the slope $G'$ of the gap in
  the displacement, to $G+G'\cdot(r-r')$ or $G\cdot(r/r')^{r'G'/G}$, which is exact for a power law.
- *Path.* From unrolls of $K$ and $2K$ steps, whose error falls like $K^{-q}$:
<<richardson>>
- *Interval.* Student's $t$ over subsamples, with the seeds of one subsample averaged first: they do
  not count as independent. For a single new run the spread of a run is added to that of the mean.
  One repetition gives no interval, and errors that all repetitions share are in none.
""",
            richardson=r"G_\infty=G_{2K}+\frac{G_{2K}-G_K}{2^q-1}\ .",
        ),
        assumptions=("none that is checked; status ESTIMATED",),
        proof="""
It is a measurement, not a statement that could be proved; the corrections are exact on the power
laws that they assume.
""",
        functions=(
            "theory.unroll.matching_rate",
            "theory.unroll.displacement_law",
            "theory.unroll.radius_correction",
            "theory.unroll.richardson",
            "theory.unroll.interval",
        ),
        tests=(
            "tests/theory/test_unroll.py::test_the_matching_rate_is_exact_on_power_laws",
            "tests/theory/test_unroll.py::test_the_radius_is_corrected_exactly_on_its_own_form",
            "tests/theory/test_unroll.py::test_richardson_is_exact_on_a_power_of_the_step_count",
            "tests/theory/test_unroll.py::test_intervals_cover_as_often_as_they_say",
            "tests/theory/test_unroll.py::test_few_large_steps_with_the_matched_rate_forecast_many_small_ones",
        ),
        figures=("forecast_ranking",),
    ),
)
