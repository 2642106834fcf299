"""Translation: chrF is sacrebleu's, its interval, held-out splits, MT-Pref and Tatoeba."""

import numpy as np
import pytest
from sacrebleu.metrics import CHRF

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset, Example
from llm_validation.evaluation.translation import (
    as_result,
    chrf,
    held_out_split,
    item_names,
    load_test_set,
    score,
    x_to_english,
)

REFERENCES = [
    "The cat sleeps on the warm roof.",
    "Tomorrow we travel by train to the sea.",
    "My sister has three red chairs.",
    "Where is the old umbrella? I need it today.",
    "",
    "Größe and naïveté, 你好!",
]
TRANSLATIONS = [
    "The cat is sleeping on the roof.",
    "We will go by train tomorrow.",
    "My sister has three red chairs.",
    "",
    "something",
    "Size and naivety, hello!",
]


def rng():
    return np.random.default_rng(0)


def test_chrf_is_sacrebleus():
    found = chrf(TRANSLATIONS, REFERENCES, rng=rng())
    metric = CHRF(char_order=6, word_order=0, beta=2)
    corpus = metric.corpus_score(TRANSLATIONS, [REFERENCES]).score
    assert found.corpus.estimate == pytest.approx(corpus, rel=1e-9)
    for value, text, reference in zip(found.items, TRANSLATIONS, REFERENCES, strict=True):
        assert value == pytest.approx(metric.sentence_score(text, [reference]).score, rel=1e-9)
    assert found.items[2] == pytest.approx(100.0)
    assert found.items[3] == 0.0


def test_the_interval_is_that_of_resampled_corpora():
    """The counts summed over a resample give what sacrebleu gives for the resampled texts."""
    n = len(REFERENCES)
    found = chrf(TRANSLATIONS, REFERENCES, rng=rng(), draws=300)
    drawn = rng().multinomial(n, np.full(n, 1.0 / n), size=300)
    metric = CHRF(char_order=6, word_order=0, beta=2)
    scores = []
    for counts in drawn:
        places = np.repeat(np.arange(n), counts)
        texts = [TRANSLATIONS[i] for i in places]
        scores.append(metric.corpus_score(texts, [[REFERENCES[i] for i in places]]).score)
    low, high = np.quantile(scores, [0.025, 0.975])
    assert (found.corpus.lower, found.corpus.upper) == pytest.approx((low, high), rel=1e-9)


def test_a_failed_translation_counts_as_empty_and_is_counted():
    failed = chrf([None, *TRANSLATIONS[1:]], REFERENCES, rng=rng())
    empty = chrf(["", *TRANSLATIONS[1:]], REFERENCES, rng=rng())
    assert (failed.failed, empty.failed) == (1, 0)
    assert failed.corpus == empty.corpus
    assert failed.items[0] == 0.0


def test_a_thought_is_no_part_of_a_translation():
    references = ["The house is blue.", "I like tea."]
    rng = np.random.default_rng(0)
    thinking = ["<think>Das Haus: the house.</think>\n\nThe house is blue.", "<think>Ich mag"]
    plain = chrf(["The house is blue.", ""], references, rng=rng)
    assert chrf(thinking, references, rng=rng).items == plain.items


def test_one_item_says_nothing_about_others():
    found = chrf(["a b c"], ["a b d"], rng=rng())
    assert (found.corpus.lower, found.corpus.upper) == (0.0, 100.0)


@pytest.mark.parametrize(("texts", "references"), [([], []), (["a"], ["a", "b"])])
def test_texts_and_references_must_fit(texts, references):
    with pytest.raises(ValueError, match="references"):
        chrf(texts, references, rng=rng())


def test_the_built_in_test_set_is_held_out_per_language():
    found = load_test_set("builtin")
    whole = load_test_set("builtin").examples
    assert [e.category for e in whole].count("German") == 22
    assert len(found) == 88
    from llm_validation.data.builtin import builtin_dataset

    train, test = held_out_split(builtin_dataset("task-translation"))
    assert test.sha256 == found.sha256
    assert len(train) + len(test) == 520
    assert not set(train.prompts) & set(test.prompts)


