"""Estimates made once: of text alone, and with the tiny random model."""

import pytest

from llm_validation.estimation.pipeline import estimate
from llm_validation.estimation.request import Request


@pytest.fixture(scope="session")
def text_estimate():
    return estimate(
        Request(
            safety="builtin:safety",
            task="builtin:task-general",
            proxy="builtin:proxy-other-teacher",
        )
    )


@pytest.fixture(scope="session")
def model_estimate(tiny_model_folder):
    return estimate(
        Request(
            safety="builtin:safety",
            task="builtin:task-code",
            proxy="builtin:proxy-same-teacher",
            model=str(tiny_model_folder),
            rows=48,
            lams=(0.5, 2.0),
            radii=(1e-3, 0.1, 1e3),
        )
    )
