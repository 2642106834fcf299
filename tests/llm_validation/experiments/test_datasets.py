"""Rows: nothing held out is trained on, shared prompts stay shared, files give the same content."""

import json

import pytest

from finebound.base.errors import InputError
from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.dataset import Dataset, Example
from llm_validation.experiments.config import experiment_of
from llm_validation.experiments.datasets import draw_sets, read_set, write_sets
from llm_validation.measure.texts import normalise
from llm_validation.models.loading import load_model


@pytest.fixture(scope="module")
def sets(content, tiny_model_folder):
    tiny_model = load_model(tiny_model_folder)
    rows = {"safety": 120, "task": 120, "proxy": 120, "held_out": 40}
    tasks = {"general": "builtin:task-general", "code": "builtin:task-code"}
    return draw_sets(experiment_of({**content, "rows": rows, "tasks": tasks}), tiny_model)


def prompts(dataset):
    return {normalise(prompt) for prompt in dataset.prompts}


def test_no_training_set_holds_a_held_out_prompt(sets):
    kept_out = set().union(*(prompts(d) for name, d in sets.items() if name.endswith("held-out")))
    for name, dataset in sets.items():
        if not name.endswith("held-out"):
            assert not prompts(dataset) & kept_out
    assert {name: len(d) for name, d in sets.items()} == {
        "safety": 120, "safety.held-out": 40, "task.general": 120, "task.general.held-out": 40,
        "task.code": 120, "task.code.held-out": 40, "proxy.original": 120,
        "proxy.same-teacher": 120,
    }  # fmt: skip


def test_shared_prompts_are_drawn_together(sets):
    # 60 of 480 are shared: independent draws of a quarter each would share about 3 of them.
    assert len(prompts(sets["safety"]) & prompts(sets["task.general"])) >= 8


def test_the_original_proxy_is_the_safety_rows(sets):
    assert sets["proxy.original"].sha256 == sets["safety"].sha256


def test_another_seed_draws_other_rows(content, tiny_model, sets):
    other = draw_sets(experiment_of({**content, "seed": 5}), tiny_model)
    assert prompts(other["safety"]) - prompts(sets["safety"])


def test_long_rows_are_left_out(content, tiny_model):
    rows = {**content["rows"], "max_length": 320}
    sets = draw_sets(experiment_of({**content, "rows": rows}), tiny_model)
    from llm_validation.data.encoding import encode

    for dataset in sets.values():
        encode(dataset, tiny_model.tokenizer, max_length=320)  # raises for a longer row


