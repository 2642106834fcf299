"""A configuration says every run of its grid once, and says no to everything that is wrong."""

import json
import subprocess
import sys

import pytest

from finebound.base.errors import InputError
from llm_validation.experiments.config import (
    NAMED,
    expand,
    experiment_of,
    plan_of,
    read_experiment,
)


def changed(content, **entries):
    return experiment_of({**content, **entries})


def ids(experiment):
    return [run.id for run in expand(experiment)]


def test_axes_multiply_and_proxies_belong_to_the_strategies_that_use_them(content):
    block = {
        "tasks": ["general"], "proxies": ["original", "same-teacher"], "seeds": [0, 1],
        "unconstrained": True, "radius": [0.5], "lam": [0.25, 1.0],
        "hybrid": [{"lam": 1.0, "radius": 0.5}], "soft": [{"strength": 2.0}],
    }  # fmt: skip
    runs = expand(changed(content, grid=[block]))
    # none, radius and soft once a seed; two lambdas and a hybrid for each of two proxies.
    assert len(runs) == 2 * (3 + 2 * 3)
    assert len({run.id for run in runs}) == len(runs)
    assert len({run.sha256 for run in runs}) == len(runs)
    assert {run.plan.seed for run in runs} == {0, 1}


def test_ids_are_readable_and_stable(content):
    block = {"tasks": ["general"], "proxies": ["same-teacher"], "lam": [0.25], "seeds": [3]}
    block |= {"hybrid": [{"lam": 1e-5, "radius": 2.0}]}
    assert ids(changed(content, grid=[block])) == [
        "general_loss-lam0.25_same-teacher_lora_s3",
        "general_hybrid-lam1e-05-r2_same-teacher_lora_s3",
    ]


def test_the_defences_that_train_are_strategies_of_a_grid(content):
    block = {
        "tasks": ["general"], "proxies": ["same-teacher"],
        "constrained_sft": [{}, {"beta": 0.2}],
        "lisa": [{"alignment_steps": 1, "task_steps": 2}],
        "asft": [{"strength": 0.5}, {"strength": 0.5, "projector": "exact"}],
    }  # fmt: skip
    runs = {run.id: run for run in expand(changed(content, grid=[block]))}
    assert {name: run.label for name, run in runs.items()} == {
        "general_constrained-sft-b0.1-f5-e20_lora_s0":
            "constrained SFT beta 0.1, first 5, early 20",
        "general_constrained-sft-b0.2-f5-e20_lora_s0":
            "constrained SFT beta 0.2, first 5, early 20",
        "general_lisa-a1-t2-rho1_same-teacher_lora_s0":
            "Lisa safety steps 1, task steps 2, rho 1",
        "general_asft-k0.5_lora_s0": "AsFT strength 0.5, projector fast",
        "general_asft-exact-k0.5_lora_s0": "AsFT strength 0.5, projector exact",
    }  # fmt: skip
    of_lisa = runs["general_lisa-a1-t2-rho1_same-teacher_lora_s0"]
    assert of_lisa.proxy == "same-teacher"
    assert of_lisa.plan.strategy.task_steps == 2


def test_only_the_strategies_that_train_on_the_proxy_take_its_batch_size(content):
    training = content["training"] | {"proxy_batch_size": 2}
    block = {
        "tasks": ["general"], "proxies": ["same-teacher"], "unconstrained": True,
        "constrained_sft": [{}], "lisa": [{"alignment_steps": 1, "task_steps": 2}],
    }  # fmt: skip
    runs = expand(changed(content, training=training, grid=[block]))
    assert [run.plan.proxy_batch_size for run in runs] == [None, None, 2]


def test_blocks_that_overlap_run_once(content):
    block = {"tasks": ["general"], "unconstrained": True}
    assert len(ids(changed(content, grid=[block, block]))) == 1


