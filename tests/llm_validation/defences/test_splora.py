"""SPLoRA finds a planted misaligned module, removes exactly what is asked, and is reproducible."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.defences.lora_file import LoraAdapter, LoraModule, read_adapter
from llm_validation.defences.protocol import Evidence
from llm_validation.defences.selection import Selection
from llm_validation.defences.splora import SPLoRA


class Planted:
    """An alignment and an adapter of eight modules, one of which leaves the alignment.

    Updates differ in size by a factor of about ten. Those of the others lie half in the column
    space of ``V``, the planted one lies orthogonal to it.
    """

    folders = (Path("base"), Path("aligned"))

    def __init__(self, seed: int, *, modules: int = 8, size: float = 0.02) -> None:
        rng = np.random.default_rng(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

        self.planted = f"block.{rng.integers(modules)}.proj"
        self.v, made = {}, []
        for i in range(modules):
            name = f"block.{i}.proj"
            directions = torch.linalg.qr(normal(40, 5))[0]
            self.v[name] = size * directions @ normal(5, 32)
            b = normal(40, 3)
            inside = directions @ (directions.T @ b)
            mixed = b / b.norm() + inside / inside.norm()
            b = b - inside if name == self.planted else mixed
            b = b / b.norm() * math.exp(rng.normal())
            made.append(LoraModule(name, normal(3, 32), b, 2.0))
        self.adapter = LoraAdapter(Path("adapter"), {}, tuple(made))

    def require(self, adapter, *, any_base):
        pass

    def difference(self, module):
        return self.v[module.name]

    def scores(self, **settings) -> dict[str, float]:
        return {m.name: m.score for m in self.fitted(**settings).report().modules}

    def fitted(self, adapter=None, **settings) -> SPLoRA:
        defence = SPLoRA(**settings)
        defence.fit(Evidence(adapter=adapter or self.adapter, alignment=self))
        return defence


def test_the_planted_module_is_first_in_95_of_100_seeds_and_not_by_the_released_score():
    found = released = 0
    for seed in range(100):
        case = Planted(seed)
        scores = case.scores(draws=30)
        found += max(scores, key=scores.get) == case.planted
        scores = case.scores(mode="released")
        released += min(scores, key=scores.get) == case.planted  # it prunes low scores
    assert found >= 95
    assert released <= 50


@pytest.mark.parametrize("size", [1e-5, 3.0])
def test_the_alignments_size_does_not_matter(size):
    """At a norm of C far below 1 a distance is a size, far above it agreement looks like one."""
    cases = [Planted(seed, size=size) for seed in range(10)]
    for case in cases:
        scores = case.scores(draws=30)
        assert max(scores, key=scores.get) == case.planted


def test_the_size_of_an_update_does_not_matter():
    case = Planted(0)
    large = case.adapter.modules[3]
    scaled = case.adapter.replaced([replace(large, b=50 * large.b)])
    before = case.scores()[large.name]
    after = {m.name: m.score for m in case.fitted(scaled).report().modules}[large.name]
    assert after == pytest.approx(before, rel=1e-4)


def test_scores_do_not_depend_on_the_order_of_modules():
    case = Planted(1)
    reversed_ = replace(case.adapter, modules=case.adapter.modules[::-1])
    one = {m.name: m for m in case.fitted().report().modules}
    other = {m.name: m for m in case.fitted(reversed_).report().modules}
    assert one == other


def test_the_seed_decides_the_random_updates():
    case = Planted(2)
    assert case.scores(seed=1) == case.scores(seed=1)
    assert case.scores(seed=1) != case.scores(seed=2)
    # Each module has its own: eight modules of one content do not share their luck.
    first = case.adapter.modules[0]
    case.v = dict.fromkeys(case.v, case.v[first.name])
    same = tuple(replace(first, name=m.name) for m in case.adapter.modules)
    report = case.fitted(replace(case.adapter, modules=same)).report().modules
    assert len({m.score for m in report}) == 8


def test_across_modules_compares_with_the_others_of_the_shape():
    case = Planted(3)
    found = case.fitted(null="across_modules").report().modules
    distances = {m.name: m.distance for m in found}
    one = found[0]
    others = [d for name, d in distances.items() if name != one.name]
    spread = np.subtract(*np.quantile(others, [0.75, 0.25]))
    expected = (one.distance - np.mean(others)) / spread
    assert one.score == pytest.approx(expected, abs=0.02)  # less v_min, of the elements' size
    few = replace(case.adapter, modules=case.adapter.modules[:3])
    with pytest.raises(InputError, match="2 other modules of its shape"):
        case.fitted(few, null="across_modules")


@pytest.mark.parametrize("count", range(8))
def test_the_count_asked_for_is_the_count_removed(count):
    case = Planted(4)
    defence = case.fitted(selection=Selection(count=count))
    left = defence.apply(case.adapter)
    assert len(left.modules) == 8 - count
    changed = {m.name for m in defence.report().modules if m.changed}
    assert changed == set(case.adapter.names) - set(left.names)
    scores = {m.name: m.score for m in defence.report().modules}
    assert all(scores[a] >= scores[b] for a in changed for b in left.names)
    cost = defence.report().as_json()["cost"]
    assert cost["before"]["flops_per_token"] == 8 * 2 * 3 * (40 + 32)
    assert cost["after"]["flops_per_token"] == (8 - count) * 2 * 3 * (40 + 32)
    assert cost["after"]["milliseconds"] > 0.0


def test_tied_scores_are_cut_at_the_count_by_name():
    scores = dict.fromkeys([f"m{i}" for i in range(9)], 1.0)
    for highest in (True, False):
        assert Selection(count=4).choose(scores, highest=highest) == {"m0", "m1", "m2", "m3"}
    backwards = dict(reversed(scores.items()))
    assert Selection(keep=0.5).choose(backwards, highest=True) == {f"m{i}" for i in range(5)}


def test_modules_that_are_the_same_tie_and_the_count_holds_in_an_adapter():
    case = Planted(5)
    first = case.adapter.modules[0]
    same = tuple(replace(first, name=m.name) for m in case.adapter.modules)
    case.v = dict.fromkeys(case.v, case.v[first.name])
    adapter = replace(case.adapter, modules=same)
    corrected = case.fitted(adapter, selection=Selection(count=3)).apply(adapter)
    assert len(corrected.modules) == 5
    released = case.fitted(adapter, selection=Selection(count=3), mode="released")
    zeroed = [m for m in released.apply(adapter).modules if not m.b.any()]
    assert len(zeroed) == 8  # all of a tie, as dense zeros


@pytest.mark.parametrize(
    ("rule", "removed"), [({"keep": 0.8}, 2), ({"keep": 1.0}, 0), ({"keep": 0.05}, 8)]
)
def test_keep_is_a_fraction_of_all_modules(rule, removed):
    scores = {f"m{i}": float(i) for i in range(8)}
    assert len(Selection(**rule).choose(scores, highest=True)) == removed


def test_a_threshold_is_met_from_its_side():
    scores = {"a": 1.0, "b": 2.0, "c": 3.0, "d": math.nan}
    assert Selection(threshold=2.0).choose(scores, highest=True) == {"b", "c"}
    assert Selection(threshold=2.0).choose(scores, highest=False) == {"a", "b"}
    assert Selection(threshold=9.0).choose(scores, highest=True) == set()


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"count": 1, "keep": 0.5},
        {"count": -1},
        {"keep": 1.2},
        {"keep": math.nan},
        {"threshold": math.nan},
    ],
)
def test_rules_that_cannot_be(rule):
    with pytest.raises(InputError):
        Selection(**rule)


def test_more_than_have_a_score_cannot_be_removed():
    with pytest.raises(InputError, match="1 have none"):
        Selection(count=2).choose({"a": 1.0, "b": math.nan}, highest=True)
    case = Planted(6)
    with pytest.raises(InputError, match="all 8 modules"):
        case.fitted(selection=Selection(count=8)).apply(case.adapter)


def test_a_module_without_alignment_has_no_score_and_stays():
    case = Planted(7)
    name = case.adapter.names[0]
    case.v[name] = torch.zeros(40, 32)
    defence = case.fitted(selection=Selection(count=7))
    assert defence.apply(case.adapter).names == [name]
    (report,) = [m for m in defence.report().modules if m.name == name]
    assert report.projector_norm == 0.0
    entry = next(m for m in defence.report().as_json()["modules"] if m["name"] == name)
    assert entry["score"] is None
    assert entry["cosine"] is None


def test_an_update_that_the_alignment_does_not_see_at_all_is_the_worst():
    """``C B A`` exactly zero: no quartiles and no cosine, but the farthest an update can be."""
    case = Planted(8)
    name = case.adapter.names[2]
    case.v[name] = case.v[name].clone()
    case.v[name][20:] = 0.0
    b = case.adapter.modules[2].b.clone()
    b[:20] = 0.0
    adapter = case.adapter.replaced([replace(case.adapter.modules[2], b=b)])
    adapter = adapter.without([case.planted] if case.planted != name else [])
    report = {m.name: m for m in case.fitted(adapter).report().modules}
    assert report[name].cosine == 0.0
    assert report[name].score == max(m.score for m in report.values())


@pytest.mark.parametrize("rank", [8, 11])
def test_a_rank_of_the_outputs_or_above(write_adapter, alignment, modules, rank):
    """k_proj and v_proj have 8 outputs: their update is of any direction already."""
    generator = torch.Generator().manual_seed(0)
    factors = {
        name: (
            torch.randn(shape[0], rank, generator=generator),
            torch.randn(rank, shape[1], generator=generator),
        )
        for name, shape in modules.items()
    }
    adapter = read_adapter(write_adapter(factors=factors, r=rank))
    for null in ("random_update", "across_modules"):
        few = (
            adapter
            if null == "random_update"
            else adapter.without([n for n in adapter.names if "mlp" in n or "q_proj" in n])
        )
        defence = SPLoRA(null=null, selection=Selection(count=2))
        defence.fit(Evidence(adapter=few, alignment=alignment))
        scores = [m.score for m in defence.report().modules]
        assert np.isfinite(scores).all()
        assert len(defence.apply(few).modules) == len(few.modules) - 2


def test_a_half_precision_adapter_is_computed_in_float32_and_kept_in_its_type(
    write_adapter, alignment, modules, tmp_path
):
    whole = read_adapter(write_adapter())
    halves = {m.name: (m.b.bfloat16(), m.a.bfloat16()) for m in whole.modules}
    adapter = read_adapter(write_adapter("half", factors=halves))
    exact = read_adapter(
        write_adapter("exact", factors={n: (b.float(), a.float()) for n, (b, a) in halves.items()})
    )
    reports = []
    for one in (adapter, exact):
        defence = SPLoRA()
        defence.fit(Evidence(adapter=one, alignment=alignment))
        reports.append(defence.report().modules)
    assert reports[0] == reports[1]
    (tmp_path / "out").mkdir()
    adapter.write(tmp_path / "out")
    assert {m.b.dtype for m in read_adapter(tmp_path / "out").modules} == {torch.bfloat16}


def test_the_saved_adapter_loads_in_plain_peft(models, write_adapter, alignment, tmp_path, recwarn):
    from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
    from peft.tuners.lora import LoraLayer
    from transformers import AutoModelForCausalLM

    adapter = read_adapter(write_adapter())
    defence = SPLoRA(selection=Selection(count=6))
    defence.fit(Evidence(adapter=adapter, alignment=alignment))
    left = defence.apply(adapter)
    (tmp_path / "left").mkdir()
    left.write(tmp_path / "left")
    model = AutoModelForCausalLM.from_pretrained(models[1])
    before = {name: p.clone() for name, p in model.named_parameters()}
    recwarn.clear()
    wrapped = PeftModel.from_pretrained(model, tmp_path / "left")
    assert not [w for w in recwarn if "adapter keys" in str(w.message)]
    found = set_peft_model_state_dict(wrapped, load_peft_weights(str(tmp_path / "left")))
    assert not found.unexpected_keys
    assert not [key for key in found.missing_keys if "lora_" in key]
    adapted = [n for n, m in wrapped.get_base_model().named_modules() if isinstance(m, LoraLayer)]
    assert sorted(adapted) == sorted(left.names)
    merged = dict(wrapped.merge_and_unload().named_parameters())
    for module in adapter.modules:
        change = merged[f"{module.name}.weight"] - before[f"{module.name}.weight"]
        kept = module.name in left.names
        expected = module.scaling * (module.b @ module.a) * kept
        torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-5)


def test_what_is_kept_is_kept_bit_for_bit(write_adapter, alignment, tmp_path):
    folder = write_adapter()
    adapter = read_adapter(folder)
    defence = SPLoRA(selection=Selection(keep=0.4))
    defence.fit(Evidence(adapter=adapter, alignment=alignment))
    (tmp_path / "left").mkdir()
    defence.apply(adapter).write(tmp_path / "left")
    again = {m.name: m for m in read_adapter(tmp_path / "left").modules}
    assert len(again) == 6
    for module in adapter.modules:
        if module.name in again:
            assert torch.equal(again[module.name].a, module.a)
            assert torch.equal(again[module.name].b, module.b)
            assert again[module.name].scaling == module.scaling
    config = json.loads((tmp_path / "left" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(again)


def test_it_must_be_fitted_and_have_its_evidence(write_adapter):
    adapter = read_adapter(write_adapter())
    with pytest.raises(ValueError, match="fit first"):
        SPLoRA().apply(adapter)
    with pytest.raises(ValueError, match="fit first"):
        SPLoRA().report()
    with pytest.raises(InputError, match="'alignment'"):
        SPLoRA().fit(Evidence(adapter=adapter))
    with pytest.raises(InputError, match="draws"):
        SPLoRA(draws=1)
