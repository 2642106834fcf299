"""``import finebound`` and the help are instant: they load nothing that computes."""

import subprocess
import sys

import pytest


def loaded_by(code):
    """The packages outside the standard library that ``code`` loads in a fresh process."""
    code = f"""import sys
before = set(sys.modules)
{code}
loaded = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(loaded - sys.stdlib_module_names))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    "code", ["import finebound", "from finebound.cli import main; main(['--help'])"]
)
def test_the_import_and_the_help_load_only_the_standard_library(code):
    assert loaded_by(code) == ["finebound"]


def test_the_help_of_a_verb_loads_no_numbers():
    code = """from contextlib import suppress
from finebound.cli import VERBS, main
for verb in VERBS:
    with suppress(SystemExit):
        main([verb, "--help"])"""
    heavy = {"jax", "matplotlib", "numpy", "pydantic", "scipy", "sympy", "torch", "transformers"}
    loaded = loaded_by(code)
    assert "tyro" in loaded
    assert not heavy & set(loaded)
