"""The parameter constraint on a trainer that knows nothing of it."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import TrainerControl, TrainerState

from finebound.base.errors import InputError
from llm_validation.callbacks.reporting import log
from llm_validation.models.adapters import lora_factors
from llm_validation.training.displacement import displacement_of
from llm_validation.training.parameter_constraint import ParameterConstraintCallback
from theory.strategy import ParameterConstraint


class RadiusConstraint(ParameterConstraintCallback):
    """Keeps the weights within ``radius`` of where the training starts, after every step.

    The distance is the Frobenius norm of the change of the weights (for LoRA of ``scaling * B A``);
    a step that leaves the ball is moved straight back onto it. Logged beside the Trainer's own
    entries: ``radius/displacement`` and ``radius/before_projection``. A resumed run keeps the
    centre of its first start if the callback is given to the Trainer's constructor. Raises
    InputError for an adapter that does not begin at zero, or that is not all that is trained.
    """

    def __init__(self, radius: float) -> None:
        try:
            checked = ParameterConstraint(radius=radius)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"a radius of {radius!r}: {error}", remedy="Give a number above 0."
            ) from error
        self.radius = float(checked.radius)
        self.step = {}

    def on_init_end(self, args, state, control, *, model: nn.Module, **_: Any) -> None:
        """Remember where the weights are before a checkpoint is read."""
        self._start_at(model)

    def on_train_begin(
        self, args, state: TrainerState, control, *, model: nn.Module, **_: Any
    ) -> None:
        """Follow the prepared model."""
        if not hasattr(self, "displacement"):
            if state.global_step:
                raise InputError(
                    "the run is resumed, and the constraint does not know where it started.",
                    remedy="Give RadiusConstraint in `callbacks` of the Trainer's constructor.",
                )
            self._start_at(model)
        super().on_train_begin(args, state, control, model=model)

    def on_step_end(self, args, state, control: TrainerControl, **_: Any) -> None:
        """Log the displacement where the Trainer logs."""
        if control.should_log and self.step:
            values = {"radius/displacement": self.step["displacement"]}
            values["radius/before_projection"] = self.step["displacement_before_projection"]
            log(control, values)

    def _start_at(self, model: nn.Module) -> None:
        displacement = displacement_of(model)
        factors = lora_factors(model)
        if factors:
            of_lora = {id(p) for f in factors for p in (f.a, f.b)}
            others = [
                n for n, p in model.named_parameters() if p.requires_grad and id(p) not in of_lora
            ]
            if others:
                raise InputError(
                    f"beside the LoRA {others[0]} is trained, which its norm does not hold.",
                    remedy="Train the LoRA alone, or all weights.",
                )
            if displacement.norm() > 0.0:
                raise InputError(
                    "the LoRA does not begin at zero, so its norm is not the distance from here.",
                    remedy="Merge it into the model (merge_and_unload) and train a new one, with "
                    "PEFT's usual initialisation.",
                )
        self.displacement = displacement