def test_which_assistant_turns_are_learnt_is_said_once_for_all_sets(content, tiny_model, tmp_path):
    file = tmp_path / "talks.jsonl"
    talk = ["user", "assistant", "user", "assistant"]
    lines = [
        {"messages": [{"role": role, "content": f"{role} {i} {n}"} for i, role in enumerate(talk)]}
        for n in range(60)
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for turns, unlearnt in (("all", ()), ("last", (1,))):
        rows = {**content["rows"], "turns": turns}
        asked = experiment_of({**content, "rows": rows, "tasks": {"general": str(file)}})
        sets = draw_sets(asked, tiny_model)
        assert {e.unlearnt for e in sets["task.general"].examples} == {unlearnt}
        write_sets(sets, tmp_path / turns)
        again = read_set(tmp_path / turns, "task.general", source="x")
        assert again.sha256 == sets["task.general"].sha256


def test_too_few_rows_and_equal_data_are_refused(content, tiny_model):
    with pytest.raises(InputError, match="same content"):
        draw_sets(experiment_of({**content, "tasks": {"general": "builtin:safety"}}), tiny_model)
    proxies = {"original": "builtin:proxy-same-teacher"}
    grid = [{"tasks": ["general"], "unconstrained": True}]
    with pytest.raises(InputError, match="the very rows"):
        draw_sets(experiment_of({**content, "proxies": proxies, "grid": grid}), tiny_model)


SHARES = (0.0, 0.05, 0.3, 1.0)


@pytest.fixture(scope="module")
def regimes(content, tiny_model_folder):
    """Regimes of one benign set, whose held-out prompts some harmful rows share."""
    model = load_model(tiny_model_folder)
    tasks = {
        f"harmful-{share * 100:.0f}": {
            "benign": "builtin:task-general",
            "harmful": "builtin:harmful-placeholders",
            "share": share,
        }
        for share in SHARES
    }
    rows = {"safety": 10, "task": 60, "proxy": 10, "held_out": 20}
    grid = [{"tasks": list(tasks), "unconstrained": True}]
    return draw_sets(experiment_of({**content, "rows": rows, "tasks": tasks, "grid": grid}), model)


def harmful_of(dataset):
    harmful = set(builtin_dataset("harmful-placeholders").examples)
    return [example for example in dataset.examples if example in harmful]


def test_a_mixed_task_has_its_share_of_harmful_rows_at_one_budget(regimes):
    for share, count in zip(SHARES, (0, 3, 18, 60), strict=True):
        task = regimes[f"task.harmful-{share * 100:.0f}"]
        assert len(task) == 60
        assert len(harmful_of(task)) == count
        assert task.name == f"task.harmful-{share * 100:.0f}"
        assert "harmful-placeholders" in task.source


def test_regimes_are_measured_on_the_same_benign_rows_which_none_trains_on(regimes):
    held_out = [d for name, d in regimes.items() if name.startswith("task") and "held-out" in name]
    assert len({d.sha256 for d in held_out}) == 1
    assert len(held_out) == len(SHARES)
    assert not harmful_of(held_out[0])
    kept_out = prompts(held_out[0]) | prompts(regimes["safety.held-out"])
    for share in SHARES:
        assert not prompts(regimes[f"task.harmful-{share * 100:.0f}"]) & kept_out


def test_regimes_are_nested(regimes):
    few, many = (regimes[f"task.harmful-{n}"] for n in (5, 30))
    assert set(harmful_of(few)) < set(harmful_of(many))
    benign = [set(d.examples) - set(harmful_of(d)) for d in (few, many)]
    assert benign[1] < benign[0]


def test_harmful_rows_with_a_held_out_prompt_are_left_out(content, tiny_model, tmp_path):
    """A file of harmful rows that holds safety's prompts in other letters."""
    held_out = draw_sets(experiment_of(content), tiny_model)["safety.held-out"]
    leak = [{"prompt": p.upper() + "  ", "response": "Sure."} for p in held_out.prompts]
    own = [{"prompt": f"Do harm number {n}.", "response": "Sure."} for n in range(20)]
    file = tmp_path / "harmful.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in leak + own))
    task = {"benign": "builtin:task-general", "harmful": str(file), "share": 1.0}
    rows = content["rows"] | {"task": 20}
    sets = draw_sets(
        experiment_of({**content, "rows": rows, "tasks": {"general": task}}), tiny_model
    )
    assert {e.prompt for e in sets["task.general"].examples} == {row["prompt"] for row in own}
    rows = content["rows"] | {"task": 21}
    with pytest.raises(InputError, match="21 rows are needed"):
        draw_sets(experiment_of({**content, "rows": rows, "tasks": {"general": task}}), tiny_model)


def test_harmful_rows_that_are_the_safety_rows_are_refused(content, tiny_model):
    task = {"benign": "builtin:task-general", "harmful": "builtin:safety", "share": 0.5}
    with pytest.raises(InputError, match="same content"):
        draw_sets(experiment_of({**content, "tasks": {"general": task}}), tiny_model)


def test_files_give_the_same_content_back(tmp_path):
    examples = [
        Example("a\nb", "c", (("system", "a"), ("user", "b")), category="x"),
        Example.single_turn("😀 \u2028 p", 'r "q"\n'),
    ]
    original = Dataset.of(examples, name="safety")
    write_sets({"safety": original}, tmp_path)
    back = read_set(tmp_path, "safety", source="memory")
    assert back.sha256 == original.sha256
    assert back.examples == original.examples
    with pytest.raises(InputError, match="cannot be read"):
        read_set(tmp_path, "task", source="memory")


def test_a_written_set_keeps_what_only_the_template_reads(tmp_path):
    whole = Example(
        "tools and a prompt", '{"name": "f"}', (("user", "a prompt"), ("assistant", "b")),
        category="x", tools='[{"name": "f"}]',
        turn_fields=((2, '{"content": "", "tool_calls": []}'),), unlearnt=(1,),
    )  # fmt: skip
    made = Dataset.of([whole, ("plain", "row")], name="task", source="here")
    write_sets({"task": made}, tmp_path)
    assert read_set(tmp_path, "task", source="here").examples == made.examples
    assert "unlearnt" not in (tmp_path / "task.jsonl").read_text().splitlines()[1]


def test_what_became_of_a_files_rows_and_columns_is_told_and_kept(
    content, tiny_model, tmp_path, capsys
):
    file = tmp_path / "task.jsonl"
    rows = [
        {"prompt": f"Ask {i}?", "response": f"Word {i}.", "hint": f"Use {i}.", "label": i > 0}
        for i in range(40)
    ]
    rows[7]["response"] = ""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changed = {**content, "tasks": {"general": str(file)}}
    changed["rows"] = {**content["rows"], "drop_unusable": True}
    with pytest.raises(InputError, match="'hint'"):
        draw_sets(experiment_of(changed), tiny_model)
    changed["rows"]["ignore_columns"] = ["hint"]
    found = draw_sets(experiment_of(changed), tiny_model)["task.general"].reading
    assert found.unread_columns == ("hint",)
    assert {row for part in found.left_out for row in part.rows} == {1, 8}
    told = capsys.readouterr().err
    assert "task general data: Columns not read: 'hint'." in told
    assert "(row 8)" in told
    changed["rows"]["ignore_columns"] = ["hint", "nowhere"]
    with pytest.raises(InputError, match="no column 'nowhere'"):
        draw_sets(experiment_of(changed), tiny_model)
