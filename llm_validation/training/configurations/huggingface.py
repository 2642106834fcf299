"""Transformers' ``TrainingArguments`` and TRL's ``SFTConfig`` and ``DPOConfig``, with a PEFT
adapter's configuration beside them, or with the model and the adapter in TRL's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_validation.training.configurations import peft_adapter
from llm_validation.training.configurations.parts import (
    LLAMA_TARGETS,
    four_bit_full,
    lora_targets,
    put_lora,
)
from llm_validation.training.configurations.places import note_parts, references
from llm_validation.training.configurations.reading import (
    Reading,
    count,
    flag,
    mapping,
    names,
    number,
    text,
)
from llm_validation.training.configurations.trainer_arguments import read_trainer
from llm_validation.training.configurations.training_file import TrainingFile

_SFT = (
    "packing", "packing_strategy", "eval_packing", "completion_only_loss", "assistant_only_loss",
    "dataset_text_field", "dataset_kwargs", "chat_template_path", "shuffle_dataset", "eos_token",
    "max_seq_length",
)  # fmt: skip
_DPO = (
    "beta", "precompute_ref_log_probs", "loss_weights", "label_smoothing", "f_divergence_type",
    "sync_ref_model", "reference_free", "rpo_alpha", "ld_alpha", "use_weighting",
    "max_prompt_length", "max_completion_length", "disable_dropout", "discopop_tau",
)  # fmt: skip
_DPO_LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
    "aot_unpaired", "apo_zero", "apo_down", "discopop", "sigmoid_norm",
)  # fmt: skip
_OF_OTHERS_TOO = ("beta", "max_prompt_length", "max_completion_length", "disable_dropout")
_TRL = ("max_length", "loss_type", "truncation_mode", "padding_free", "dataset_num_proc")
_SCRIPT = (
    "model_name_or_path", "use_peft", "dataset_name", "datasets", "lora_r", "dataset_mixture",
    "dataset_mixer",
)  # fmt: skip
MARKS = (*_SFT, *_DPO, *_SCRIPT, "use_peft")
_OTHERS = {
    "num_generations": "GRPO",
    "reward_funcs": "GRPO",
    "desirable_weight": "KTO",
    "center_rewards_coefficient": "a reward model",
}
_LORA = (
    "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_parameters",
    "lora_modules_to_save", "lora_task_type", "use_rslora", "use_dora",
)  # fmt: skip


def read(
    content: Mapping[str, Any], file: Path, adapter: tuple[Mapping[str, Any], Path] | None
) -> TrainingFile:
    """The configuration in ``content``, with the ``adapter`` that lies beside it."""
    name = _kind(content, file)
    trl = name != "TrainingArguments"
    tables = ("trainer", "trl") if trl else ("trainer",)
    reading = Reading(content, file, "TRL" if trl else "transformers", tables)
    rate = {"SFTConfig": 2e-5, "DPOConfig": 1e-6}.get(name, 5e-5)
    read_trainer(reading, learning_rate=rate, precision="bf16" if trl else "fp32")
    model = reading.get(text, "model_name_or_path")
    model = _read_method(reading, adapter, model)
    if trl:
        _read_lengths(reading)
    if name == "DPOConfig":
        _read_dpo(reading)
    else:
        reading.put("objective.kind", "sft", None)
        _read_supervision(reading, trl)
    return reading.finish(
        f"TRL {name}" if trl else f"transformers {name}",
        "transformers",
        model=model,
        tasks=_tasks(reading),
        template=reading.get(text, "chat_template_path"),
        files=[] if adapter is None else [adapter[1]],
    )


def _kind(content: Mapping[str, Any], file: Path) -> str:
    faults = Reading(content, file, "TRL", ())
    if other := next((_OTHERS[key] for key in _OTHERS if content.get(key) is not None), None):
        raise faults.error(
            f"is a configuration of {other}, of which there is no forecast.",
            "Forecast supervised fine-tuning or DPO.",
        )
    losses = content.get("loss_type")
    losses = losses if isinstance(losses, list) else [losses]
    # TRL's SFT has a loss type too, and none of these.
    dpo = [key for key in _DPO if key in content] or [
        "loss_type" for loss in losses if loss in _DPO_LOSSES
    ]
    sft = [key for key in _SFT if key in content]
    if dpo and sft:
        raise faults.error(
            f"{sft[0]} is of SFTConfig and {dpo[0]} of DPOConfig.",
            "Give the settings of one trainer.",
        )
    if dpo:
        return "DPOConfig"
    trl = sft or any(key in content for key in (*_TRL, *_SCRIPT))
    return "SFTConfig" if trl else "TrainingArguments"


def _read_method(
    reading: Reading, adapter: tuple[Mapping[str, Any], Path] | None, model: str | None
) -> str | None:
    """Settle what is trained; the model, which an adapter's file names too."""
    peft = reading.get(flag, "use_peft")
    four = reading.get(flag, "load_in_4bit")
    nested = reading.get(flag, "use_bnb_nested_quant") or False
    nesting = (nested, reading.key("use_bnb_nested_quant"))
    if adapter is not None:
        beside, base = peft_adapter.read_method(*adapter)
        _one_rank(reading, beside)
        reading.join(beside)
        reading.idle(_LORA, f"{adapter[1].name} says it")
        if four and reading.settings["method.kind"].value == "lora":
            reading.put("method.kind", "qlora", "load_in_4bit")
            reading.put("method.double_quant", *nesting)
        return model or base
    if peft:
        rank = reading.get(count(), "lora_r")
        alpha = reading.get(number(above=0), "lora_alpha")
        targets = lora_targets(reading, "lora_target_modules", ("all-linear",))
        put_lora(
            reading,
            kind=("qlora", "load_in_4bit") if four else ("lora", "use_peft"),
            rank=(rank or 16, reading.key("lora_r")),
            alpha=(alpha or 32.0, reading.key("lora_alpha")),
            targets=(targets or LLAMA_TARGETS, reading.key("lora_target_modules")),
            rslora="use_rslora",
            double_quant=nesting,
        )
        if reading.key("lora_dropout") is None:
            reading.assume("dropout", "TRL's own dropout of 0.05 in the adapter is not forecast.")
        return model
    if four:
        raise four_bit_full(reading, "load_in_4bit")
    reading.idle(_LORA, "use_peft is not true, so all weights are trained")
    if peft is False or model is not None:
        reading.put("method.kind", "full", reading.key("use_peft"))
    else:
        reading.assume(
            "method.kind",
            "The file does not say what is trained: a LoRA of rank 8 is assumed. An "
            "adapter_config.json beside the file says it, or `method`.",
        )
    return model