def test_a_split_keeps_whole_prompts_and_ignores_the_order():
    rows = [
        Example.single_turn(f"satz {i % 30}", f"sentence {i}", category="German") for i in range(60)
    ]
    train, test = held_out_split(Dataset.of(rows, name="x"), share=0.2)
    assert len(test) == 12
    assert not set(train.prompts) & set(test.prompts)
    _, turned = held_out_split(Dataset.of(rows[::-1], name="x"), share=0.2)
    assert set(turned.prompts) == set(test.prompts)
    assert set(held_out_split(Dataset.of(rows, name="x"), share=0.2, seed=1)[1].prompts) != set(
        test.prompts
    )
    with pytest.raises(ValueError, match="between 0 and 1"):
        held_out_split(Dataset.of(rows, name="x"), share=1.0)


def mt_pref_row(language, text, target="English"):
    prompt = (
        f"<|im_start|>user\nTranslate the following {language} source text to {target}:\n"
        f"{language}: {text}\n{target}: <|im_end|>\n<|im_start|>assistant\n"
    )
    return Example(prompt, "Good.<|im_end|>", (("user", prompt),), rejected="Bad.<|im_end|>")


def test_mt_prefs_released_rows():
    rows = [
        mt_pref_row("German", "Guten Tag.\nWie geht es?"),
        mt_pref_row("Chinese", "你好"),
        mt_pref_row("German", "Hallo", target="Dutch"),
        mt_pref_row("Portuguese", "Bom dia"),
    ]
    found = x_to_english(Dataset.of(rows, name="mt-pref", source="hf:x"))
    assert [(e.prompt, e.category) for e in found.examples] == [
        ("Guten Tag.\nWie geht es?", "German"), ("Bom dia", "Portuguese"),
    ]  # fmt: skip
    first = found.examples[0]
    assert (first.response, first.rejected) == ("Good.", "Bad.")
    assert first.messages == (("user", first.prompt),)
    assert "2 rows of other pairs" in found.source
    with pytest.raises(InputError, match="no row translates"):
        x_to_english(Dataset.of(rows[1:3], name="mt-pref", source="hf:x"))


def test_bare_sources_stay(tmp_path):
    rows = [("Guten Tag", "Good day"), ("Bonjour", "Hello")]
    dataset = Dataset.of(rows, name="x")
    assert x_to_english(dataset).examples == dataset.examples


def test_an_instruction_wraps_the_text(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"source_text": "Hallo {du}", "chosen": "Hi", "rejected": "x"}\n')
    found = load_test_set(path, instruction="Into English: {text}")
    assert found.prompts == ["Into English: Hallo {du}"]
    assert found.examples[0].messages == (("user", "Into English: Hallo {du}"),)
    for bad in ("Translate this.", "{text", "{source}"):
        with pytest.raises(InputError, match="does not hold the text"):
            load_test_set(path, instruction=bad)


def test_tatoeba_folder(tmp_path):
    (tmp_path / "tatoeba.deu-eng.deu").write_text("Hallo.\n\nGut.\n")
    (tmp_path / "tatoeba.deu-eng.eng").write_text("Hello.\nNothing.\nGood.\n")
    found = load_test_set(tmp_path)
    assert [(e.prompt, e.response, e.category) for e in found.examples] == [
        ("Hallo.", "Hello.", "German"), ("Gut.", "Good.", "German"),
    ]  # fmt: skip
    (tmp_path / "tatoeba.deu-eng.eng").write_text("Hello.\n")
    with pytest.raises(InputError, match="3 lines, and"):
        load_test_set(tmp_path)
    (tmp_path / "tatoeba.deu-eng.eng").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        load_test_set(tmp_path)


def test_scores_by_language_and_their_record():
    rows = [
        Example.single_turn(f"p{i}", reference or "x", category="German" if i < 3 else "French")
        for i, reference in enumerate(REFERENCES)
    ]
    test_set = Dataset.of(rows, name="x")
    answers = [*TRANSLATIONS[:5], None]
    found = score(test_set, answers)
    references = test_set.responses
    metric = CHRF(char_order=6, word_order=0, beta=2)
    german = metric.corpus_score(TRANSLATIONS[:3], [references[:3]]).score
    assert found.languages["German"].corpus.estimate == pytest.approx(german, rel=1e-9)
    assert found.languages["French"].failed == 1
    record = as_result(test_set, answers, found, label="x", summary={})
    assert record.items[5].score is None
    assert record.items[0].score == found.total.items[0]
    assert len({item.id for item in record.items}) == 6


def test_equal_rows_have_names_of_their_own():
    rows = [("a", "b"), ("a", "b"), ("a", "c")]
    names = item_names(Dataset.of(rows, name="x"))
    assert len(set(names)) == 3
    assert names[1] == f"{names[0]}-1"
