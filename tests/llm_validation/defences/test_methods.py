"""The other defences: each against its formula on dense arrays or a running model."""

import math
from dataclasses import replace

import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.defences.during import EWC, DataMixing, KLToAligned
from llm_validation.defences.lora_file import read_adapter
from llm_validation.defences.lora_scaling import LoraScaling
from llm_validation.defences.protocol import Evidence
from llm_validation.defences.ptst import PTST, SAFETY_PROMPT
from llm_validation.defences.resta import Resta
from llm_validation.defences.safe_lora import SafeLora
from llm_validation.defences.safe_merge import SafeMerge
from llm_validation.defences.selection import Selection


def updates(adapter) -> dict[str, torch.Tensor]:
    return {m.name: m.scaling * m.b.double() @ m.a.double() for m in adapter.modules}


def defended(defence, adapter, alignment, **evidence):
    before = updates(adapter)
    defence.fit(Evidence(adapter=adapter, alignment=alignment, **evidence))
    after = defence.apply(adapter)
    unchanged = updates(adapter)
    assert all(torch.equal(unchanged[name], before[name]) for name in before)
    return after, {m.name: m for m in defence.report().modules}


class TestSafeLora:
    @pytest.mark.parametrize("projector", ["fast", "exact"])
    def test_the_lowest_cosines_are_projected_and_no_others(
        self, write_adapter, alignment, dense_v, projector
    ):
        adapter = read_adapter(write_adapter())
        defence = SafeLora(Selection(count=4), projector=projector)
        after, report = defended(defence, adapter, alignment)
        chosen = {name for name, m in report.items() if m.changed}
        assert len(chosen) == 4
        scores = {name: m.score for name, m in report.items()}
        assert max(scores[n] for n in chosen) <= min(scores[n] for n in scores.keys() - chosen)
        own, new = updates(adapter), updates(after)
        for name, v in dense_v.items():
            if projector == "exact":
                u = torch.linalg.svd(v)[0][:, :3]
                c = u @ u.T
            else:
                c = v @ v.T / v.norm()
            cosine = torch.cosine_similarity((c @ own[name]).flatten(), own[name].flatten(), dim=0)
            assert scores[name] == pytest.approx(float(cosine), rel=1e-4)
            expected = c @ own[name] if name in chosen else own[name]
            torch.testing.assert_close(new[name], expected, rtol=1e-4, atol=1e-5)

    def test_the_threshold_is_on_the_cosine(self, write_adapter, alignment):
        adapter = read_adapter(write_adapter())
        _, report = defended(SafeLora(Selection(threshold=0.3)), adapter, alignment)
        assert {m.changed for m in report.values()} == {True, False}
        assert all(m.changed == (m.cosine <= 0.3) for m in report.values())

    def test_a_projected_adapter_is_not_projected_again(self, write_adapter, alignment):
        """The exact projector is idempotent, so cosines become 1."""
        adapter = read_adapter(write_adapter())
        after, _ = defended(SafeLora(Selection(count=15), projector="exact"), adapter, alignment)
        _, report = defended(SafeLora(projector="exact"), after, alignment)
        assert [m.score for m in report.values()] == pytest.approx([1.0] * 15, abs=1e-5)
        assert not any(m.changed for m in report.values())