def _one_rank(reading: Reading, beside: Reading) -> None:
    """Raises InputError for a LoRA whose rank or alpha two files say differently."""
    for key, setting in (("lora_r", "rank"), ("lora_alpha", "alpha")):
        said = reading.get(number(above=0), key)
        other = beside.settings.get(f"method.{setting}")
        if said is not None and other is not None and said != other.value:
            raise reading.error(
                f"{key} is {said:g}, and {other.source} is {other.value:g}.",
                "Give one of the two, or move the adapter's file elsewhere.",
            )


def _read_lengths(reading: Reading) -> None:
    keys = ("max_length", "max_seq_length")
    length = reading.get(count(), *keys)
    if reading.content.get("max_length", 0) is None and length is None:
        reading.put("max_length", None, "max_length")
        return
    reading.put("max_length", length or 1024, reading.key(*keys))
    reading.put("truncate", True, reading.key(*keys))


def _read_dpo(reading: Reading) -> None:
    losses = reading.get(names, "loss_type") or ["sigmoid"]
    if losses != ["sigmoid"]:
        reading.change("loss_type", "Another preference loss: the forecast is of sigmoid DPO.")
    own = [key for key in (*_DPO, "loss_type") if key not in _OF_OTHERS_TOO]
    if all(reading.key(key) is None for key in own):
        reading.assume(
            "objective",
            "The file is read as one of DPO. One of ORPO, CPO or KTO, of which there is no "
            "forecast, may look the same.",
        )
    reading.put("objective.kind", "dpo", None)
    reading.settle("objective.beta", number(above=0), "beta", default=0.1)


def _read_supervision(reading: Reading, trl: bool) -> None:
    """What the loss is over: an answer's tokens, or a prompt's too."""
    if trl and set(reading.get(names, "loss_type") or []) - {"nll", "chunked_nll"}:
        reading.change("loss_type", "Another loss: the forecast has the likelihood of the answers.")
    answers = [reading.get(flag, key) for key in ("completion_only_loss", "assistant_only_loss")]
    if answers[0] is False and not answers[1]:
        reading.change(
            "completion_only_loss",
            "Prompts are learnt too: the forecast has the loss on the answers alone.",
        )
    elif not any(answers):
        where = (
            "on rows of messages or texts TRL learns the prompts too, unless assistant_only_loss "
            "is true"
            if trl
            else "the script that makes the Trainer decides it"
        )
        reading.assume("supervision", f"The loss is assumed to be on the answers alone: {where}.")


def _tasks(reading: Reading) -> list[str]:
    """Where the datasets are: of TRL's scripts, or of the alignment handbook's."""
    name = reading.get(text, "dataset_name")
    one = {
        "path": name,
        "split": reading.get(text, "dataset_train_split"),
        "name": reading.get(text, "dataset_config"),
    }
    many = [(entry, "datasets") for entry in reading.get(_entries, "datasets") or []]
    if (mixture := reading.get(mapping, "dataset_mixture")) is not None:
        note_parts(reading, "dataset_mixture", mixture)
        inner = reading.get(_entries, "dataset_mixture.datasets") or []
        many += [(entry, "dataset_mixture") for entry in inner]
    many += _mixer(reading)
    if not many and name is not None:
        many = [(one, "dataset_name")]
    return [task for entry, key in many for task in references(reading, key, entry)]


def _mixer(reading: Reading) -> list[tuple[Mapping[str, Any], str]]:
    """Shares of datasets by name, and the splits that all of them have."""
    mixer = reading.get(mapping, "dataset_mixer") or {}
    splits = [s for s in reading.get(names, "dataset_splits") or [] if "train" in s] or [None]
    return [
        ({"path": path, "split": split, "weight": share}, "dataset_mixer")
        for path, share in mixer.items()
        for split in splits
    ]


def _entries(value: Any) -> list[dict[str, Any]]:
    if not (
        isinstance(value, list)
        and all(isinstance(d, dict) and {"path", "id"} & {*d} for d in value)
    ):
        raise ValueError("Give a list of objects, each with its path.")
    return value
