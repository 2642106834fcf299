"""What a fine-tune trains: every method by name, with its settings, and how it is attached.

No adapter has dropout: a run then depends on its rows alone and not on how a step is cut. Each
method measures its displacement in coordinates of its own (``norm``), and a radius, a penalty and
T13's budget are in the same ones; those of two methods are different numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

from finebound.base.errors import InputError
from llm_validation.training.settings import check, is_count, read
from llm_validation.training.strategies import is_number

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_OF_WEIGHTS = "Euclidean norm of the change of the weights"


class _Method:
    """What every method says of itself.

    ``starts_at_theta_s``: whether the model before the first step is theta_s; if not, step 0 of
    the record is the control that tells the start's own cost. ``displaces_weights``: whether the
    displacement is the Euclidean norm of a change of the model's weights.
    """

    kind: ClassVar[str]
    norm: ClassVar[str]
    starts_at_theta_s: ClassVar[bool] = True
    displaces_weights: ClassVar[bool] = False

    @property
    def virtual_tokens(self) -> int:
        """Positions that the method puts in front of every row."""
        return 0


@dataclass(frozen=True)
class FullWeights(_Method):
    """Every weight is trained, in float32."""

    kind: ClassVar[str] = "full"
    norm: ClassVar[str] = _OF_WEIGHTS
    displaces_weights: ClassVar[bool] = True


@dataclass(frozen=True)
class Lora(_Method):
    """A low-rank adapter ``alpha / rank * B A`` on the modules called ``targets``, no dropout."""

    rank: int = 8
    alpha: float = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    kind: ClassVar[str] = "lora"
    norm: ClassVar[str] = f"{_OF_WEIGHTS}: Frobenius norm of alpha / rank * B A over all modules"
    displaces_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        check(is_count(self.rank), f"the LoRA's rank is {self.rank}.", "Give 1 or more.")
        check(
            is_number(self.alpha) and 0 < self.alpha < math.inf,
            f"the LoRA's alpha is {self.alpha}.",
            "Give a number greater than 0.",
        )
        check(bool(self.targets), "the LoRA has no targets.", "Name at least one module.")
        named = all(isinstance(target, str) for target in self.targets)
        check(named, f"the LoRA's targets are {self.targets}.", "Give names of modules.")


@dataclass(frozen=True)
class QLora(Lora):
    """A LoRA in float32 on a base whose linear modules are rounded to 4-bit NormalFloat.

    The base stays rounded: start and end are measured on it, and the adapter is read back onto
    nothing else. ``double_quant`` rounds the scales of the 4-bit blocks to 8 bits too. Source:
    Dettmers et al., QLoRA (2023).
    """

    double_quant: bool = True

    kind: ClassVar[str] = "qlora"
    starts_at_theta_s: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            isinstance(self.double_quant, bool),
            f"double_quant is {self.double_quant!r}.",
            "Give true or false.",
        )


@dataclass(frozen=True)
class IA3(_Method):
    """A factor for every output of ``targets``, for every input of those in ``feedforward``.

    All factors start at 1. Source: Liu et al., Few-shot parameter-efficient fine-tuning (2022).
    """

    targets: tuple[str, ...] = ("q_proj", "v_proj", "down_proj")
    feedforward: tuple[str, ...] = ("down_proj",)

    kind: ClassVar[str] = "ia3"
    norm: ClassVar[str] = "Euclidean norm of the change of IA3's factors, which start at 1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        object.__setattr__(self, "feedforward", tuple(self.feedforward))
        check(bool(self.targets), "IA3 has no targets.", "Name at least one module.")
        odd = [name for name in self.feedforward if name not in self.targets]
        check(
            not odd,
            f"IA3's feedforward modules {', '.join(odd)} are none of its targets.",
            "Name them among the targets too.",
        )


@dataclass(frozen=True)
class PromptTuning(_Method):
    """Embeddings of ``tokens`` virtual tokens in front of every row.

    They start at random (standard normal numbers, far outside of what the model knows: its step 0
    is no theta_s and can cost much safety by itself) or, with ``init`` "text", at the embeddings
    of ``text``, repeated or cut to length. Source: Lester et al. (2021).
    """

    tokens: int = 20
    init: Literal["random", "text"] = "random"
    text: str | None = None

    kind: ClassVar[str] = "prompt-tuning"
    norm: ClassVar[str] = (
        "Euclidean norm of the change of the virtual tokens' embeddings from their own start"
    )
    starts_at_theta_s: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(is_count(self.tokens), f"tokens is {self.tokens}.", "Give 1 or more virtual tokens.")
        check(
            self.init in ("random", "text"),
            f"init is {self.init!r}.",
            "Use one of random, text.",
        )
        check(
            (self.init == "text") == bool(self.text),
            "prompt tuning starts at random and has a text."
            if self.text
            else "prompt tuning starts at a text and has none.",
            'Give init "text" and the text, or neither.',
        )

    @property
    def virtual_tokens(self) -> int:
        return self.tokens


@dataclass(frozen=True)
class PTuning(_Method):
    """``tokens`` virtual tokens, made by a trained network with two hidden layers of ``hidden``.

    ``hidden`` None is the width of the model's embeddings. Its start is random, so step 0 is no
    theta_s. Only the tokens that come out at the end are saved. Source: Liu et al. (2021).
    """

    tokens: int = 20
    hidden: int | None = None

    kind: ClassVar[str] = "p-tuning"
    norm: ClassVar[str] = (
        "Euclidean norm of the change of the prompt encoder's numbers from their own start"
    )
    starts_at_theta_s: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(is_count(self.tokens), f"tokens is {self.tokens}.", "Give 1 or more virtual tokens.")
        check(
            self.hidden is None or is_count(self.hidden),
            f"hidden is {self.hidden}.",
            "Give 1 or more, or none for the width of the embeddings.",
        )

    @property
    def virtual_tokens(self) -> int:
        return self.tokens


Method: TypeAlias = FullWeights | Lora | QLora | IA3 | PromptTuning | PTuning

METHODS: Mapping[str, type[Method]] = {
    made.kind: made for made in (FullWeights, Lora, QLora, IA3, PromptTuning, PTuning)
}
"""Every method by the name that configurations use."""


def make_method(kind: str = "lora", **options: Any) -> Method:
    """The method of a configuration. Raises InputError for a name or a setting there is not."""
    known = isinstance(kind, str) and kind in METHODS
    check(known, f"there is no method {kind!r}.", f"Use one of {', '.join(METHODS)}.")
    return read(f"method {kind}", options, METHODS[kind])


def method_as_dict(method: Method) -> dict[str, Any]:
    """``make_method``'s arguments for this method, as plain JSON values."""
    settings = dataclasses.asdict(method)
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}
    return {"kind": method.kind, **plain}


