"""Tensors of a model folder under the names of its files, read one at a time."""

from __future__ import annotations

import re
from collections.abc import Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from torch import Tensor

from finebound.base.errors import InputError
from llm_validation.models.loading import read_json_object


class TensorFiles:
    """The .safetensors of a folder, sharded or not; only what is asked for is read.

    ``role`` ("base", "aligned") is how errors call the model. Use it as a context, so that the
    files are closed. Raises InputError for files that are missing or damaged.
    """

    def __init__(self, folder: Path, *, role: str) -> None:
        self.folder, self.role = folder, role
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        self._place = self._places()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.clear()
        self._stack.close()

    @property
    def names(self) -> Set[str]:
        """Names of all tensors."""
        return self._place.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape, from the file's header."""
        return tuple(self._header(name).get_shape())

    def type(self, name: str) -> str:
        """The tensor's type as safetensors calls it, such as "BF16"."""
        return self._header(name).get_dtype()

    def read(self, name: str) -> Tensor:
        """The tensor, in its own type, mapped from the file."""
        try:
            return self._open(self._place[name]).get_tensor(name)
        except SafetensorError as error:
            raise _damaged(self._place[name], error) from error

    def _header(self, name: str) -> Any:
        try:
            return self._open(self._place[name]).get_slice(name)
        except SafetensorError as error:
            raise _damaged(self._place[name], error) from error

    def _places(self) -> dict[str, Path]:
        index = self.folder / "model.safetensors.index.json"
        single = self.folder / "model.safetensors"
        if single.is_file():
            return dict.fromkeys(self._open(single).keys(), single)
        if index.is_file():
            names = read_json(index, f"the {self.role} model").get("weight_map", {})
            if not isinstance(names, dict) or not all(map(_is_file_name, names.values())):
                raise InputError(
                    'The "weight_map" does not give the name of a file for every tensor.',
                    remedy="Copy or download the model again.",
                    file=index,
                )
            absent = sorted({n for n in names.values() if not (self.folder / n).is_file()})
            if absent:
                raise InputError(
                    f"The {self.role} model's weights are incomplete: {absent[0]} is missing.",
                    remedy="Copy or download the model again.",
                    file=self.folder,
                )
            return {tensor: self.folder / name for tensor, name in names.items()}
        raise InputError(
            f"The {self.role} model has no model.safetensors, and only .safetensors are read.",
            remedy="Give a folder written by save_pretrained.",
            file=self.folder,
        )

    def _open(self, file: Path) -> Any:
        if file.name not in self._files:
            self._files[file.name] = self._stack.enter_context(open_safetensors(file))
        return self._files[file.name]


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and "/" not in name


def open_safetensors(file: Path) -> Any:
    """A safetensors file as a context. Raises InputError when it is damaged."""
    try:
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> InputError:
    said = re.sub(r"[.]$", "", " ".join(str(error).split()))[:200]
    return InputError(
        f"The file cannot be read: {said}.", remedy="Copy or download it again.", file=file
    )


def read_json(file: Path, of: str) -> dict[str, Any]:
    """A file's JSON object. Raises InputError when there is none."""
    if not file.is_file():
        raise InputError(
            f"There is no {file.name}, which {of} needs.",
            remedy="Give a folder written by save_pretrained.",
            file=file.parent,
        )
    return read_json_object(file, again="it")