def test_the_hash_follows_what_decides_the_run_and_nothing_else(content):
    def hash_with(**entries):
        return expand(changed(content, **entries))[2].sha256

    first = hash_with()
    assert hash_with(description="other words", minutes=3) == first
    assert hash_with(landscape=None) == first
    assert hash_with(training={**content["training"], "steps": 5}) != first
    assert hash_with(rows={**content["rows"], "task": 9}) != first
    assert hash_with(seed=1) != first
    assert hash_with(safety="other.jsonl") != first


def test_a_regime_s_hash_follows_its_share_and_its_rows(content):
    def hash_of(**entries):
        mixed = {"benign": "a.jsonl", "harmful": "b.jsonl", "share": 0.1} | entries
        return expand(changed(content, tasks={"general": mixed}))[0].sha256

    first = hash_of()
    assert hash_of(share=0.10) == first
    assert len({first, hash_of(share=0.3), hash_of(benign="c.jsonl"), hash_of(harmful="d")}) == 4
    assert expand(experiment_of(content))[0].sha256 != first


def test_the_hash_survives_a_file_and_another_way_to_write_a_number(content):
    experiment = experiment_of(content)
    again = experiment_of(json.loads(experiment.model_dump_json()))
    assert [run.sha256 for run in expand(again)] == [run.sha256 for run in expand(experiment)]
    one = changed(content, methods={"lora": {"alpha": 16}})
    other = changed(content, methods={"lora": {"alpha": 16.0}})
    assert expand(one)[0].sha256 == expand(other)[0].sha256


def test_defaults_and_given_are_told_apart(content):
    run = expand(experiment_of(content))[0]
    assert run.given["steps"] == 4
    assert "betas" not in run.given
    assert run.plan.as_dict()["betas"] == [0.9, 0.999]


def test_a_method_may_bring_its_learning_rate(content):
    methods = {"lora": {}, "full": {"kind": "full", "learning_rate": 1e-5}}
    runs = expand(changed(content, methods=methods))
    assert {run.method: run.plan.learning_rate for run in runs} == {"lora": 0.01, "full": 1e-5}


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"lerning_rate": 1}, "unknown entry lerning_rate"),
        ({"rows": {"safety": 0}}, "rows.safety"),
        ({"tasks": {"../../etc": "x.jsonl"}}, "tasks"),
        ({"tasks": {"a/b": "x.jsonl"}}, "tasks"),
        ({"methods": {"..": {}}}, "methods"),
        ({"name": "../out"}, "name"),
        ({"proxies": {"friend": "x.jsonl"}}, "proxies"),
        ({"grid": []}, "no run"),
        ({"grid": [{"tasks": ["code"], "unconstrained": True}]}, "'code'"),
        ({"grid": [{"tasks": ["general"], "lam": [1.0]}]}, "no proxies"),
        ({"grid": [{"tasks": ["general"], "radius": [-1.0]}]}, "radius"),
        ({"grid": [{"tasks": ["general"], "radius": [float("nan")]}]}, "radius"),
        (
            {"grid": [{"tasks": ["general"], "lisa": [{"alignment_steps": 1, "task_steps": 1}]}]},
            "no proxies",
        ),
        ({"grid": [{"tasks": ["general"], "lisa": [{"alignment_steps": 1}]}]}, "task_steps"),
        ({"grid": [{"tasks": ["general"], "asft": [{"strength": 0}]}]}, "strength"),
        (
            {
                "methods": {"ia3": {"kind": "ia3"}},
                "grid": [{"tasks": ["general"], "asft": [{"strength": 1.0}]}],
            },
            "asft penalises",
        ),
        ({"training": {"steps": 4, "strategy": {"kind": "none"}}}, "strategy is given"),
        ({"training": {"stpes": 4}}, "stpes"),
        ({"alignment": {"seed": 4}}, "seed is given"),
        ({"alignment": {"method": 3}}, "the method is 3"),
        ({"alignment": {"method": {"kind": ["lora"]}}}, "there is no method"),
        ({"alignment": {"method": {"kind": "lora", "targets": [3]}}}, "targets are"),
        ({"alignment": {"objective": 3}}, "objective is 3"),
        ({"training": {"early_stopping": 3}}, "early_stopping is 3"),
        ({"training": {"drop_long": "yes"}}, "drop_long is 'yes'"),
        ({"training": {"steps": 2**70}}, "steps is"),
        ({"training": {"learning_rate": 10**400}}, "learning_rate is"),
        ({"training": {"betas": eval("[" * 30 + "]" * 30)}}, "deep in one another"),
        ({"tasks": {"general": {"benign": "a", "harmful": "b"}}}, "general.mixed.share"),
        ({"tasks": {"general": 3}}, "tasks.general"),
        ({"tasks": {"general": {"benign": "a", "harmful": "b", "share": 1.5}}}, "share"),
        ({"tasks": {"general": {"benign": "a", "harmful": "b", "share": 0.01}}}, "one kind"),
    ],
)
def test_what_is_wrong_is_named(content, entries, word):
    with pytest.raises(InputError) as caught:
        changed(content, **entries)
    assert word in str(caught.value)


