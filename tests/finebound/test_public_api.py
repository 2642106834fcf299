"""``finebound.NAME`` is the object of its home, imported on first use."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import finebound


@pytest.mark.parametrize("name", finebound.__all__)
def test_every_public_name_is_there(name):
    value = getattr(finebound, name)
    home = import_module(value.__module__)
    assert getattr(home, name) is value
    assert value.__doc__
    assert name in dir(finebound)


def test_an_editor_sees_each_lazy_name_in_its_home():
    tree = ast.parse(Path(finebound.__file__).read_text())
    (block,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {alias.name: node.module for node in block for alias in node.names}
    lazy = {name: home for home, names in finebound._HOMES.items() for name in names}
    assert seen == lazy
    assert finebound.__all__ == sorted(lazy)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'evaluat'"):
        _ = finebound.evaluat


def test_the_readme_example_runs(capsys):
    readme = Path(__file__).parents[2] / "README.md"
    code = readme.read_text().split("```python\n")[1].split("```")[0]
    exec(compile(code, "README.md", "exec"), {})
    gap, *sentences = capsys.readouterr().out.splitlines()
    assert 0 < float(gap) < 2
    assert sentences[0].startswith("exact: safety_gap ")


def test_bounds_of_a_problem_have_their_old_name_for_one_more_release():
    problem = finebound.TabularProblem(
        safety=finebound.Distribution([1.0], [[0.9, 0.1]]),
        task=finebound.Distribution([1.0], [[0.2, 0.8]]),
    )
    strategy = finebound.LossConstraint(lam=1.0)
    with pytest.deprecated_call(match=r"finebound\.bounds"):
        old = finebound.evaluate(problem, strategy)
    new = finebound.bounds(problem, strategy).bounds
    assert [float(b.value) for b in old] == [entry.value for entry in new]