def attach(
    model: PreTrainedModel,
    method: Method,
    *,
    seed: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
    quantise: bool = True,
    compute: Literal["fp32", "bf16", "auto"] = "fp32",
) -> PreTrainedModel:
    """``model``, wrapped in place, with exactly the method's numbers trainable.

    ``tokenizer`` reads a prompt's text. ``quantise`` False leaves QLoRA's base as it is, and
    ``compute`` is the number format in which a rounded base multiplies. Raises InputError where
    the model's architecture lacks what the method needs, for weights of 16 bits that are to be
    trained (small updates would be lost in rounding) and for another method on a rounded base.
    """
    from llm_validation.models import adapters, quantisation, virtual_tokens

    if not isinstance(method, QLora) and quantisation.quantisation_of(model) is not None:
        raise InputError(
            f"the model's base is quantised, and the method {method.kind} needs the exact one.",
            remedy="Load the model again, or use the method qlora.",
        )
    if isinstance(method, FullWeights):
        if short := {str(p.dtype) for p in model.parameters() if p.dtype.itemsize < 4}:
            raise InputError(
                f"the weights to be trained are {', '.join(sorted(short))}.",
                remedy="Load the model in float32, and set precision bf16 to compute in bfloat16.",
            )
        return model.requires_grad_(True)
    model.requires_grad_(False)
    if isinstance(method, Lora):
        if isinstance(method, QLora) and quantise:
            model = quantisation.quantise(model, base_of(method, compute))
        wrapped = adapters.attach_lora(
            model, rank=method.rank, alpha=method.alpha, targets=method.targets, seed=seed
        )
    elif isinstance(method, IA3):
        wrapped = adapters.attach_ia3(model, targets=method.targets, feedforward=method.feedforward)
    elif isinstance(method, PromptTuning):
        wrapped = virtual_tokens.attach_prompt(
            model, tokens=method.tokens, text=method.text, tokenizer=tokenizer, seed=seed
        )
    else:
        wrapped = virtual_tokens.attach_encoder(
            model, tokens=method.tokens, hidden=method.hidden, seed=seed
        )
    return cast("PreTrainedModel", wrapped)  # peft passes on what it does not have itself


def base_of(method: Method, compute: Literal["fp32", "bf16", "auto"] = "fp32") -> Any:
    """How the method rounds its base (``models.quantisation.FourBit``), None if it does not."""
    from llm_validation.models.quantisation import FourBit

    if not isinstance(method, QLora):
        return None
    # A run settles "auto" before it begins.
    return FourBit(double_quant=method.double_quant, compute=cast(Any, compute))
