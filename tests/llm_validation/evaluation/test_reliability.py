"""Referral, calibration and token entropy against closed forms; nothing depends on row order."""

import json
import math

import numpy as np
import pytest

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode, prompt_text
from llm_validation.evaluation.generation import Response, generate
from llm_validation.evaluation.reliability.assessment import Assessed, as_result, assess
from llm_validation.evaluation.reliability.calibration import calibration
from llm_validation.evaluation.reliability.recorded import read_answers, read_scored
from llm_validation.evaluation.reliability.referral import referral
from llm_validation.evaluation.reliability.uncertainty import answer_uncertainty, predict_tokens


def rng():
    return np.random.default_rng(0)


def harmonic(n):
    return sum(1.0 / k for k in range(1, n + 1))


class TestReferral:
    def test_a_perfect_ordering_of_rights_and_wrongs(self):
        n, right = 50, 20
        found = referral(np.arange(n), [1.0] * right + [0.0] * (n - right), rng=rng())
        expected = right / n * (1 + harmonic(n) - harmonic(right))
        assert found.auarc.estimate == pytest.approx(expected, rel=1e-12)
        assert found.auarc.estimate == found.oracle
        assert [kept.n for kept in found.kept] == [50, 40, 30, 20, 10]
        assert [kept.score.estimate for kept in found.kept] == pytest.approx(
            [0.4, 0.5, 20 / 30, 1.0, 1.0]
        )

    def test_a_reversed_ordering(self):
        """The most uncertain are right: what sorting the wrong way round would call perfect."""
        n, right = 50, 20
        found = referral(-np.arange(n), [1.0] * right + [0.0] * (n - right), rng=rng())
        wrong = n - right
        expected = (right - wrong * (harmonic(n) - harmonic(wrong))) / n
        assert found.auarc.estimate == pytest.approx(expected, rel=1e-12)
        assert [kept.score.estimate for kept in found.kept] == pytest.approx(
            [0.4, 10 / 40, 0.0, 0.0, 0.0]
        )
        assert found.gain.upper < 0.0 < found.oracle - found.auarc.estimate

    def test_no_ordering_keeps_the_mean_at_every_coverage(self):
        scores = np.random.default_rng(1).random(37)
        found = referral(np.ones(37), scores, rng=rng())
        assert found.curve == pytest.approx(np.full(37, scores.mean()), rel=1e-12)
        assert found.auarc.estimate == pytest.approx(found.random, rel=1e-12)
        assert found.gain.estimate == pytest.approx(0.0, abs=1e-12)

    def test_a_random_ordering_is_worth_the_mean_on_average(self):
        generator = np.random.default_rng(2)
        scores = generator.random(30)
        areas = [
            referral(generator.permutation(30), scores, rng=rng(), draws=1).auarc.estimate
            for _ in range(2000)
        ]
        error = np.std(areas) / math.sqrt(len(areas))
        assert abs(np.mean(areas) - scores.mean()) < 4 * error

    def test_ties_count_with_their_expected_curve(self):
        """The mean over every order in which the three tied answers could be referred."""
        scores = np.array([0.9, 0.1, 0.5, 0.6, 0.3])
        tied = referral([1, 2, 2, 2, 3], scores, rng=rng())
        curves = [
            referral([1, *(2 + 0.1 * np.array(places)), 3], scores, rng=rng(), draws=1).curve
            for places in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        ]
        assert tied.curve == pytest.approx(np.mean(curves, axis=0), rel=1e-12)
        assert tied.curve != pytest.approx(curves[0], rel=1e-3)

    def test_the_order_of_the_rows_does_not_matter_to_the_last_bit(self):
        generator = np.random.default_rng(3)
        uncertainty, scores = generator.integers(6, size=60) / 3, generator.random(60)
        one = referral(uncertainty, scores, rng=rng())
        order = generator.permutation(60)
        other = referral(uncertainty[order], scores[order], rng=rng())
        assert one.as_json() == other.as_json()
        assert (one.curve == other.curve).all()

    def test_only_the_ranks_of_uncertainty_matter_and_the_scale_of_scores_is_kept(self):
        generator = np.random.default_rng(4)
        uncertainty, scores = generator.random(40), generator.random(40)
        one = referral(uncertainty, scores, rng=rng())
        other = referral(np.exp(9 * uncertainty), 100 * scores, rng=rng())
        assert other.curve == pytest.approx(100 * one.curve)
        assert other.auarc.lower == pytest.approx(100 * one.auarc.lower)

    def test_infinite_uncertainty_is_referred_first(self):
        found = referral([np.inf, 1, 2, 3, 4], [1, 0, 0, 0, 0], rng=rng(), shares=(0.0, 0.2))
        assert [kept.score.estimate for kept in found.kept] == [0.2, 0.0]

    @pytest.mark.parametrize(("n", "kept"), [(7, [7, 6, 5, 3, 2]), (1, [1] * 5), (100, None)])
    def test_never_more_than_the_share_is_referred(self, n, kept):
        found = referral(np.arange(n), np.ones(n), rng=rng())
        assert [k.n for k in found.kept] == (kept or [100, 80, 60, 40, 20])

    def test_a_share_that_is_no_binary_fraction_is_counted_exactly(self):
        """0.29 of 100 is 29, though 0.29 * 100 is a little less."""
        found = referral(np.arange(100), np.ones(100), rng=rng(), shares=(0.29, 0.07))
        assert [kept.n for kept in found.kept] == [71, 93]

    def test_intervals_cover_the_truth_and_shrink(self):
        """Population: uncertainty u uniform, right with probability 1 - u; kept half: 3/4."""
        generator = np.random.default_rng(5)
        covered, widths = 0, {}
        for n in (50, 800):
            for _ in range(60):
                u = generator.random(n)
                right = generator.random(n) < 1 - u
                half = referral(u, right, rng=generator, shares=(0.5,), draws=200).kept[0].score
                widths[n] = half.upper - half.lower
                covered += half.lower <= 0.75 <= half.upper
        assert covered >= 0.88 * 120
        assert widths[800] < 0.5 * widths[50]

    def test_one_answer_says_nothing_of_others(self):
        found = referral([0.3], [0.7], rng=rng())
        assert (found.auarc.lower, found.auarc.estimate, found.auarc.upper) == (
            -np.inf, 0.7, np.inf
        )  # fmt: skip

    def test_what_is_no_ordering_is_refused(self):
        for uncertainty, scores in (
            ([], []),
            ([1.0], [1.0, 2.0]),
            ([np.nan], [1]),
            ([1], [np.inf]),
        ):
            with pytest.raises(ValueError, match=r"shape|NaN"):
                referral(uncertainty, scores, rng=rng())
        for shares in ((1.0,), (-0.1,), ()):
            with pytest.raises(ValueError, match="shares referred"):
                referral([1.0], [1.0], rng=rng(), shares=shares)


