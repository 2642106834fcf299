"""The alignment of a model: ``V = W_aligned - W_base`` of one module at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from finebound.base.errors import InputError
from llm_validation.defences.factors import squared_norm
from llm_validation.defences.lora_file import LoraAdapter, LoraModule, natural, read_adapter
from llm_validation.defences.weights import WeightFolder, refuse_differences
from llm_validation.models.adapter_folder import CONFIG

_ROWS = 512  # converted to float32 at a time
_NUMBERS = 1 << 20  # squared in float64 at a time
_MERGED = 0.01  # of a merged update's norm: what rounding may change


class Alignment:
    """The weights before and after an alignment, read lazily.

    ``aligned`` is a whole model, or the adapter that aligned the base (``V = scaling B A``).
    """

    def __init__(self, base: WeightFolder, aligned: WeightFolder | LoraAdapter) -> None:
        self.base, self.aligned = base, aligned
        if isinstance(aligned, WeightFolder):
            refuse_differences(base, aligned)
            self._factors: dict[str, LoraModule] = {}
        else:
            self.aligned = aligned = self.fitted(aligned)
            self._factors = {module.name: module for module in aligned.modules}

    @property
    def folders(self) -> tuple[Path, Path]:
        return self.base.folder, self.aligned.folder

    def require(self, adapter: LoraAdapter, *, any_base: bool = False) -> None:
        """Raises InputError when the adapter does not belong to these models.

        Compares shapes and the name or folder that the adapter's file gives; ``any_base`` leaves
        the name out. Reads headers only, except where a third folder is named.
        """
        for module in adapter.modules:
            for side in self._sides():
                self._require_weight(module, side, adapter)
        if not any_base:
            self._require_name(adapter)

    def fitted(self, adapter: LoraAdapter) -> LoraAdapter:
        """The adapter under the model's own names, where its file has an older version's."""
        own = self.base.architecture.own_names(adapter.names)
        if all(name == new for name, new in own.items()):
            return adapter
        return replace(
            adapter, modules=tuple(replace(m, name=own[m.name]) for m in adapter.modules)
        )

    def difference(self, module: LoraModule) -> Tensor:
        """``V`` of a module, float32 ``[d_out, d_in]``."""
        if not isinstance(self.aligned, WeightFolder):
            found = self._factors.get(module.name)
            if found is None:
                return torch.zeros(module.shape)
            return (found.b.float() @ found.a.float()).mul_(found.scaling)
        v = _subtracted(*(side.read(f"{module.name}.weight") for side in self._sides()))
        return v.T.contiguous() if self.base.is_transposed(module.name) else v

    def rounding(self, module: LoraModule) -> float:
        """Spectral norm that rounding the stored weights can give to ``V``, an estimate from above.

        Errors of at most half a unit in the last place are at most ``eps |w| / 2``, of either sign;
        a matrix of independent errors of size s has norm ``s (sqrt d_out + sqrt d_in)``.
        """
        if not isinstance(self.aligned, WeightFolder):
            return 0.0
        weight = self.aligned.read(f"{module.name}.weight")
        size = float(weight.float().square().mean().sqrt())
        eps = max(torch.finfo(weight.dtype).eps, torch.finfo(torch.float32).eps)
        return 0.5 * eps * size * sum(d**0.5 for d in module.shape)

    def others(self, adapter: LoraAdapter) -> tuple[LoraModule, ...]:
        """Modules without an update that the alignment may have changed, at rank 0.

        Those that plain PEFT can adapt: no embedding, no head, no experts in one parameter.
        """
        taken = set(adapter.names)
        return tuple(
            LoraModule(name, torch.zeros(0, shape[1]), torch.zeros(shape[0], 0), 1.0)
            for name in sorted(self.base.architecture.adaptable() - taken, key=natural)
            if self._changes(name)
            for shape in [self.base.weight_shape(name)]
        )

    def unheld(self, modules: Collection[str]) -> Iterator[tuple[str, float]]:
        """Parameters that are no weight of ``modules``, each with ``|aligned - base|_F^2``.

        Those that both models have in the same shape, in floating point.
        """
        held = {f"{module}.weight" for module in modules}
        for name in self.base.architecture.parameters:
            if name not in held and name in self.base.names:
                yield name, self._squared_difference(name)

    def parameter_difference(self, name: str) -> Tensor | None:
        """``aligned - base`` of any parameter, float32, as stored; None where a folder has none."""
        module, _, kind = name.rpartition(".")
        if not isinstance(self.aligned, WeightFolder):
            factors = self._factors.get(module) if kind == "weight" else None
            if factors is not None:
                v = factors.scaling * (factors.b.float() @ factors.a.float())
                return v.T if self.base.is_transposed(module) else v
            return torch.zeros(self.base.shape(name)) if name in self.base.names else None
        if any(name not in side.names for side in self._sides()):
            return None
        return self.aligned.read(name).float() - self.base.read(name).float()

    def _squared_difference(self, name: str) -> float:
        sides = self._sides()
        if any(name not in side.names or not side.is_floating(name) for side in sides):
            return 0.0
        if len(sides) == 1:
            factors = self._factors.get(name.removesuffix(".weight"))
            return 0.0 if factors is None else squared_norm(factors)
        before, after = (side.read(name) for side in sides)
        if before.shape != after.shape:
            return 0.0
        flat = (tensor.reshape(-1).split(_NUMBERS) for tensor in (before, after))
        pairs = zip(*flat, strict=True)
        return sum(float((b.double() - a.double()).square().sum()) for a, b in pairs)

    def _changes(self, module: str) -> bool:
        if isinstance(self.aligned, WeightFolder):
            return all(side.find(module) is not None for side in self._sides())
        return module in self._factors

    def _sides(self) -> tuple[WeightFolder, ...]:
        if isinstance(self.aligned, WeightFolder):
            return self.base, self.aligned
        return (self.base,)

    def _require_weight(self, module: LoraModule, side: WeightFolder, adapter: LoraAdapter) -> None:
        architecture = side.architecture
        kind = architecture.kind(module.name)
        if kind and module.name not in architecture.linear:
            raise InputError(
                f"The adapter adapts {module.name}, which is no linear module of the "
                f"{side.role} model but a {kind}.",
                remedy="Only LoRA on linear modules is defended: adapt no experts that are one "
                "parameter, no embeddings, no convolutions.",
                file=adapter.folder,
            )
        name = side.find(module.name)
        if name is None:
            raise InputError(
                f"The {side.role} model has no weight of {module.name}, which the adapter adapts: "
                "it was trained on another base.",
                remedy="Give the models that belong to the adapter (a head tied to the embedding "
                "has no weight of its own and is not defended).",
                file=side.folder,
            )
        side.require_floating(name)
        shape = side.shape(name)
        expected = module.shape[::-1] if side.is_transposed(module.name) else module.shape
        if shape != expected:
            raise InputError(
                f"The {side.role} model's {name} is {list(shape)} and the adapter's update of it "
                f"{list(expected)}: the adapter was trained on another base.",
                remedy="Give the models that belong to the adapter.",
                file=side.folder,
            )
        factors = self._factors.get(module.name)
        if factors is not None and factors.shape != module.shape:
            raise InputError(
                f"The aligned adapter's {module.name} is {list(factors.shape)}, the fine-tune's "
                f"{list(module.shape)}: they are of different bases.",
                remedy="Give the adapter that aligned this base.",
                file=self.aligned.folder,
            )

    def _require_name(self, adapter: LoraAdapter) -> None:
        name = adapter.base_name
        if not name:
            return
        place = Path(name).expanduser()
        if place.is_dir():
            ours = {folder.resolve() for folder in self.folders}
            if place.resolve() in ours or self._is_copy(place, adapter):
                return
        elif self._last_part(name) in self._known_names():
            return
        raise InputError(
            f"The adapter was trained on another base: {CONFIG} says {name}, and the models given "
            f"are {' and '.join(str(folder) for folder in self.folders)}.",
            remedy="Give the models that belong to the adapter; if one of these is that model "
            "under another name, say so with `any_base`.",
            file=adapter.folder,
        )

    def _is_copy(self, place: Path, adapter: LoraAdapter) -> bool:
        """Whether the folder holds the weights of one of ours, as far as the adapter sees them."""
        try:
            with WeightFolder(place, role="adapter's") as third:
                copies = [
                    all(_same_weight(third, side, module.name) for module in adapter.modules)
                    for side in self._sides()
                ]
                return any(copies) or self._is_merge(third)
        except InputError:
            return False

    def _is_merge(self, third: WeightFolder) -> bool:
        """Whether the folder's weights are the base's with the aligning adapter merged in."""
        for module in self._factors.values():
            one, other = third.find(module.name), self.base.find(module.name)
            if one is None or other is None or third.shape(one) != self.base.shape(other):
                return False
            v = self.difference(module)
            found = third.weight(module.name).float() - self.base.weight(module.name).float()
            if float((found - v).norm()) > _MERGED * float(v.norm()):
                return False
        return bool(self._factors)

    def _known_names(self) -> set[str]:
        configs = [self.base.config]
        configs.append(getattr(self.aligned, "config", {}))
        given = [str(c.get(k) or "") for c in configs for k in ("_name_or_path", "name_or_path")]
        # A snapshot in the hub's cache lies in models--owner--name/snapshots/<hash>.
        parts = [part for folder in self.folders for part in folder.resolve().parts[-3:]]
        names = [self._last_part(text) for text in (*given, *parts) if text]
        return set(names) - {"snapshots", "models"}

    @staticmethod
    def _last_part(name: str) -> str:
        return name.replace("--", "/").rstrip("/").rpartition("/")[2].casefold()


@contextmanager
def open_alignment(base: str | Path, aligned: str | Path) -> Iterator[Alignment]:
    """The alignment between two folders; ``aligned`` may hold an adapter of the base only.

    Raises InputError when they do not belong together or one is quantised.
    """
    with ExitStack() as stack:
        before = stack.enter_context(WeightFolder(base, role="base"))
        folder = Path(aligned)
        if (folder / CONFIG).is_file() and not (folder / "config.json").is_file():
            yield Alignment(before, read_adapter(folder))
        else:
            yield Alignment(before, stack.enter_context(WeightFolder(folder, role="aligned")))


def _subtracted(before: Tensor, after: Tensor) -> Tensor:
    """``after - before``, float32."""
    v = torch.empty(before.shape, dtype=torch.float32)
    for rows in range(0, len(v), _ROWS):
        part = slice(rows, rows + _ROWS)
        torch.sub(after[part].float(), before[part].float(), out=v[part])
    return v


def _same_weight(one: WeightFolder, other: WeightFolder, module: str) -> bool:
    """Whether two weights are equal, rounded to the coarser of their types."""
    name, twin = one.find(module), other.find(module)
    if name is None or twin is None or one.shape(name) != other.shape(twin):
        return False
    first, second = one.read(name), other.read(twin)
    coarser = max(first.dtype, second.dtype, key=lambda kind: torch.finfo(kind).eps)
    return torch.equal(first.to(coarser), second.to(coarser))
