import pytest
from architectures import write_lora


@pytest.fixture(scope="session")
def adapter(tiny_model_folder, tmp_path_factory):
    """A random LoRA on the tiny model."""
    return write_lora(tiny_model_folder, tmp_path_factory.mktemp("tuned") / "tuned")
