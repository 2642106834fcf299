"""Parameters of a model folder, read one at a time: no model is ever whole in memory."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from finebound.base.errors import InputError
from llm_validation.defences.architecture import Architecture
from llm_validation.defences.model_tensors import ModelTensors
from llm_validation.defences.tensor_files import TensorFiles, read_json

_FLOATING = {"F64", "F32", "F16", "BF16"}
_SHAPE_KEYS = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
)


class WeightFolder:
    """A folder written by ``save_pretrained``, read under the names that the model itself has.

    A file's names may be others (``architecture``): what loading the model would rename, stack or
    cut is renamed, stacked or cut here too, for one parameter at a time.
    ``role`` ("base", "aligned") is how errors call it. Use it as a context, so that the files are
    closed. Raises InputError for a folder that holds no such model or a quantised one.
    """

    def __init__(self, folder: str | Path, *, role: str) -> None:
        self.folder, self.role = Path(folder), role
        if not self.folder.is_dir():
            raise InputError(
                f"There is no such folder, and the {role} model is read from one.",
                remedy="Give the folder of the model; one of the hub is fetched with "
                "`hf download owner/name --local-dir FOLDER`.",
                file=self.folder,
            )
        self.config = read_json(self.folder / "config.json", f"the {role} model")
        self._refuse_quantised()
        self._files = TensorFiles(self.folder, role=role)
        self._files.__enter__()

    def __enter__(self) -> WeightFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.__exit__()

    @cached_property
    def architecture(self) -> Architecture:
        """The model of config.json. Raises InputError where transformers builds none."""
        return Architecture(
            self.folder, self.config, role=self.role, tensors=len(self._files.names)
        )

    @cached_property
    def _parameters(self) -> ModelTensors:
        return ModelTensors(self._files, self.architecture)

    @property
    def names(self) -> Set[str]:
        """Names of all parameters that the files hold."""
        return self._parameters.names

    def find(self, module: str) -> str | None:
        """The name of a module's weight; None when the files have none."""
        name = f"{module}.weight"
        return name if name in self.names else None

    def is_transposed(self, module: str) -> bool:
        """Whether the module stores its weight as ``[d_in, d_out]``."""
        return self.architecture.linear.get(module, False)

    def shape(self, name: str) -> tuple[int, ...]:
        """The parameter's shape, from the files' headers."""
        return self._parameters.shape(name)

    def read(self, name: str) -> Tensor:
        """The parameter, in the type it is stored in."""
        return self._parameters.read(name)

    def weight(self, module: str) -> Tensor:
        """The module's weight as ``[d_out, d_in]``, in the type it is stored in."""
        found = self.read(f"{module}.weight")
        return found.mT if self.is_transposed(module) else found

    def weight_shape(self, module: str) -> tuple[int, ...]:
        """``(d_out, d_in)`` of the module's weight."""
        shape = self.shape(f"{module}.weight")
        return shape[::-1] if self.is_transposed(module) else shape

    def is_floating(self, name: str) -> bool:
        """Whether the parameter is stored in ordinary floating point."""
        return self._parameters.types(name) <= _FLOATING

    def require_floating(self, name: str) -> None:
        """Raises InputError for a weight that is stored in integers or 8-bit floats."""
        if other := self._parameters.types(name) - _FLOATING:
            raise self._quantised(f"{name} is stored as {min(other)}")

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """What decides the ids of a text, empty where the folder has no tokenizer."""
        whole = self.folder / "tokenizer.json"
        if whole.is_file():
            content = read_json(whole, f"the {self.role} model's tokenizer")
            return {
                "vocabulary": content.get("model"),
                "added": {
                    str(t.get("content")): t.get("id") for t in content.get("added_tokens", [])
                },
            }
        names = ("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model")
        files = [self.folder / name for name in names if (self.folder / name).is_file()]
        return {file.name: file.read_bytes() for file in files}

    def _refuse_quantised(self) -> None:
        found = self.config.get("quantization_config")
        if found:
            how = found.get("quant_method", "") if isinstance(found, dict) else ""
            raise self._quantised(f"config.json has a quantization_config {how}".rstrip())

    def _quantised(self, what: str) -> InputError:
        return InputError(
            f"The {self.role} model is quantised: {what}. The difference of two models is smaller "
            "than the rounding of 4 or 8 bits.",
            remedy="Give the model as it was before it was quantised.",
            file=self.folder,
        )


def refuse_differences(base: WeightFolder, aligned: WeightFolder) -> None:
    """Raises InputError when the two differ in architecture or, where both have one, tokenizer."""
    for key in _SHAPE_KEYS:
        ours, theirs = (_shape_entry(side.config, key) for side in (base, aligned))
        if ours != theirs:
            raise InputError(
                f"The base and the aligned model have different shapes: {key} is {ours} in "
                f"{base.folder.name} and {theirs} in {aligned.folder.name}.",
                remedy="Give the very model that the aligned one was made from as `base`.",
                file=aligned.folder,
            )
    if not (base.tokenizer and aligned.tokenizer):
        return
    difference = _tokenizer_difference(base.tokenizer, aligned.tokenizer)
    if difference:
        raise InputError(
            f"The base and the aligned model have different tokenizers: {difference}.",
            remedy="Give the very model that the aligned one was made from as `base`.",
            file=aligned.folder,
        )


def _shape_entry(config: Mapping[str, Any], key: str) -> Any:
    """The entry, of a model of several parts that of its language model."""
    text = config.get("text_config")
    return config.get(key, text.get(key) if isinstance(text, Mapping) else None)


def _tokenizer_difference(base: dict[str, Any], aligned: dict[str, Any]) -> str | None:
    """What differs; None when every text that both can read has the same ids.

    A token added by the alignment (a chat turn, padding) is no difference, the same token or the
    same id used otherwise is one.
    """
    if base.keys() != aligned.keys():
        both = base.keys() & aligned.keys()
        if not both:
            return "they are of different kinds"
        base, aligned = ({k: side[k] for k in both} for side in (base, aligned))
    for key in base:
        if key != "added" and base[key] != aligned[key]:
            return "the vocabulary is another" if key == "vocabulary" else f"{key} is another"
    ours, theirs = base.get("added", {}), aligned.get("added", {})
    for token in sorted(ours.keys() & theirs.keys()):
        if ours[token] != theirs[token]:
            return f"the id of {token!r} is {ours[token]} and {theirs[token]}"
    places = {number: token for token, number in ours.items()}
    for token, number in sorted(theirs.items()):
        if number in places and places[number] != token:
            return f"the id {number} is {places[number]!r} and {token!r}"
    return None