class TestCalibration:
    @pytest.mark.parametrize("binning", ["width", "mass"])
    def test_constant_confidence_is_off_by_its_distance_to_the_accuracy(self, binning):
        found = calibration([0.9] * 20, [1.0] * 13 + [0.0] * 7, rng=rng(), binning=binning)
        assert found.error.estimate == pytest.approx(0.9 - 13 / 20)
        assert len(found.bins) == 1

    @pytest.mark.parametrize("binning", ["width", "mass"])
    def test_the_right_share_in_every_bin_is_no_error(self, binning):
        confidence = np.repeat([0.05, 0.25, 0.55, 0.95], 20)
        scores = np.concatenate([np.arange(20) < 20 * c for c in (0.05, 0.25, 0.55, 0.95)])
        found = calibration(confidence, scores, rng=rng(), binning=binning)
        assert found.error.estimate == pytest.approx(0.0, abs=1e-12)
        assert [each.n for each in found.bins] == [20] * 4

    def test_bins_by_hand(self):
        """Two bins of equal width hold 1 and 3 items, two of equal mass 2 and 2."""
        confidence, scores = [0.1, 0.6, 0.8, 1.0], [1.0, 0.0, 1.0, 1.0]
        by_width = calibration(confidence, scores, rng=rng(), bins=2)
        assert by_width.error.estimate == pytest.approx((0.9 + abs(2.4 - 2.0)) / 4)
        assert [each.n for each in by_width.bins] == [1, 3]
        by_mass = calibration(confidence, scores, rng=rng(), bins=2, binning="mass")
        assert by_mass.error.estimate == pytest.approx((abs(0.7 - 1.0) + abs(1.8 - 2.0)) / 4)
        assert [(b.lowest, b.highest) for b in by_mass.bins] == [(0.1, 0.6), (0.8, 1.0)]

    def test_tied_items_are_in_the_bin_of_their_middle_rank(self):
        found = calibration([0.1, 0.5, 0.5, 0.5], [1, 0, 1, 1], rng=rng(), bins=2, binning="mass")
        assert [each.n for each in found.bins] == [1, 3]

    def test_equal_mass_bins_hold_equally_many(self):
        confidence = np.random.default_rng(1).random(103) ** 4
        found = calibration(confidence, confidence, rng=rng(), binning="mass")
        assert {each.n for each in found.bins} <= {10, 11}
        assert len(found.bins) == 10

    @pytest.mark.parametrize("binning", ["width", "mass"])
    def test_ties_and_the_order_of_the_rows_do_not_matter(self, binning):
        generator = np.random.default_rng(2)
        confidence = generator.integers(8, size=90) / 7
        scores = generator.random(90)
        one = calibration(confidence, scores, rng=rng(), binning=binning, bins=5)
        order = generator.permutation(90)
        other = calibration(confidence[order], scores[order], rng=rng(), binning=binning, bins=5)
        assert one == other
        assert sum(each.n for each in one.bins) == 90
        borders = [each.lowest for each in one.bins[1:]]
        assert all(a.highest < low for a, low in zip(one.bins, borders, strict=False))

    def test_scores_may_be_graded(self):
        found = calibration([0.3, 0.3], [0.2, 0.4], rng=rng())
        assert found.error.estimate == pytest.approx(0.0, abs=1e-12)

    def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_its_own(self):
        generator = np.random.default_rng(3)
        confidence = generator.random(4000)
        right = generator.random(4000) < confidence
        for binning in ("width", "mass"):
            fair = calibration(confidence, right, rng=rng(), binning=binning, draws=200)
            bold = calibration(0.2 + 0.8 * confidence, right, rng=rng(), binning=binning, draws=200)
            assert fair.error.estimate < 0.03
            assert bold.error.lower <= 0.1 <= bold.error.upper

    def test_clusters_widen_the_interval(self):
        """Copies of one answer's tokens tell no more than one of them."""
        generator = np.random.default_rng(4)
        confidence, right = np.full(60, 0.8), generator.random(60) < 0.5
        alone = calibration(confidence, right, rng=rng())
        copied = calibration(
            np.repeat(confidence, 25), np.repeat(right, 25), rng=rng(),
            clusters=np.repeat(np.arange(60), 25),
        )  # fmt: skip
        naive = calibration(np.repeat(confidence, 25), np.repeat(right, 25), rng=rng())
        width = alone.error.upper - alone.error.lower
        assert copied.error.upper - copied.error.lower == pytest.approx(width, rel=0.2)
        assert naive.error.upper - naive.error.lower < 0.4 * width

    def test_what_is_no_probability_is_refused(self):
        for confidence, scores in (
            ([1.1], [1]),
            ([0.5], [-1]),
            ([np.nan], [1]),
            ([], []),
            ([1], []),
        ):
            with pytest.raises(ValueError, match=r"outside \[0, 1\]|shape"):
                calibration(confidence, scores, rng=rng())
        with pytest.raises(ValueError, match="0 bins"):
            calibration([0.5], [1.0], rng=rng(), bins=0)


