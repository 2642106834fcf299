"""Measurements made once: of text alone, and with the tiny random model."""

import pytest

from llm_validation.estimation.pipeline import measure
from llm_validation.estimation.request import Request


@pytest.fixture(scope="session")
def text_measured():
    return measure(
        Request(
            safety="builtin:safety",
            task="builtin:task-general",
            proxy="builtin:proxy-other-teacher",
        )
    )


@pytest.fixture(scope="session")
def model_measured(tiny_model_folder):
    return measure(
        Request(
            safety="builtin:safety",
            task="builtin:task-code",
            proxy="builtin:proxy-same-teacher",
            model=str(tiny_model_folder),
            rows=48,
            lam=(0.5, 2.0),
            radius=(1e-3, 0.1, 1e3),
        )
    )