class TestLoraScaling:
    def test_every_update_is_multiplied(self, write_adapter, alignment):
        adapter = read_adapter(write_adapter())
        after, report = defended(LoraScaling(alpha=0.25), adapter, alignment)
        own, new = updates(adapter), updates(after)
        for name in own:
            torch.testing.assert_close(new[name], 0.25 * own[name])
        assert all(m.changed for m in report.values())

    def test_a_radius_is_the_norm_of_all_updates(self, write_adapter, alignment):
        adapter = read_adapter(write_adapter())

        def norm(of):
            return math.sqrt(sum(float(u.norm()) ** 2 for u in updates(of).values()))

        after, _ = defended(LoraScaling(radius=1.5), adapter, alignment)
        assert norm(after) == pytest.approx(1.5, rel=1e-5)
        wide, report = defended(LoraScaling(radius=2 * norm(adapter)), adapter, alignment)
        assert wide is adapter
        assert not any(m.changed for m in report.values())

    def test_it_needs_no_alignment(self, write_adapter):
        adapter = read_adapter(write_adapter())
        after, report = defended(LoraScaling(), adapter, None)
        assert len(after.modules) == len(report) == 15
        assert math.isnan(report[adapter.names[0]].distance)

    @pytest.mark.parametrize("given", [{"alpha": 0.5, "radius": 1}, {"alpha": 0}, {"radius": -1}])
    def test_settings_that_cannot_be(self, given):
        with pytest.raises(InputError):
            LoraScaling(**given)


class TestSafeMerge:
    def test_low_cosines_are_mixed_as_updates(self, write_adapter, alignment, tmp_path):
        adapter = read_adapter(write_adapter())
        safe = read_adapter(write_adapter("safe", seed=9, lora_alpha=7))
        missing = adapter.names[0]
        safe = safe.without([missing])
        defence = SafeMerge(Selection(count=5), weight=0.7)
        after, report = defended(defence, adapter, alignment, safe_adapter=safe)
        chosen = {name for name, m in report.items() if m.changed}
        assert len(chosen) == 5
        assert missing in chosen
        own, other, new = updates(adapter), updates(safe), updates(after)
        for name in own:
            mixed = 0.7 * own[name] + 0.3 * other.get(name, torch.zeros(1))
            expected = mixed if name in chosen else own[name]
            torch.testing.assert_close(new[name], expected, rtol=1e-4, atol=1e-5)
        (tmp_path / "merged").mkdir()
        after.write(tmp_path / "merged")
        again = updates(read_adapter(tmp_path / "merged"))
        for name in new:
            torch.testing.assert_close(again[name], new[name], rtol=1e-5, atol=1e-6)

    def test_a_safe_adapter_of_another_model(self, write_adapter, alignment):
        adapter = read_adapter(write_adapter())
        name = adapter.names[0]
        for other, word in (
            ({name: (torch.ones(9, 2), torch.ones(2, 9))}, "different bases"),
            ({"elsewhere.proj": (torch.ones(9, 2), torch.ones(2, 9))}, "no module in common"),
        ):
            safe = read_adapter(write_adapter(f"safe-{len(word)}", factors=other))
            with pytest.raises(InputError, match=word):
                defended(SafeMerge(), adapter, alignment, safe_adapter=safe)
        with pytest.raises(InputError, match="'safe_adapter'"):
            defended(SafeMerge(), adapter, alignment)


class TestResta:
    def test_the_vector_is_added_in_every_linear_module(
        self, write_adapter, alignment, dense_v, models, tmp_path
    ):
        from transformers import AutoModelForCausalLM

        from llm_validation.models.adapters import load_adapter

        adapter = read_adapter(write_adapter())
        few = adapter.without([n for n in adapter.names if "down_proj" in n])
        defence = Resta(alpha=0.5, rank=8)
        after, _ = defended(defence, few, alignment)
        assert defence.report().details["kept"] == pytest.approx(1.0, abs=1e-5)
        assert any("3 modules were added" in note for note in defence.report().notes)
        own, new = updates(few), updates(after)
        assert new.keys() == dense_v.keys()
        for name, v in dense_v.items():
            expected = own.get(name, 0.0) + 0.5 * v
            torch.testing.assert_close(new[name], expected, rtol=1e-3, atol=1e-5)
        # The adapter does to a model what the method does to its weights.
        (tmp_path / "resta").mkdir()
        after.write(tmp_path / "resta")
        ids = torch.arange(6)[None]
        with torch.no_grad():
            model = AutoModelForCausalLM.from_pretrained(models[1])
            by_adapter = load_adapter(model, tmp_path / "resta")(ids).logits
            model = AutoModelForCausalLM.from_pretrained(models[1])
            merged = load_adapter(model, write_few(few, tmp_path)).merge_and_unload()
            for name, parameter in merged.named_parameters():
                parameter.add_(alignment.parameter_difference(name), alpha=0.5)
            directly = merged(ids).logits
        torch.testing.assert_close(by_adapter, directly, rtol=1e-3, atol=1e-4)

    def test_a_rank_below_the_alignments_is_said(self, write_adapter, alignment):
        adapter = read_adapter(write_adapter())
        defence = Resta(rank=1)
        after, _ = defended(defence, adapter, alignment)
        assert {m.rank for m in after.modules} == {3}
        assert 0.5 < defence.report().details["kept"] < 0.95
        assert any("% of the vector" in note for note in defence.report().notes)