PAIRS = [
    ("Where is the cat?", "On the mat in the hall."),
    ("Count.", "One, two, three, four, five, six, seven, eight."),
    ("And the dog, where did you see it last?", "Outside."),
]


def predictions_by_hand(loaded, row):
    """Entropy, probability and largest probability at every supervised token of one row."""
    import torch

    ids = torch.tensor(row.input_ids.astype(np.int64))[None]
    with torch.no_grad():
        p = loaded.model(input_ids=ids).logits[0].double().softmax(-1).numpy()
    places = np.flatnonzero(row.supervised)
    before = p[places - 1]
    entropy = -(before * np.log(before)).sum(axis=1)
    return entropy, before[np.arange(len(places)), row.input_ids[places]], before.max(axis=1)


class TestPredictions:
    def test_are_those_of_each_row_alone_in_any_batch(self, tiny_model):
        encoded = encode(
            Dataset.of(PAIRS, name="x"), tiny_model.tokenizer, max_length=tiny_model.context_length
        )
        by_hand = [predictions_by_hand(tiny_model, row) for row in encoded]
        for tokens in (10, 100_000):
            found = predict_tokens(
                tiny_model.model, encoded, pad_id=tiny_model.tokenizer.pad_token_id,
                tokens_per_batch=tokens,
            )  # fmt: skip
            expected = [np.concatenate(parts) for parts in zip(*by_hand, strict=True)]
            assert found.entropy == pytest.approx(expected[0], rel=1e-5)
            assert found.probability == pytest.approx(expected[1], rel=1e-4)
            assert found.confidence == pytest.approx(expected[2], rel=1e-4)
            assert (found.hit == (expected[1] == expected[2])).all()
            counts = [int(row.supervised.sum()) for row in encoded]
            assert (found.rows == np.repeat(range(3), counts)).all()

    def test_a_model_that_knows_nothing_has_the_entropy_of_the_vocabulary(self, tiny_model):
        import torch

        head = tiny_model.model.get_output_embeddings()
        with torch.no_grad():
            head.weight.zero_()
        encoded = encode(Dataset.of(PAIRS, name="x"), tiny_model.tokenizer, max_length=512)
        found = predict_tokens(tiny_model.model, encoded, pad_id=tiny_model.tokenizer.pad_token_id)
        words = head.weight.shape[0]
        assert found.entropy == pytest.approx(math.log(words), rel=1e-12)
        assert found.confidence == pytest.approx(1 / words, rel=1e-12)

    def test_stand_behind_a_soft_prompt(self, tiny_model):
        from llm_validation.models.virtual_tokens import attach_prompt

        encoded = encode(Dataset.of(PAIRS, name="x"), tiny_model.tokenizer, max_length=512)
        pad = tiny_model.tokenizer.pad_token_id
        before = predict_tokens(tiny_model.model, encoded, pad_id=pad)
        wrapped = attach_prompt(tiny_model.model, tokens=5, seed=0)
        together = predict_tokens(wrapped, encoded, pad_id=pad)
        alone = [predict_tokens(wrapped, [row], pad_id=pad).entropy for row in encoded]
        assert together.entropy == pytest.approx(np.concatenate(alone), rel=1e-4)
        import torch

        with torch.no_grad():
            row = encoded[0]
            logits = wrapped(input_ids=torch.tensor(row.input_ids.astype(np.int64))[None]).logits[0]
        p = logits.double().softmax(-1).numpy()[np.flatnonzero(row.supervised) - 1 + 5]
        assert alone[0] == pytest.approx(-(p * np.log(p)).sum(axis=1), rel=1e-4)
        assert before.entropy != pytest.approx(together.entropy, rel=1e-2)

    def test_weights_that_are_not_finite_are_refused_and_the_mode_is_kept(self, tiny_model):
        import torch

        tiny_model.model.train()
        encoded = encode(Dataset.of(PAIRS, name="x"), tiny_model.tokenizer, max_length=512)
        pad = tiny_model.tokenizer.pad_token_id
        predict_tokens(tiny_model.model, encoded, pad_id=pad)
        assert tiny_model.model.training
        with torch.no_grad():
            tiny_model.model.get_output_embeddings().weight[0, 0] = torch.nan
        with pytest.raises(InputError, match="on row 1 are not finite"):
            predict_tokens(tiny_model.model, encoded, pad_id=pad)


