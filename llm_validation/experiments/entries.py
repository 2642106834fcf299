"""What a configuration may say: its entries, their types and their defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    Tag,
    model_serializer,
)

from llm_validation.experiments.behaviour_settings import Behaviour, Strict
from llm_validation.training.strategies import (
    BiState,
    SoftParameterConstraint,
    SubspacePenalty,
    TokenConstraint,
    strategy_as_dict,
)

Role = Literal["original", "same-teacher", "self-generated", "other-teacher", "given"]
"""Who answered a proxy's prompts; "given" where that is not known."""
# Names become parts of file names, joined by "_": nothing in them may lead out of a folder.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", max_length=40)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Plan = dict[str, Any]


class Rows(Strict):
    """How many rows of each dataset are used: seeded samples of whole prompts.

    ``safety`` rows are what theta_s is trained on and what f_s is measured on; ``held_out`` rows
    of the safety and of every task's data are seen by no training at all. Rows above
    ``max_length`` tokens are left out; with ``drop_unusable`` so are those that cannot be read as
    an example. ``ignore_columns`` are left unread in every file that has them. ``turns`` "all"
    trains on and measures every assistant turn of a row, as trainers do, "last" the answer alone.
    """

    safety: Count = 96
    task: Count = 96
    proxy: Count = 96
    held_out: Annotated[int, Field(ge=2)] = 48
    max_length: Annotated[int, Field(ge=8)] | None = None
    drop_unusable: bool = False
    ignore_columns: tuple[str, ...] = ()
    turns: Literal["all", "last"] = "all"


class Method(Strict):
    """What is trained, and settings of the training plan that only this method has.

    ``training.methods`` says what each kind is and which settings it takes; what is left out is
    that kind's own default. ``objective`` "dpo", with its ``beta``, trains on preference pairs.
    """

    kind: Literal["lora", "full", "qlora", "ia3", "prompt-tuning", "p-tuning"] = "lora"
    rank: Count = 8
    alpha: Positive = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: Positive | None = None
    double_quant: bool | None = None
    feedforward: tuple[str, ...] | None = None
    tokens: Count | None = None
    init: Literal["random", "text"] | None = None
    text: str | None = None
    hidden: Count | None = None
    objective: Literal["sft", "dpo"] | None = None
    beta: Positive | None = None

    def as_plan(self) -> dict[str, Any]:
        """The training plan's entries."""
        given = self.model_dump(mode="json")
        method = {name: value for name, value in given.items() if name not in _OF_THE_PLAN}
        if self.kind == "full":
            method = {name: v for name, v in method.items() if name not in _OF_LORA}
        settings: dict[str, Any] = {"method": method}
        if self.learning_rate is not None:
            settings["learning_rate"] = self.learning_rate
        if self.objective is not None or self.beta is not None:
            beta = {} if self.beta is None else {"beta": self.beta}
            settings["objective"] = {"kind": self.objective or "sft", **beta}
        return settings

    @model_serializer(mode="wrap")
    def _without_what_is_not_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Records are keyed by this: what came later appears only where it is given.
        old = self.kind in ("lora", "full")
        kept = {"kind", "learning_rate", *(_OF_LORA if old else ())} | self.model_fields_set
        late = set(Method.model_fields) - {"kind", "learning_rate", *_OF_LORA}
        return {
            name: value
            for name, value in dump(self).items()
            if name in kept and not (name in late and value is None)
        }


_OF_LORA = ("rank", "alpha", "targets")
_OF_THE_PLAN = ("learning_rate", "objective", "beta")


class SelfGenerated(Strict):
    """A proxy whose answers the aligned model samples itself, at temperature 1."""

    prompts: str
    max_new_tokens: Count = 64


class Mixed(Strict):
    """A task of benign rows of which a ``share`` is replaced by harmful ones.

    All regimes of one benign dataset have the same number of rows and the same held-out rows, which
    are benign: capability is the same thing in each.
    """

    benign: str
    harmful: str
    share: Annotated[float, Field(ge=0, le=1)]


