"""One fine-tune of a model under a plan: trained, measured, recorded, resumed after a kill."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from accelerate.utils.memory import should_reduce_batch_size
from transformers import PreTrainedModel

from finebound.base.errors import InputError, tell
from finebound.base.progress import Progress, silent
from finebound.base.writing import remove
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded
from llm_validation.measure.losses import Losses
from llm_validation.models.adapters import require_no_adapter
from llm_validation.models.loading import LoadedModel
from llm_validation.models.packaged import without_bars
from llm_validation.training.alternation import AlternatingStreams, ProximalTerm
from llm_validation.training.budget import OptimiserBudget, optimiser_budget
from llm_validation.training.callbacks import (
    DualAscentCallback,
    EvaluationCallback,
    MonitorCallback,
    ProgressCallback,
    TimedCheckpointCallback,
)
from llm_validation.training.checkpoints import discard, last_checkpoint
from llm_validation.training.checks import check_inputs, encode_checked
from llm_validation.training.constrained_sft import (
    ConstrainedTokens,
    ReferencedStream,
    constrained_loss,
)
from llm_validation.training.displacement import Displacement, displacement_of
from llm_validation.training.dpo import (
    PairStream,
    PreferenceLoss,
    encode_pairs,
    log_ratio,
    preference_losses,
)
from llm_validation.training.evaluation import Evaluator, read_evaluations
from llm_validation.training.methods import attach
from llm_validation.training.parameter_constraint import (
    ParameterConstraintCallback,
    SoftPenalty,
    fisher_diagonal,
)
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.precision import precision_of
from llm_validation.training.record import (
    REFERENCE,
    TRAIN_PROXY,
    TRAIN_REJECTED,
    TRAIN_TASK,
    FinetuneRun,
    RunFolder,
    identity_of,
    sha256_of,
)
from llm_validation.training.reference import Reference
from llm_validation.training.strategies import (
    BiState,
    SoftParameterConstraint,
    SubspacePenalty,
    TokenConstraint,
)
from llm_validation.training.streams import (
    PROXY,
    TASK,
    Collate,
    Stream,
    Streams,
    collate_rows,
)
from llm_validation.training.surroundings import (
    as_after_training,
    device_name,
    generators_kept,
    peak_memory,
    require_room,
)
from llm_validation.training.terms import AlignmentPair, Penalty
from llm_validation.training.trainer import PARTIAL, ConstraintTrainer
from llm_validation.training.weights import finished_run, save_weights

Visit: TypeAlias = Callable[[LoadedModel, int], None]
FISHER_ROWS = 128
"""Rows of the proxy that the Fisher information is measured on: the first ones of its stream."""


def finetune(
    model: LoadedModel,
    task: Dataset,
    proxy: Dataset | None,
    plan: TrainingPlan,
    *,
    out: str | Path,
    monitors: Mapping[str, Dataset] | None = None,
    alignment: AlignmentPair | None = None,
    visit: Visit | None = None,
    progress: Progress = silent,
    collate: Collate = collate_rows,
) -> FinetuneRun:
    """Fine-tune ``model``, which is theta_s, in place and write the run to the folder ``out``.

    ``monitors`` are held-out rows, measured at the plan's fractions of the training; ``alignment``
    are the models before and after it, for the strategy asft. ``visit`` is called with the model
    and the number of its steps wherever it is measured between start and end; it must not change
    the weights. A folder with a finished run of the same configuration is read, one with an
    interrupted run goes on at its last checkpoint, on the same trajectory; started by ``torchrun``,
    all processes call this alike. Raises InputError for bad input (before anything is written) and
    for a run that fails; what is finished stays in the folder.
    """
    monitors = dict(monitors or {})
    # Virtual tokens take their places of the context.
    reads = model.context_length - plan.method.virtual_tokens
    if reads < 2:
        raise InputError(
            f"{plan.method.virtual_tokens} virtual tokens leave no place in the model's context "
            f"of {model.context_length} tokens.",
            remedy="Use fewer virtual tokens.",
        )
    reader = replace(model, context_length=reads)
    check_inputs(reader, proxy, plan, monitors, alignment)
    require_no_adapter(model.model)
    identity = identity_of(model, task, proxy, plan, monitors, alignment)
    run = RunFolder(Path(out), identity, main=int(os.environ.get("RANK", "0")) == 0)
    if run.is_done:
        return finished_run(run, model)
    precision = precision_of(run.document, plan.precision)
    if not plan.method.starts_at_theta_s and run.is_new and 0 in read_evaluations(run.evaluations):
        raise ValueError(
            f"{run.evaluations} holds losses of step 0, and a {plan.method.kind} run has to "
            "measure its own: it does not start at theta_s"
        )

    if plan.objective is None:
        sets = {TRAIN_TASK: (task, encode_checked(task, reader, plan, role="task"))}
    else:
        chosen, rejected_set, rejected = encode_pairs(task, reader, plan)
        sets = {TRAIN_TASK: (task, chosen), TRAIN_REJECTED: (rejected_set, rejected)}
    if proxy is not None:
        sets[TRAIN_PROXY] = (proxy, encode_checked(proxy, reader, plan, role="proxy"))
    for name, dataset in monitors.items():
        sets[name] = (dataset, encode_checked(dataset, reader, plan, role=f"monitor {name}"))
    # The identity has what was asked for, so that a run may be resumed on another machine.
    given, plan = plan.given(), replace(plan, precision=precision.used)
    prepared = attach(
        model.model,
        plan.method,
        seed=plan.seed,
        tokenizer=model.tokenizer,
        compute=plan.precision,
    )
    require_room(prepared, plan)
    use_cache = prepared.config.use_cache
    with generators_kept(), without_bars():
        used = {name: (data, len(rows)) for name, (data, rows) in sets.items()}
        run.begin(model, plan, used, given=given, precision=precision)
        work = _Work(prepared, model, plan, run, {n: rows for n, (_, rows) in sets.items()})
        try:
            work.build(alignment, progress, collate)
            if visit is not None:
                work.invite(visit)
            work.train()
            document, steps = work.finish()
        except BaseException as error:
            raise work.failure(error) from error
        finally:
            if work.trainer is not None:
                # Mixed precision wraps the model's forward; what is measured later is not mixed.
                work.trainer.accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
            prepared.config.use_cache = use_cache
            prepared.eval()
    trained = replace(
        model, model=prepared, name=f"{model.name} + {run.folder.name}", sha256=sha256_of(identity)
    )
    return FinetuneRun(run.folder, plan, document, steps, work.evaluator.found, trained)


class _Work:
    """The parts of a run in progress."""

    def __init__(
        self,
        prepared: PreTrainedModel,
        source: LoadedModel,
        plan: TrainingPlan,
        run: RunFolder,
        encoded: Mapping[str, Sequence[Encoded]],
    ) -> None:
        self.model, self.source, self.plan, self.run = prepared, source, plan, run
        self.encoded = encoded
        self.started = time.perf_counter()
        self.trainer: ConstraintTrainer | None = None
        self.evaluator: Evaluator
        self.displacement: Displacement
        self.tokens: dict[str, list[np.ndarray]] = {}
        self.budget: OptimiserBudget
        self.monitor: MonitorCallback | None = None

    @property
    def _built(self) -> ConstraintTrainer:
        assert self.trainer is not None
        return self.trainer

    def build(self, alignment: AlignmentPair | None, progress: Progress, collate: Collate) -> None:
        """The trainer with its callbacks; measures the start."""
        plan, pad_id = self.plan, self.source.pad_id
        self.displacement = displacement_of(self.model)
        self.constraint = ParameterConstraintCallback(self.displacement, plan.radius)
        task = Stream(TASK, tuple(self.encoded[TRAIN_TASK]), plan.batch_size, plan.seed)
        proxy = None
        if plan.trains_on_proxy:
            rows = tuple(self.encoded[TRAIN_PROXY])
            proxy = Stream(PROXY, rows, plan.proxy_rows_per_step, plan.seed)
        streams = Streams(task, proxy)
        if isinstance(plan.strategy, BiState):
            streams = AlternatingStreams(task, proxy, states=plan.strategy)
        timed = (
            [TimedCheckpointCallback(plan.checkpoint_seconds)] if plan.checkpoint_seconds else []
        )
        self.trainer = trainer = ConstraintTrainer(
            self.model,
            plan,
            streams,
            pad_id=pad_id,
            checkpoints=self.run.checkpoints,
            callbacks=[self.constraint, *timed],
            collate=collate,
            of=sha256_of(self.run.identity),
        )
        decayed = trainer.get_decay_parameter_names(self.model) if plan.weight_decay else ()
        self.budget = optimiser_budget(self.model, plan, decayed=decayed)
        held_out = [name for name in self.encoded if not name.startswith("train/")]
        self.evaluator = Evaluator(
            trainer,
            self.encoded,
            every=list(self.encoded) if plan.training_sets_at == "all" else held_out,
            folder=self.run.evaluations,
            progress=progress,
            keep=self.run.keep,
            kept=self.run.has,
        )
        start = self.evaluator.at(0)
        reference = Reference(trainer, self.evaluator, self.run.folder / REFERENCE)
        self.reference = reference.losses(start)
        if plan.objective is not None:
            trainer.task_loss = PreferenceLoss(plan.objective.beta)
            pairs = PairStream(
                *(task.name, task.encoded, task.rows_per_step, task.seed),
                rejected=tuple(self.encoded[TRAIN_REJECTED]),
                reference=self._log_ratio(self.reference),
            )
            trainer.streams = replace(trainer.streams, task=pairs)
        if isinstance(plan.strategy, TokenConstraint):
            trainer.task_loss = ConstrainedTokens(plan.strategy)
            tokens = reference.task_tokens()
            self.tokens |= {"reference": tokens, "start": tokens}
            if plan.method.virtual_tokens:
                self.tokens["start"] = self.evaluator.token_losses(TRAIN_TASK)
            referenced = ReferencedStream(
                *(task.name, task.encoded, task.rows_per_step, task.seed), reference=tuple(tokens)
            )
            trainer.streams = replace(trainer.streams, task=referenced)
        trainer.penalty = self._penalty(alignment, progress)
        if isinstance(trainer.penalty, ProximalTerm):
            trainer.add_callback(trainer.penalty)
        if plan.epsilon is not None:
            dual = DualAscentCallback(
                trainer.streams, start[TRAIN_PROXY], epsilon=plan.epsilon, rate=plan.dual_rate
            )
            dual.trainer = trainer
            trainer.add_callback(dual)
        trainer.add_callback(EvaluationCallback(plan.evaluation_steps, self._evaluate))
        if plan.early_stopping is not None:
            name = plan.early_stopping.monitor
            self.monitor = MonitorCallback(
                plan.early_stopping,
                start[name].per_token,
                lambda: self.evaluator.losses(name).per_token,
            )
            trainer.add_callback(self.monitor)
        trainer.add_callback(ProgressCallback(progress, plan.steps))

    def _penalty(self, alignment: AlignmentPair | None, progress: Progress) -> Penalty | None:
        """What the strategy adds to the loss. Raises InputError where shards cannot have it."""
        strategy = self.plan.strategy
        if isinstance(strategy, SoftParameterConstraint):
            weights = None
            if strategy.fisher:
                rows = self.encoded[TRAIN_PROXY][:FISHER_ROWS]
                weights = fisher_diagonal(
                    self.model, rows, pad_id=self._built.pad_id, progress=progress
                )
            return SoftPenalty(self.displacement, strategy.strength, weights)
        if isinstance(strategy, BiState | SubspacePenalty) and self._built.is_fsdp_enabled:
            kind = self.plan.as_dict()["strategy"]["kind"]
            raise InputError(
                f"{kind} needs whole weights in every process, and FSDP shards them.",
                remedy="Run it without FSDP, on several processes if need be.",
            )
        if isinstance(strategy, BiState):
            return ProximalTerm(self.model, strategy)
        if isinstance(strategy, SubspacePenalty):
            assert alignment is not None  # checked before anything was written
            return alignment.penalty(self.model, strategy, progress=progress)
        return None

    @staticmethod
    def _log_ratio(losses: Mapping[str, Losses]) -> np.ndarray:
        return log_ratio(losses[TRAIN_TASK], losses[TRAIN_REJECTED])

    def _evaluate(self, step: int) -> dict[str, Losses]:
        return self.evaluator.at(step, is_end=step == self.plan.steps)

    def invite(self, visit: Visit) -> None:
        """Show the model at every measurement between start and end as it will be afterwards."""

        def show(step: int) -> None:
            sha256 = sha256_of({"run": self.run.identity, "step": step})
            name = f"{self.source.name} + {self.run.folder.name} after {step} steps"
            with as_after_training(self.model) as model:
                visit(replace(self.source, model=model, name=name, sha256=sha256), step)

        self._built.add_callback(EvaluationCallback(self.plan.evaluation_steps[1:-1], show))

    def train(self) -> None:
        """All steps, from the last whole checkpoint if there is one."""
        whole, faults = last_checkpoint(self.run.checkpoints, of=self._built.of)
        self._built.accelerator.wait_for_everyone()
        if self.run.main:
            discard(faults, instead=whole)
            if whole is not None:
                tell(f"{self.run.folder}: goes on at {whole.name}.")
            remove(self.run.checkpoints / PARTIAL)
        self._built.train(resume_from_checkpoint=None if whole is None else str(whole))

    def finish(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Measure the end, write weights and record; the checkpoints are no longer needed."""
        trainer, plan = self._built, self.plan
        done = trainer.state.global_step
        end = self.evaluator.at(done, is_end=True)
        if isinstance(plan.strategy, TokenConstraint):
            self.tokens["end"] = self.evaluator.token_losses(TRAIN_TASK)
        steps = self.run.write_steps(trainer.state.log_history)
        save_weights(trainer, self.run, self.source)
        result = {
            "steps": done,
            "stopped": (self.monitor and self.monitor.reason) or "all steps done",
            "displacement": {
                "end": self.displacement.norm(),
                "largest": float(steps["displacement"].max()),
                "coordinates": self.displacement.coordinates_norm(),
                "norm": plan.method.norm,
            },
            "starts_at_theta_s": plan.method.starts_at_theta_s,
            "optimiser_budget": self.budget.as_dict(),
            "objective": self._objective(self.evaluator.at(0), end, steps),
            "micro_batches": int(steps["micro_batches"][-1]),
            "evaluation_tokens_per_batch": self.evaluator.tokens_per_batch,
            "rates_match_plan": bool(
                np.array_equal(steps["learning_rate"], plan.learning_rates()[:done])
            ),
            "processes": trainer.accelerator.num_processes,
            "sharded": bool(trainer.is_fsdp_enabled),
            "device": device_name(trainer.args.device),
            "seconds_of_last_start": time.perf_counter() - self.started,
            "peak_memory_bytes": peak_memory(),
        }
        self.run.finish(result)
        if self.run.main:
            remove(self.run.checkpoints)
        return self.run.document, steps

    def _objective(
        self, start: Mapping[str, Losses], end: Mapping[str, Losses], steps: Mapping[str, Any]
    ) -> dict[str, float]:
        """T1's delta material: both losses on the whole training sets at both ends.

        ``rise`` is how far ``f_f + lam f_hat_s`` (for the epsilon form with the last lambda)
        ended above its start; theory's ``optimality_slack`` is its positive part. With DPO ``f_f``
        is its mean over the pairs; with constrained SFT its objective is the constrained loss.
        """
        lam = float(steps["lam"][-1]) if "lam" in steps else 0.0
        found: dict[str, float] = {"lam": lam}
        for when, losses in (("start", start), ("end", end)):
            task = losses[TRAIN_TASK].per_token
            if self.plan.objective is not None:
                margins = self._log_ratio(losses) - self._log_ratio(self.reference)
                task = float(preference_losses(margins, self.plan.objective.beta).mean())
                found[f"margin_{when}"] = float(margins.mean())
                found[f"preferred_{when}"] = float((margins > 0).mean())
            found[f"task_{when}"] = found[f"objective_{when}"] = task
            if isinstance(self.plan.strategy, TokenConstraint):
                found[f"objective_{when}"] = constrained_loss(
                    self.plan.strategy, self.tokens[when], self.tokens["reference"]
                )
            if TRAIN_PROXY in losses:
                found[f"proxy_{when}"] = losses[TRAIN_PROXY].per_token
                found[f"objective_{when}"] += lam * losses[TRAIN_PROXY].per_token
        found["rise"] = found["objective_end"] - found["objective_start"]
        return found

    def failure(self, error: BaseException) -> BaseException:
        """Record why the run ended, keep its steps, and give the error for people."""
        if self.trainer is not None and self.trainer.state.log_history:
            try:
                self.run.write_steps(self.trainer.state.log_history)
            except InputError as full:
                error = error if isinstance(error, InputError) else full
        if isinstance(error, KeyboardInterrupt):
            self.run.give_up("cancelled", error)
        elif isinstance(error, Exception) and should_reduce_batch_size(error):
            error = InputError(
                "the device runs out of memory outside the forward and backward pass.",
                remedy="Train a LoRA of lower rank, or use a device with more memory.",
            )
            self.run.give_up("out of memory", error)
        else:
            self.run.give_up("failed", error)
        return error
