"""What every defence is: a stage, ``fit`` on evidence, ``apply`` to its subject, ``report``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from finebound.results.tradeoff import ModuleEntry

if TYPE_CHECKING:
    from llm_validation.data.dataset import Dataset
    from llm_validation.defences.alignment import Alignment
    from llm_validation.defences.lora_file import LoraAdapter
    from llm_validation.models.loading import LoadedModel

Stage: TypeAlias = Literal["data", "during", "after", "prompt"]
Subject = TypeVar("Subject")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a defence may look at; each takes what it needs and refuses to go without it.

    ``adapter`` is the fine-tune to be repaired, ``alignment`` the weights of the model before and
    after its alignment, ``safe_adapter`` another adapter of the same base, tuned on safety data;
    ``model`` a model to be run, ``harmful`` rows whose answers are harmful, ``safety`` rows of
    safe behaviour.
    """

    adapter: LoraAdapter | None = None
    alignment: Alignment | None = None
    safe_adapter: LoraAdapter | None = None
    model: LoadedModel | None = None
    harmful: Dataset | None = None
    safety: Dataset | None = None

    def need(self, name: str, method: str) -> Any:
        """The evidence called ``name``. Raises InputError when it was not given."""
        value = getattr(self, name)
        if value is None:
            raise InputError(
                f"{method} needs the evidence {name!r}, and there is none.",
                remedy=f"Give {name}.",
            )
        return value


@dataclass(frozen=True)
class ModuleReport:
    """What a defence saw of one adapted module, and whether it changed it.

    ``distance`` ``|C dW - dW|_F`` and ``cosine`` are those of the fast projector ``C`` on the
    adapter's own update ``dW``, its scale included; ``projector_norm`` is ``|C|_2``. ``score``
    is what the method decided by (NaN where it has none). A cosine is NaN where ``dW`` or the
    alignment ``V`` is zero, and 0 where only ``C dW`` is.
    """

    name: str
    distance: float
    cosine: float
    projector_norm: float
    score: float
    changed: bool


@dataclass(frozen=True)
class Report:
    """What a defence did: settings, one entry a module (empty where none is its subject), notes."""

    method: str
    stage: Stage
    settings: Mapping[str, Any]
    modules: tuple[ModuleReport, ...] = ()
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; a missing number is None."""
        modules = [ModuleEntry(**vars(module)).to_dict() for module in self.modules]
        shared = {n: v for n, v in vars(self).items() if n != "details"}
        return {**shared, "modules": modules, **self.details}


@dataclass(frozen=True)
class Faithfulness:
    """What of a method follows its paper, what the authors' release does, what is ours and why.

    ``release`` is empty where no release was looked at.
    """

    paper: str
    ours: str
    release: str = ""


class Defence(Protocol[Subject]):
    """One method of repair or defence.

    The subject is a ``LoraAdapter`` for most methods of the stage "after" (a model for those that
    change whole weights), a ``Dataset`` for "data" and "prompt", a ``TrainingPlan`` for "during".
    ``apply`` returns a new subject and leaves the one given as it is, unless it says otherwise.
    A class may also have ``needs``, the names of the ``Evidence`` that it takes besides the
    fine-tune, and the class method ``trials``: the strengths at which ``finebound defend
    --compare`` tries it. Without trials it is not compared.
    """

    name: str
    stage: Stage
    faithfulness: Faithfulness

    def fit(self, evidence: Evidence, *, progress: Progress = silent) -> None:
        """Look at the evidence and decide. Raises InputError for missing or unusable evidence."""
        ...

    def apply(self, subject: Subject) -> Subject:
        """The defended subject. Raises ValueError before ``fit`` where that is needed."""
        ...

    def report(self) -> Report:
        """What was decided and why. Raises ValueError before ``fit`` where that is needed."""
        ...


def fitted(value: T | None, name: str) -> T:
    """``value``, which ``fit`` sets. Raises ValueError while it is None."""
    if value is None:
        raise ValueError(f"{name} has not been fitted: call fit first")
    return value