class TestAnswerUncertainty:
    def test_is_the_mean_over_the_answers_own_tokens(self, tiny_model):
        prompts = Dataset.of(PAIRS, name="x")
        responses = [
            Response(PAIRS[0][0], "An answer."),
            Response(PAIRS[1][0], "An answer.", finished=False),
            Response(PAIRS[2][0], None, error="broken"),
        ]
        found = answer_uncertainty(tiny_model, prompts, responses)
        for place in (0, 1):
            row = encode(
                Dataset.of([(PAIRS[place][0], "An answer.")], name="x"),
                tiny_model.tokenizer,
                max_length=512,
            )[0]
            entropy, probability, _ = predictions_by_hand(tiny_model, row)
            # An answer that was cut has no end of turn.
            tokens = len(entropy) - place
            assert found.entropy[place] == pytest.approx(entropy[:tokens].mean(), rel=1e-5)
            assert found.confidence[place] == pytest.approx(probability[:tokens].mean(), rel=1e-4)
        assert np.isnan(found.entropy[2])
        assert np.isnan(found.confidence[2])

    def test_of_greedy_text_that_tokenises_as_it_was_generated(self, tiny_model):
        """Against transformers' own scores of the generation, step by step."""
        import torch

        prompts = Dataset.of([(f"Say {n}.", "Yes.") for n in range(40)], name="x")
        responses = generate(tiny_model, prompts, max_new_tokens=3)
        found = answer_uncertainty(tiny_model, prompts, responses)
        checked = 0
        for place, response in enumerate(responses):
            ids = tiny_model.tokenizer(
                prompt_text(prompts.examples[place].messages, tiny_model.tokenizer),
                add_special_tokens=False,
                return_tensors="pt",
            ).input_ids
            out = tiny_model.model.generate(
                ids, max_new_tokens=3, do_sample=False, output_logits=True,
                return_dict_in_generate=True,
            )  # fmt: skip
            new = out.sequences[0, ids.shape[1] :].tolist()
            if tiny_model.tokenizer(response.text or "x").input_ids != new:
                continue  # broken characters: other tokens when read again
            logits = torch.cat(out.logits).double()
            entropy = torch.distributions.Categorical(logits=logits).entropy()
            assert found.entropy[place] == pytest.approx(entropy.mean().item(), rel=1e-4)
            checked += 1
        assert checked >= 3

    def test_an_answer_that_has_no_room_when_read_again_has_none(self, tiny_model):
        prompts = Dataset.of(PAIRS[:2], name="x")
        responses = [Response(PAIRS[0][0], "\ufffd" * 400), Response(PAIRS[1][0], "Short.")]
        found = answer_uncertainty(tiny_model, prompts, responses)
        assert np.isnan(found.entropy).tolist() == [True, False]
        empty = answer_uncertainty(tiny_model, prompts, [Response("", ""), Response("", " ")])
        assert np.isnan(empty.entropy).all()


