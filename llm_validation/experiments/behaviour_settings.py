"""What an experiment asks of its models' behaviour: the configuration's ``behaviour`` section."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llm_validation.evaluation.options import DetectorName

Count = Annotated[int, Field(ge=1)]
PartName = Literal["refusal", "hazards", "bbq", "translation"]
HELD_OUT = "held-out"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RefusalPart(Strict):
    """Refusal of harmful and of harmless prompts: the held-out safety rows, or a dataset's.

    ``rows`` of them, harmful and harmless ones in turn; all by default.
    """

    prompts: str = HELD_OUT
    rows: Count | None = None
    max_new_tokens: Count = 48


class HazardsPart(Strict):
    """Safe answers by hazard category and over-refusal of look-alikes.

    ``probes`` is what ``finebound evaluate hazards --data`` takes; of each category ``a_category``
    harmful and ``harmless`` harmless ones are asked, all by default. ``judge`` names a format of
    judge model (llama-guard-2, ...), ``judge_model`` the model if it is not the format's own;
    without one the detector decides.
    """

    probes: str = "builtin"
    a_category: Count | None = None
    harmless: Annotated[int, Field(ge=0)] | None = None
    max_new_tokens: Count = 48
    judge: str | None = None
    judge_model: str | None = None


class BbqPart(Strict):
    """BBQ's accuracy and bias, ``a_cell`` items of each category and condition (default: all)."""

    data: str = "builtin"
    a_cell: Count | None = None
    by: Literal["likelihood", "generation"] = "likelihood"
    max_new_tokens: Count = 16


class TranslationPart(Strict):
    """chrF on ``data``: the held-out rows of the task of this name, or a test set.

    A test set is what ``finebound evaluate translation --data`` takes, and loses the prompts that
    some training set of the experiment holds; ``instruction`` wraps its bare sources.
    """

    data: str
    rows: Count | None = None
    instruction: str | None = None
    max_new_tokens: Count = 96


class Checkpoints(Strict):
    """Which ``parts`` (default: all that are asked for) are evaluated while a run trains, too.

    ``at`` are fractions of its steps, of those at which the training plan measures losses. The
    weights of a checkpoint are not kept, so what is asked for after a run is not made any more.
    """

    at: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)]
    parts: Annotated[tuple[PartName, ...], Field(min_length=1)] | None = None


class Behaviour(Strict):
    """Which behaviour is evaluated: of theta_s once, of every run at its end and ``checkpoints``.

    Runs whose method does not start at theta_s (virtual tokens, a quantised base) are evaluated
    before their first step too, unless ``starts`` is false: the init-only control.
    """

    refusal: RefusalPart | None = None
    hazards: HazardsPart | None = None
    bbq: BbqPart | None = None
    translation: TranslationPart | None = None
    detector: DetectorName = "rules"
    system: str | None = None
    starts: bool = True
    checkpoints: Checkpoints | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Behaviour:
        if not self.parts:
            raise ValueError("name refusal, hazards, bbq or translation, or leave behaviour out")
        for name in self.checkpoint_parts:
            if name not in self.parts:
                raise ValueError(f"checkpoints name the part {name}, which is not asked for")
        return self

    @property
    def parts(self) -> dict[str, Strict]:
        """The evaluations that are asked for, by name."""
        named = {name: getattr(self, name) for name in get_args(PartName)}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def checkpoint_parts(self) -> tuple[str, ...]:
        """The evaluations that are asked for while a run trains."""
        if self.checkpoints is None:
            return ()
        return self.checkpoints.parts or tuple(self.parts)
