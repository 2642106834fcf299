"""What is refused before a fine-tune starts: data and options that would spoil it silently."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, encode
from llm_validation.models.loading import LoadedModel
from llm_validation.training.plan import TrainingPlan
from llm_validation.training.strategies import BiState
from llm_validation.training.terms import AlignmentPair

_NAME = re.compile(r"[\w.-]+")


def check_inputs(
    model: LoadedModel,
    proxy: Dataset | None,
    plan: TrainingPlan,
    monitors: Mapping[str, Dataset],
    alignment: AlignmentPair | None = None,
) -> None:
    """Raises InputError for a plan that does not fit the model and data."""
    if plan.uses_proxy and proxy is None:
        what = "loss constraint" if plan.needs_proxy_rows else "Fisher information"
        what = "alignment state" if isinstance(plan.strategy, BiState) else what
        raise InputError(
            f"the strategy's {what} needs proxy safety data, and none is given.",
            remedy="Name a proxy dataset.",
        )
    if proxy is not None and not plan.uses_proxy:
        raise InputError(
            "a proxy dataset is given, and the strategy does not use it.",
            remedy="Leave it out, pass it as a monitor, or use a loss constraint or a hybrid.",
        )
    if plan.needs_alignment and alignment is None:
        raise InputError(
            "the strategy asft needs the models before and after the alignment: none are given.",
            remedy="Give the alignment, made of the base and the aligned model.",
        )
    if alignment is not None and not plan.needs_alignment:
        raise InputError(
            "an alignment is given, and the strategy does not use it.",
            remedy="Leave it out, or use the strategy asft.",
        )
    if plan.max_length is not None and plan.max_length > model.context_length:
        raise InputError(
            f"max_length is {plan.max_length}, and the model reads {model.context_length} tokens.",
            remedy="Lower max_length.",
        )
    for name in monitors:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"a monitor is called {name!r}.",
                remedy="Use letters, digits, hyphens, dots and underscores.",
            )
    rule = plan.early_stopping
    if rule is not None and rule.monitor not in monitors:
        raise InputError(
            f"early stopping watches {rule.monitor!r}, which is no monitor of this run.",
            remedy=f"Use one of {', '.join(monitors)}." if monitors else "Pass it as a monitor.",
        )
    if rule is not None and rule.every > plan.steps:
        raise InputError(
            f"early stopping checks every {rule.every} steps, and there are only {plan.steps}.",
            remedy="Check more often, or leave early stopping out.",
        )


def encode_checked(
    dataset: Dataset, model: LoadedModel, plan: TrainingPlan, *, role: str
) -> list[Encoded]:
    """``encode`` for training: raises InputError for the format's silent mistakes too."""
    if not len(dataset):
        raise InputError(
            f"the {role} dataset has no rows.", remedy="Add rows.", file=dataset.source
        )
    encoded = encode(
        dataset,
        model.tokenizer,
        max_length=plan.max_length or model.context_length,
        on_long="drop" if plan.drop_long else "truncate" if plan.truncate else "error",
    )
    _check_format(encoded, model.tokenizer, dataset)
    return encoded


def _check_format(
    encoded: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase, dataset: Dataset
) -> None:
    bos = tokenizer.bos_token_id
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special.update(tokenizer.all_special_ids)
    in_memory = dataset.source == "memory"
    for row in encoded:
        origin = dataset.examples[row.row - 1].origin
        file, number = origin or (dataset.name if in_memory else dataset.source, row.row)
        ids = row.input_ids
        if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos:
            raise InputError(
                f"The row begins with two {tokenizer.bos_token} tokens.",
                remedy="Take one out: the chat template writes it, or the data, but not both.",
                file=file,
                row=number,
            )
        last = int(ids[row.supervised.nonzero()[0][-1]])
        if special and last not in special and not row.cut:
            raise InputError(
                "The row's stop token is not supervised, so the model would unlearn to stop: the "
                f"last token in the loss is {tokenizer.convert_ids_to_tokens(last)!r}.",
                remedy="Use a chat template whose answers end with an end-of-turn token inside "
                "its {% generation %} mark.",
                file=file,
                row=number,
            )
