"""A LoRA in PEFT's plain format: read, changed as numbers, written so that plain PEFT loads it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finebound.base.errors import InputError
from finebound.base.integrity import require_of_its_run
from finebound.base.records import to_json
from llm_validation.defences.tensor_files import open_safetensors, read_json
from llm_validation.models.adapter_folder import CONFIG, WEIGHTS, adapter_files

_KEY = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_PREFIX = "base_model.model."
# Settings under which an update is more or something else than scaling * B A.
_NOT_PLAIN = {
    "use_dora": "is a DoRA (use_dora): its update rescales whole weights and is not scale * B A",
    "lora_bias": "trains biases of its own (lora_bias)",
    "modules_to_save": "carries whole trained modules (modules_to_save)",
    "trainable_token_indices": "carries trained token embeddings (trainable_token_indices)",
    "target_parameters": "adapts bare parameters (target_parameters)",
    "layer_replication": "replicates layers (layer_replication)",
    "alora_invocation_tokens": "is an aLoRA (alora_invocation_tokens), active on some tokens only",
    "use_qalora": "is a QA-LoRA (use_qalora)",
    "use_bdlora": "is a block-diagonal LoRA (use_bdlora)",
    "monteclora_config": "is a MonteCLoRA (monteclora_config)",
    "kasa_config": "is a KaSA (kasa_config)",
    "megatron_config": "is for Megatron's parallel layers (megatron_config)",
    "velora_config": "is a VeLoRA (velora_config)",
    "arrow_config": "is an Arrow router (arrow_config)",
}
_FLOATING = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
_LARGEST = 1e18  # its square is a float32
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True, eq=False)
class LoraModule:
    """One adapted module: its weight is the base's plus ``scaling * B A``.

    ``a`` is ``[r, d_in]``, ``b`` is ``[d_out, r]``, in the type they are stored in.
    """

    name: str
    a: Tensor
    b: Tensor
    scaling: float

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """``(d_out, d_in)`` of the weight."""
        return self.b.shape[0], self.a.shape[1]


@dataclass(frozen=True, eq=False)
class LoraAdapter:
    """The adapted modules in natural order and PEFT's configuration of the file they are from."""

    folder: Path
    config: Mapping[str, Any]
    modules: tuple[LoraModule, ...]

    @property
    def names(self) -> list[str]:
        return [module.name for module in self.modules]

    @property
    def base_name(self) -> str:
        """What the file says it was trained on; empty when it does not say."""
        return str(self.config.get("base_model_name_or_path") or "")

    def without(self, names: Iterable[str]) -> LoraAdapter:
        """This adapter with the modules gone. Raises InputError when none would be left."""
        gone = set(names)
        left = tuple(module for module in self.modules if module.name not in gone)
        if not left:
            raise InputError(
                f"all {len(self.modules)} modules would be removed, and an adapter without "
                "modules is the model that it was trained on.",
                remedy="Keep some (`keep`, `count`, `threshold`), or use that model itself.",
                file=self.folder,
            )
        return replace(self, modules=left)

    def replaced(self, modules: Iterable[LoraModule]) -> LoraAdapter:
        """This adapter with these modules in place of those of the same name."""
        new = {module.name: module for module in modules}
        return replace(self, modules=tuple(new.get(m.name, m) for m in self.modules))

    def write(self, folder: Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors into an existing folder."""
        from safetensors.torch import save_file

        save_file(self.tensors(), folder / WEIGHTS, metadata={"format": "pt"})
        (folder / CONFIG).write_text(to_json(self.settings()) + "\n", encoding="utf-8")

    def tensors(self) -> dict[str, Tensor]:
        """The factors under the names of PEFT's file."""
        return {
            f"{_PREFIX}{module.name}.lora_{side}.weight": factor.contiguous().clone()
            for module in self.modules
            for side, factor in (("A", module.a), ("B", module.b))
        }

    def settings(self) -> dict[str, Any]:
        """PEFT's configuration of these modules.

        Every module is named in ``target_modules``, so that PEFT makes these and no others, and
        has its rank and alpha in the patterns where they are not the common ones.
        """
        common, alpha = int(self.config["r"]), self.config["lora_alpha"]
        alphas = {m.name: _alpha(m, bool(self.config.get("use_rslora"))) for m in self.modules}
        return {
            **self.config,
            "target_modules": sorted(self.names),
            "exclude_modules": None,
            "layers_to_transform": None,
            "layers_pattern": None,
            "rank_pattern": {m.name: m.rank for m in self.modules if m.rank != common},
            "alpha_pattern": {
                name: value
                for name, value in alphas.items()
                if not math.isclose(value, alpha, rel_tol=1e-12)
            },
            "inference_mode": True,
        }


def read_adapter(folder: str | Path) -> LoraAdapter:
    """The LoRA of a folder, on the CPU.

    Raises InputError when there is none, when it is more than ``scaling * B A`` on linear modules
    (DoRA and others, by name), when file and configuration disagree, when a number is not finite,
    and when the whole update is zero.
    """
    folder = Path(folder)
    adapter_files(folder)
    require_of_its_run(folder)
    config = read_json(folder / CONFIG, "the adapter")
    _refuse_other_methods(config, folder)
    sides: dict[str, dict[str, Tensor]] = {}
    with open_safetensors(folder / WEIGHTS) as file:
        for key in file.keys():  # noqa: SIM118 - not a mapping
            match = _KEY.fullmatch(key)
            tensor = file.get_tensor(key)
            if match is None or tensor.ndim != 2:
                raise InputError(
                    f"The adapter holds {key} {list(tensor.shape)}, which is no factor of a LoRA "
                    "on a linear module.",
                    remedy="Only LoRA on linear modules is defended: leave embeddings, "
                    "convolutions, biases and modules_to_save out of the fine-tune.",
                    file=folder / WEIGHTS,
                )
            name = match["module"].removeprefix(_PREFIX)
            sides.setdefault(name, {})[match["side"]] = tensor
    modules = tuple(
        _module(name, sides[name], config, folder) for name in sorted(sides, key=natural)
    )
    if not any(_is_update(module) for module in modules):
        raise InputError(
            "The adapter's update is zero in every module: nothing was trained, or it was saved "
            "before training.",
            remedy="Give the adapter of a finished fine-tune.",
            file=folder,
        )
    return LoraAdapter(folder, config, modules)


def _refuse_other_methods(config: Mapping[str, Any], folder: Path) -> None:
    kind = str(config.get("peft_type", "")).upper()
    start = config.get("init_lora_weights")
    what = next((said for key, said in _NOT_PLAIN.items() if config.get(key)), None)
    if kind != "LORA":
        what = f"is of PEFT's type {kind or 'unknown'}, not a LoRA"
    elif what is None and config.get("bias", "none") != "none":
        what = f"trains the model's biases (bias {config['bias']!r})"
    elif what is None and isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        what = f"starts from changed base weights (init_lora_weights {start!r})"
    if what is not None:
        raise InputError(
            f"The adapter {what}.",
            remedy="The defences of adapters are for plain LoRA and rsLoRA without trained biases: "
            "fine-tune with one, or merge the adapter and defend the model.",
            file=folder / CONFIG,
        )


def _module(
    name: str, sides: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path
) -> LoraModule:
    if absent := {"A", "B"} - sides.keys():
        raise InputError(
            f"lora_{min(absent)} of {name} is missing.",
            remedy="Copy the adapter again.",
            file=folder / WEIGHTS,
        )
    a, b = sides["A"], sides["B"]
    rank = _pattern(config, "rank_pattern", name, config.get("r"), folder)
    alpha = _pattern(config, "alpha_pattern", name, config.get("lora_alpha"), folder)
    if a.shape[0] != b.shape[1] or a.shape[0] != rank or not _is_number(rank, alpha):
        raise InputError(
            f"{name} has factors A {list(a.shape)} and B {list(b.shape)}, and {CONFIG} says rank "
            f"{rank} and alpha {alpha}.",
            remedy="Copy the adapter and its configuration again: they are not of the same run.",
            file=folder,
        )
    if not {a.dtype, b.dtype} <= _FLOATING:
        raise InputError(
            f"The factors of {name} are stored as {a.dtype} and {b.dtype}.",
            remedy="Give the adapter as it was before it was quantised.",
            file=folder / WEIGHTS,
        )
    if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
        raise InputError(
            f"The update of {name} holds numbers that are not finite: the fine-tune diverged.",
            remedy="Fine-tune again with a smaller learning rate.",
            file=folder / WEIGHTS,
        )
    divisor = math.sqrt(rank) if config.get("use_rslora") else rank
    module = LoraModule(name, a, b, float(alpha) / divisor)
    size = abs(module.scaling) * float(a.double().norm()) * float(b.double().norm())
    if not size < _LARGEST:
        raise InputError(
            f"The update of {name} is of size {size:.3g}: {CONFIG} says alpha {alpha}, or the "
            "fine-tune diverged.",
            remedy="Copy the adapter and its configuration again, or fine-tune with a smaller "
            "learning rate.",
            file=folder,
        )
    return module


def _is_number(*values: Any) -> bool:
    """Whether all are finite numbers; JSON's true is none."""
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
        for value in values
    )


def _pattern(config: Mapping[str, Any], which: str, name: str, common: Any, folder: Path) -> Any:
    """PEFT's rule: the first key that, as a regular expression, matches the end of the name."""
    pattern = config.get(which) or {}
    try:
        for key, value in pattern.items():
            if re.match(rf"(.*\.)?({key})$", name):
                return value
    except (AttributeError, re.error) as error:
        raise InputError(
            f"{which} is no map from regular expressions to numbers.",
            remedy="Copy the adapter's configuration again.",
            file=folder / CONFIG,
        ) from error
    return common


def _alpha(module: LoraModule, rslora: bool) -> float:
    alpha = module.scaling * (math.sqrt(module.rank) if rslora else module.rank)
    return round(alpha) if math.isclose(alpha, round(alpha), rel_tol=1e-12) else alpha


def _is_update(module: LoraModule) -> bool:
    return module.scaling != 0 and bool(torch.any(module.a)) and bool(torch.any(module.b))


def natural(name: str) -> list[tuple[int, int | str]]:
    """Blocks in the order of their numbers."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
