"""A file's tensors as the parameters of the model: renamed, stacked or cut as loading does it."""

from __future__ import annotations

from collections.abc import Callable, Set
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from finebound.base.errors import InputError
from llm_validation.defences.architecture import Architecture
from llm_validation.defences.tensor_files import TensorFiles

_TYPES = {"F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass
class _Group:
    """Tensors of a file that become parameters together, by transformers' own conversion.

    ``converter`` is None for one tensor that is only renamed; ``patterns`` are the converter's
    own for every key.
    """

    name: str
    converter: Any = None
    keys: list[str] = field(default_factory=list)
    patterns: list[str | None] = field(default_factory=list)


class ModelTensors:
    """The parameters that ``files`` give the model of ``architecture``, under the model's names.

    The rules are those that transformers loads this architecture by: experts of a mixture are
    stacked, a part of a multimodal model has another name in the file. Tensors that the model does
    not have are left out. Raises InputError for tensors to which the rules do not apply.
    """

    def __init__(self, files: TensorFiles, architecture: Architecture) -> None:
        self._files, self._architecture = files, architecture
        self._of: dict[str, _Group] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._last: tuple[_Group | None, dict[str, Tensor]] = (None, {})
        for group in self._groups():
            if group.converter is None:
                self._of[group.name] = group
                self._shapes[group.name] = files.shape(group.keys[0])
                continue
            for name, made in self._converted(group, self._header).items():
                self._of[name], self._shapes[name] = group, tuple(made.shape)
        for names in architecture.parameters.values():
            stored = next((name for name in names if name in self._of), None)
            if stored is not None and names[0] not in self._of:
                self._of[names[0]], self._shapes[names[0]] = self._of[stored], self._shapes[stored]

    @property
    def names(self) -> Set[str]:
        return self._of.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def types(self, name: str) -> set[str]:
        """How the tensors that make the parameter are stored, in safetensors' words."""
        return {self._files.type(key) for key in self._of[name].keys}

    def read(self, name: str) -> Tensor:
        group = self._of[name]
        if group.converter is None:
            return self._files.read(group.keys[0])
        if self._last[0] is not group:  # q, k and v are often one tensor, cut
            self._last = (None, {})
            self._last = (group, self._converted(group, self._files.read))
        return self._last[1][name]

    def _groups(self) -> list[_Group]:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import (
            WeightConverter,
            WeightRenaming,
            dot_natural_key,
            rename_source_key,
        )

        model, state = self._architecture.model, self._architecture.state
        rules = get_model_conversion_mapping(model)
        renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
        converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
        by_pattern = {pattern: rule for rule in converters for pattern in rule.source_patterns}
        found: dict[str, _Group] = {}
        for key in sorted(self._files.names, key=dot_natural_key):
            prefix = model.base_model_prefix
            name, pattern = rename_source_key(key, renamings, converters, prefix, state)
            if name not in state and key in state:
                name, pattern = rename_source_key(key, [], [], prefix, state)
            if name in state:
                converter = None if pattern is None else by_pattern.get(pattern)
                group = found.setdefault(name, _Group(name, converter))
                group.keys.append(key)
                group.patterns.append(pattern)
        return list(found.values())

    def _header(self, key: str) -> Tensor:
        kind = _TYPES.get(self._files.type(key), torch.float32)
        return torch.empty(self._files.shape(key), dtype=kind, device="meta")

    def _converted(self, group: _Group, read: Callable[[str], Tensor]) -> dict[str, Tensor]:
        model, converter = self._architecture.model, deepcopy(group.converter)
        try:
            for key, pattern in zip(group.keys, group.patterns, strict=True):
                converter.add_tensor(group.name, key, pattern, read(key))
            made = converter.convert(group.name, model=model, config=model.config)
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
            said = " ".join(str(error).split())[:200].rstrip(".")
            raise InputError(
                f"The {self._files.role} model's {group.keys[0]} and {len(group.keys) - 1} more do "
                f"not make its {group.name}: {said}.",
                remedy="Copy or download the model again.",
                file=self._files.folder,
            ) from error
        return {
            name: tensor[0] if isinstance(tensor, list) else tensor for name, tensor in made.items()
        }
