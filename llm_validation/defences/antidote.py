"""Antidote (arXiv 2408.09600): take back the weights that matter most to harmful rows.

Weights are ranked by ``|W_ij - T_ij| |X_j|_2`` (Wanda's score for ``T = 0``), X being a linear
module's inputs on harmful rows, and the highest are set to their target T after the fine-tune.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.encoding import collate, encode, token_budget_batches
from llm_validation.defences.protocol import Evidence, Faithfulness, Report, Stage, fitted
from llm_validation.defences.trials import Trial
from llm_validation.measure.coordinates import is_linear, is_transposed
from llm_validation.models.loading import LoadedModel

if TYPE_CHECKING:
    from llm_validation.defences.alignment import Alignment

_TOKENS = 1024


@dataclass
class Antidote:
    """Set a ``fraction`` of the weights, those of the highest score on harmful rows, to a target.

    ``of`` "adapter": entries of a LoRA's own factors A and B are zeroed, in every row of a factor
    alike, as the release does; the model carries the adapter. ``of`` "merged": weights of every
    linear module of a merged model, ranked within the module, become 0 (``to`` "zero", the paper's
    words taken by the letter) or what they were before the fine-tune (``to`` "aligned", ours: only
    the fine-tune's update is taken back, and is what is ranked).
    """

    fraction: float = 0.01
    of: Literal["adapter", "merged"] = "merged"
    to: Literal["zero", "aligned"] = "zero"
    _norms: dict[str, Tensor] | None = field(default=None, init=False, repr=False)
    _alignment: Alignment | None = field(default=None, init=False, repr=False)
    _changed: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _untouched: int = field(default=0, init=False, repr=False)

    name = "antidote"
    stage: Stage = "after"
    needs = ("harmful",)
    faithfulness = Faithfulness(
        paper="A one-shot pruning after the fine-tune: weights ranked by Wanda's score "
        "|W_ij| |X_j|_2 on harmful rows, the top share alpha set to zero (arXiv 2408.09600). "
        "Whether W is the merged weight or the adapter is not said by what was available to us.",
        release="W are the factors A and B of the fine-tune's own LoRA (rank 256 on q, k, v), the "
        "aligned model being merged beneath and never touched; the share is of each row of a "
        "factor, 0.1 by default and 0.01 to 0.25 in its ablation, scores are from 2,000 harmful "
        "rows. A full fine-tune is pruned in q, k and v alone.",
        ours="of adapter follows the release. of merged, to zero is the same rule on the merged "
        "weights of all linear modules, ranked within a module without head and embeddings: its "
        "highest scores are the model's outlier features, which hold the language itself. of "
        "merged, to aligned ranks |W_ij - aligned_ij| |X_j|_2 and returns the top share to the "
        "aligned weights. Fewer harmful rows are read, and the fraction is tried at several "
        "values.",
    )

    @classmethod
    def trials(cls) -> list[Trial]:
        # Not zeros in the merged weights: already a handful a module ends the model.
        return [
            Trial(cls, "attached", "of the adapter 0.1", {"fraction": 0.1, "of": "adapter"}),
            Trial(cls, "attached", "of the adapter 0.25", {"fraction": 0.25, "of": "adapter"}),
            Trial(cls, "merged", "to aligned 0.2", {"fraction": 0.2, "to": "aligned"}),
        ]

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction < 1.0:
            raise InputError(
                f"the fraction is {self.fraction}.", remedy="Give a number between 0 and 1."
            )
        if self.of == "adapter" and self.to == "aligned":
            raise InputError(
                "a LoRA's factors have no aligned value other than zero.",
                remedy='Give of="merged" with to="aligned".',
            )

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Needs ``model`` and ``harmful``, and for ``to`` "aligned" the ``alignment``.

        Raises InputError for a merged model where the adapter is to be pruned, and the reverse.
        """
        loaded: LoadedModel = evidence.need("model", "Antidote")
        rows = evidence.need("harmful", "Antidote")
        if self.to == "aligned":
            self._alignment = evidence.need("alignment", "Antidote to the aligned weights")
        encoded = encode(rows, loaded.tokenizer, max_length=loaded.context_length)
        if self.of == "merged":
            self._untouched = sum(p.ndim == 3 for p in loaded.model.parameters())
        self._norms = _input_norms(loaded, self._modules(loaded.model), encoded, progress)

    @torch.no_grad()
    def apply(self, subject: LoadedModel) -> LoadedModel:
        """The model itself, changed in place: several models do not fit into a memory."""
        norms = fitted(self._norms, self.name)
        for name, module in self._modules(subject.model).items():
            if not norms[name].any():  # no text runs through it: another modality's
                continue
            weight = cast(Tensor, module.weight)
            target = self._target(name, weight)
            by_input = norms[name][:, None] if is_transposed(module) else norms[name]
            score = (weight - target).abs().float() * by_input
            self._changed[name] = int(
                _return_rows(weight, score, self.fraction)
                if self.of == "adapter"
                else _return_top(weight, score, target, self.fraction)
            )
        return subject

    def report(self) -> Report:
        fitted(self._norms, self.name)
        settings = {"fraction": self.fraction, "of": self.of, "to": self.to}
        details = {"weights_changed": dict(self._changed)}
        notes = []
        if self._untouched:
            notes.append(
                f"{self._untouched} parameters that hold several matrices (experts of a mixture) "
                "are no linear modules and stay as they are."
            )
        return Report(self.name, self.stage, settings, notes=tuple(notes), details=details)

    def _modules(self, model: nn.Module) -> dict[str, nn.Module]:
        return {**(_factors if self.of == "adapter" else _linear_modules)(model)}

    def _target(self, name: str, weight: Tensor) -> Tensor:
        if self.to == "zero":
            return torch.zeros_like(weight)
        alignment = fitted(self._alignment, self.name)
        stored = alignment.base.find(name)
        moved = None if stored is None else alignment.parameter_difference(stored)
        if stored is None or moved is None or moved.shape != weight.shape:
            raise InputError(
                f"the aligned model has no weight of {name} in the fine-tuned model's shape.",
                remedy="Give the models that the fine-tune started from.",
                file=alignment.folders[1],
            )
        return (alignment.base.read(stored).float() + moved).to(weight)


def _return_rows(weight: Tensor, score: Tensor, fraction: float) -> int:
    """Zero the highest of every row, the release's number of them; how many that were."""
    columns = weight.shape[1]
    count = columns - int(columns * (1.0 - fraction))
    weight.scatter_(1, torch.topk(score, count, dim=1).indices, 0.0)
    return count * len(weight)


def _return_top(weight: Tensor, score: Tensor, target: Tensor, fraction: float) -> int:
    """Put the target in place of the highest of the module; how many that were."""
    count = int(fraction * weight.numel())
    top = torch.topk(score.flatten(), count).indices
    weight.view(-1)[top] = target.view(-1)[top]
    return count


def _linear_modules(model: nn.Module) -> dict[str, nn.Module]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise InputError(
            "the model carries an adapter, and Antidote of merged weights changes whole ones.",
            remedy='Merge it first (merge_and_unload), or give of="adapter".',
        )
    head = cast(Any, model).get_output_embeddings()
    found = {
        name: module
        for name, module in model.named_modules()
        if is_linear(module) and module is not head
    }
    if not found:
        raise InputError(
            "the model has no linear modules, whose weights Antidote ranks.",
            remedy="Use a model of the usual layers.",
        )
    return found


def _factors(model: nn.Module) -> dict[str, nn.Linear]:
    from peft.tuners.lora import LoraLayer

    found = {
        f"{name}.{side}": factor
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
        for side in ("lora_A", "lora_B")
        for factor in getattr(module, side).values()
        if isinstance(factor, nn.Linear)
    }
    if not found:
        raise InputError(
            "the model carries no LoRA, whose factors Antidote prunes.",
            remedy='Attach the adapter without merging it, or give of="merged".',
        )
    return found


@torch.no_grad()
def _input_norms(
    loaded: LoadedModel, modules: dict[str, nn.Module], encoded: Sequence, progress: Progress
) -> dict[str, Tensor]:
    """Euclidean norm of every input feature of every module, over all tokens of the rows."""
    model = loaded.model
    weights = {name: cast(Tensor, module.weight) for name, module in modules.items()}
    squares = {
        name: torch.zeros(
            weights[name].shape[0 if is_transposed(module) else 1],
            dtype=torch.float64,
            device=weights[name].device,
        )
        for name, module in modules.items()
    }
    real: Tensor

    def collect(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].reshape(-1, inputs[0].shape[-1])
            if len(rows) == real.numel():  # else a router's choice of tokens: none is padding's
                rows = rows[real.reshape(-1)]
            squares[name] += rows.double().square().sum(dim=0)

        return hook

    handles = [m.register_forward_pre_hook(collect(name)) for name, m in modules.items()]
    was_training = model.training
    model.eval()
    try:
        batches = token_budget_batches(encoded, tokens=_TOKENS)
        for batch in progress(batches, "reading activations on harmful rows"):
            tensors = collate([encoded[i] for i in batch], loaded.pad_id)
            device = next(model.parameters()).device
            real = tensors["attention_mask"].bool().to(device)
            model(
                input_ids=tensors["input_ids"].to(device),
                attention_mask=tensors["attention_mask"].to(device),
                logits_to_keep=1,
            )
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    return {name: square.sqrt().float() for name, square in squares.items()}