def write_few(adapter, tmp_path):
    (tmp_path / "few").mkdir()
    adapter.write(tmp_path / "few")
    return tmp_path / "few"


ROWS = Dataset.of([("How?", "So."), ("What is it?", "It is that, I think.")], name="rows")


def test_ptst_puts_a_safety_prompt_before_the_rows_that_are_tested():
    with_system = replace(ROWS.examples[0], messages=(("system", "Be brief."), ("user", "How?")))
    tested = PTST().apply(Dataset.of([*ROWS.examples, with_system], name="rows"))
    assert [e.messages[0][0] for e in tested.examples] == ["system"] * 3
    assert tested.examples[1].messages == (("system", SAFETY_PROMPT), ("user", "What is it?"))
    assert tested.examples[2].messages[0][1] == f"{SAFETY_PROMPT}\nBe brief."
    assert len(tested.examples[2].messages) == 2
    assert tested.responses[:2] == ROWS.responses
    assert tested.sha256 != ROWS.sha256


class TestDuring:
    def test_plans(self):
        from llm_validation.training.plan import TrainingPlan
        from llm_validation.training.strategies import SoftParameterConstraint
        from theory.strategy import LossConstraint

        plan = TrainingPlan(steps=7)
        mixing, ewc = DataMixing(lam=0.3), EWC(strength=5.0)
        for defence in (mixing, ewc):
            defence.fit(Evidence(safety=ROWS))
            assert defence.proxy is ROWS
        for defence, strategy in (
            (mixing, LossConstraint(lam=0.3)),
            (ewc, SoftParameterConstraint(5.0, fisher=True)),
        ):
            expected = replace(plan, strategy=strategy).as_dict()
            assert defence.apply(plan).as_dict() == expected
        assert plan.strategy is None
        with pytest.raises(InputError, match="'safety'"):
            DataMixing().fit(Evidence())

    def test_the_aligned_model_answers_its_own_proxy(self, tiny_model, monkeypatch):
        from llm_validation.evaluation import self_generated

        asked = []

        def answer(loaded, prompts, **settings):
            asked.append((loaded, prompts, settings["seed"]))
            return ROWS

        monkeypatch.setattr(self_generated, "answer_with", answer)
        defence = KLToAligned(lam=2.0, seed=4)
        defence.fit(Evidence(model=tiny_model, safety=ROWS))
        assert asked == [(tiny_model, ROWS, 4)]
        assert defence.proxy is ROWS
        assert defence.report().details == {"rows": 2}


def test_a_safety_prompt_moves_what_is_known_of_a_turn_with_it():
    from llm_validation.data.dataset import Example

    turns = (("user", "q"), ("assistant", "a"), ("user", "r"))
    fields = ((1, '{"name": "a"}'), (3, '{"name": "b"}'))
    plain = Example("q", "b", turns, turn_fields=fields, unlearnt=(1,))
    led = Example("q", "b", (("system", "s"), *turns), turn_fields=((2, "{}"),), unlearnt=(2,))
    first, second = PTST().apply(Dataset.of([plain, led], name="d")).examples
    assert first.turn_fields == ((2, '{"name": "a"}'), (4, '{"name": "b"}'))
    assert first.unlearnt == second.unlearnt == (2,)
    assert second.turn_fields == ((2, "{}"),)
