"""The training configuration that people have, read as a training plan: one module per format."""

from llm_validation.training.configurations.described import Described, described
from llm_validation.training.configurations.flags import with_flags
from llm_validation.training.configurations.read import read_training
from llm_validation.training.configurations.training_file import (
    NOTHING,
    Key,
    Setting,
    TrainingFile,
    plan_for,
)

__all__ = [
    "NOTHING",
    "Described",
    "Key",
    "Setting",
    "TrainingFile",
    "described",
    "plan_for",
    "read_training",
    "with_flags",
]