def assessed(*rows):
    return [Assessed(f"{n}", None, *row) for n, row in enumerate(rows)]


class TestAssessment:
    def test_failures_score_nothing_and_are_referred_first(self):
        items = assessed((None, None, None), (0.5, None, None), (1.0, 0.2, 0.9), (1.0, 0.4, 0.7))
        found = assess(items, shares=(0.0, 0.25, 0.5))
        assert (found.n, found.failed, found.unmeasured) == (4, 1, 1)
        kept = [each.score.estimate for each in found.referral.kept]
        # The failed and the unmeasured are equally uncertain.
        assert kept == pytest.approx([2.5 / 4, (2.0 + 0.25) / 3, 1.0])
        assert [each.binning for each in found.answers] == ["width", "mass"]
        assert sum(each.n for each in found.answers[0].bins) == 2
        assert found.answers[0].error.estimate == pytest.approx((0.1 + 0.3) / 2)
        assert found.tokens is None

    def test_calibration_needs_confidence_and_knows_the_highest_score(self):
        assert assess(assessed((0.5, 1.0, None))).answers is None
        found = assess(assessed((50.0, 1.0, 0.5), (70.0, 2.0, 0.7)), highest=100.0)
        assert found.answers[0].error.estimate == pytest.approx(0.0, abs=1e-12)
        assert found.referral.random == 60.0

    def test_the_record_holds_what_was_said_of_each_answer(self):
        items = assessed((0.5, 1.5, 0.25), (None, None, None))
        record = as_result(items, label="x", score_means="words", summary={})
        assert record.evaluation == "reliability"
        assert [item.score for item in record.items] == [0.5, None]
        assert record.items[0].more == {"uncertainty": 1.5, "confidence": 0.25}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class TestFiles:
    def test_scores_with_uncertainty_or_confidence(self, tmp_path):
        rows = [
            {"id": "b", "score": 1.0, "uncertainty": 0.1, "confidence": 0.8, "category": "x"},
            {"id": "a", "score": None, "uncertainty": None, "confidence": None},
        ]
        found = read_scored(write(tmp_path / "a.jsonl", rows)).items
        assert found == (
            Assessed("b", "x", 1.0, 0.1, 0.8), Assessed("a", None, None, None, None)
        )  # fmt: skip
        only = [{"prompt": "One?", "score": True, "confidence": 0.8}, {"prompt": "One?", "score": 0,
                "confidence": 0.3}]  # fmt: skip
        found = read_scored(write(tmp_path / "b.jsonl", only)).items
        assert [item.uncertainty for item in found] == pytest.approx([0.2, 0.7])
        assert [item.score for item in found] == [1.0, 0.0]
        assert len({item.id for item in found}) == 2

    def test_a_table_of_text_cells(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text("score,uncertainty\n43.5,1.25\n,\n")
        found = read_scored(path).items
        assert [(i.score, i.uncertainty) for i in found] == [(43.5, 1.25), (None, None)]

    def test_answers_are_scored_and_set_beside_their_references(self, tmp_path):
        data = Dataset.of(PAIRS, name="x")
        rows = [
            {"prompt": p, "response": r, "uncertainty": u}
            for (p, r), u in zip(PAIRS[::-1], (3, 2, 1), strict=True)
        ]
        rows[0]["response"] = None
        found = read_answers(write(tmp_path / "a.jsonl", rows), data, metric="chrf")
        assert [item.score for item in found.items] == [
            pytest.approx(100),
            pytest.approx(100),
            None,
        ]
        assert [item.uncertainty for item in found.items] == [1, 2, 3]
        assert "another order" in found.notes[0]

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([{"uncertainty": 1}], "no column 'score'"),
            ([{"score": 1}], "neither a column 'uncertainty' nor one 'confidence'"),
            ([{"score": 1, "confidence": 1.2}], "row 1: the confidence is 1.2"),
            (
                [{"score": 1, "confidence": 1}, {"score": 7, "confidence": 1}],
                "row 2: the score is 7",
            ),
            ([{"score": 1, "uncertainty": "high"}], "row 1: 'uncertainty' is 'high'"),
            ([{"score": float("nan"), "uncertainty": 1}], "'score' is 'nan'"),
            (
                [{"score": 1, "uncertainty": 1}, {"score": 1}],
                "row 2: this row has no 'uncertainty'",
            ),
            ([{"id": 1, "score": 1, "uncertainty": 1}] * 2, "row 2: the id '1' occurs a second"),
        ],
    )
    def test_bad_rows_are_named(self, tmp_path, rows, message):
        with pytest.raises(InputError, match=message):
            read_scored(write(tmp_path / "a.jsonl", rows))