# By the kind of value, so that an error is told of the one that was meant.
Task = Annotated[
    Annotated[str, Tag("dataset")] | Annotated[Mixed, Tag("mixed")],
    Discriminator(lambda value: "dataset" if isinstance(value, str) else "mixed"),
]


class HybridPoint(Strict):
    lam: Positive
    radius: Positive


class Block(Strict):
    """One product of axes; a grid is the union of its blocks.

    Strategies without proxy rows are run once for every task, method and seed, the others once
    more for every proxy.
    """

    tasks: tuple[Name, ...]
    proxies: tuple[Role, ...] = ()
    methods: tuple[Name, ...] = ()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    unconstrained: bool = False
    lam: tuple[Positive, ...] = ()
    epsilon: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    radius: tuple[Positive, ...] = ()
    hybrid: tuple[HybridPoint, ...] = ()
    soft: tuple[SoftParameterConstraint, ...] = ()
    constrained_sft: tuple[TokenConstraint, ...] = ()
    lisa: tuple[BiState, ...] = ()
    asft: tuple[SubspacePenalty, ...] = ()

    def strategies(self) -> Iterator[dict[str, Any]]:
        """Every strategy of the block, as ``make_strategy`` takes it."""
        if self.unconstrained:
            yield {"kind": "none"}
        for name, kind in (("lam", "loss"), ("epsilon", "loss"), ("radius", "parameter")):
            for value in getattr(self, name):
                yield {"kind": kind, name: value}
        for point in self.hybrid:
            yield {"kind": "hybrid", **point.model_dump()}
        for strategy in (*self.soft, *self.constrained_sft, *self.lisa, *self.asft):
            yield strategy_as_dict(strategy)


class LandscapeSettings(Strict):
    """How finely the constants of the a-priori bounds are measured at theta_s."""

    rows_for_curvature: Count = 4
    lanczos_steps: Count = 5
    tokens_a_curvature_row: Count = 96
    radius: Positive = 0.3


class Forecast(Strict):
    """How much the forecasts made before any run may cost.

    ``share`` of a fine-tune's tokens for each of ours; ``gradient_rows`` examples of each dataset
    for those that read gradients of single examples.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    gradient_rows: Annotated[int, Field(ge=3)] = 12


class Generations(Strict):
    """Greedy answers to held-out safety prompts: all before and after the alignment, ``prompts``
    of them after each run."""

    prompts: Count = 12
    max_new_tokens: Count = 48


class Experiment(Strict):
    """A grid of fine-tunes of one model from one aligned start.

    A task is a dataset, or benign rows of which a share is harmful.
    ``alignment`` and ``training`` are training plans without strategy, method (of ``training``)
    and seed. ``alignment`` null takes the model as it is for the aligned model: nothing is trained
    on the safety rows first. ``adapter`` is a folder or hub id of the model's own LoRA or IA3,
    which is merged into it before anything else.
    ``minutes`` stops the grid from starting further runs; the next start goes on.
    ``fit_minutes`` are what the whole experiment may take: rows and steps become fewer on a machine
    whose measured step is too slow for it (``experiments.sizing``).
    ``landscape`` null leaves out the bounds that need measured constants, ``forecast`` null the
    forecasts, ``generations`` null refusal rates and the gates that need answers. ``behaviour``
    asks for hazards, BBQ, translation and more of theta_s and of every run.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*$", max_length=60)]
    description: str = ""
    model: str = "packaged"
    adapter: str | None = None
    safety: str
    tasks: dict[Name, Task]
    proxies: dict[Role, str | SelfGenerated] = Field({})
    methods: dict[Name, Method] = Field({"lora": Method()})
    rows: Rows = Rows()
    alignment: Plan | None = Field({})
    training: Plan = Field({})
    grid: tuple[Block, ...]
    landscape: LandscapeSettings | None = LandscapeSettings()
    forecast: Forecast | None = Forecast()
    generations: Generations | None = Generations()
    behaviour: Behaviour | None = None
    minutes: Positive | None = None
    fit_minutes: Positive | None = None
    seed: Annotated[int, Field(ge=0)] = 0


ORIGINAL = "safety"
"""As the data of the proxy ``original``: the very safety rows of the experiment."""