def test_a_missing_entry_is_named(content):
    with pytest.raises(InputError, match="lacks the entry safety"):
        experiment_of({k: v for k, v in content.items() if k != "safety"})


def test_a_key_twice_or_a_text_too_deep_is_refused(content, tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content)[:-1] + ', "seed": 1, "seed": 2}')
    with pytest.raises(InputError, match="the key 'seed' is there twice"):
        read_experiment(file)
    file.write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read"):
        read_experiment(file)


def test_files_are_json_or_safe_yaml(content, tmp_path):
    import yaml

    (tmp_path / "e.json").write_text(json.dumps(content))
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(content))
    assert read_experiment(tmp_path / "e.yaml") == read_experiment(tmp_path / "e.json")
    (tmp_path / "bad.json").write_text('{"name": "x",\n oops}')
    with pytest.raises(InputError, match="row 2"):
        read_experiment(tmp_path / "bad.json")
    (tmp_path / "twice.yaml").write_text("seed: 1\nseed: 2\n")
    with pytest.raises(InputError, match="the key 'seed' is there twice"):
        read_experiment(tmp_path / "twice.yaml")
    (tmp_path / "bad.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(InputError, match="cannot be read"):
        read_experiment(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="smoke"):
        read_experiment("smokey")


@pytest.mark.parametrize("file", sorted(NAMED.glob("*.json")), ids=lambda file: file.stem)
def test_shipped_experiments_expand(file):
    experiment = read_experiment(file.stem)
    assert experiment.name == file.stem
    planned = plan_of(expand(experiment))
    assert planned
    assert all(run["status"] == "planned" for run in planned)


def test_the_regimes_of_the_preset_differ_in_their_share_alone():
    experiment = read_experiment("defence_regimes")
    mixed = list(experiment.tasks.values())
    assert [task.share for task in mixed] == [0.0, 0.01, 0.05, 0.1, 0.3, 1.0]
    assert len({(task.benign, task.harmful) for task in mixed}) == 1
    free = [run for run in expand(experiment) if run.plan.strategy is None]
    assert [run.task for run in free] == list(experiment.tasks)
    # Every share leaves a whole number of harmful rows, and each row is read once.
    assert experiment.rows.task == 100
    assert all((100 * task.share) % 1 == 0 for task in mixed)
    assert {run.plan.steps * run.plan.batch_size for run in free} == {100}
    assert experiment.minutes + 10 <= 30  # beside the alignment and what is measured at its end
    during = {type(r.plan.strategy).__name__ for r in expand(experiment) if r.task == "harmful-10"}
    assert during == {"NoneType", "LossConstraint", "TokenConstraint", "BiState", "SubspacePenalty"}


def test_a_dry_run_needs_no_torch():
    code = (
        "import sys; from llm_validation.experiments.config import *; "
        "expand(read_experiment('paper_orca')); "
        "sys.exit(bool({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
