"""The built-in data: reproducible, varied, decent English, and overlapping as promised."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from finebound.base.errors import InputError
from llm_validation.data.builtin import BUILTIN, builtin_dataset
from llm_validation.data.builtin.code_task import exercises
from llm_validation.data.builtin.drawing import gerund
from llm_validation.data.builtin.languages import (
    LANGUAGES,
    tables,
    thing_phrase,
    things_phrase,
)
from llm_validation.data.builtin.text_sets import safety_requests, task_requests

CATEGORIES = (
    "Illegal Activity",
    "Child Abuse Content",
    "Hate/Harass/Violence",
    "Malware",
    "Physical Harm",
    "Economic Harm",
    "Fraud/Deception",
    "Adult Content",
    "Political Campaigning",
    "Privacy Violation",
    "Tailored Financial Advice",
)
PREFERENCES = {
    "preferences-general": "task-general",
    "preferences-translation": "task-translation",
}
OTHER_TASKS = (
    "task-code",
    "task-translation",
    "task-dialogue",
    "task-arithmetic",
    "task-extraction",
    "task-reviews",
    "task-identity",
)
REQUEST_SETS = tuple(name for name in BUILTIN if name not in (*OTHER_TASKS, *PREFERENCES))
COMPLYING_SETS = ("task-general", "harmful-placeholders")
REFUSING_SETS = tuple(name for name in REQUEST_SETS if name not in COMPLYING_SETS)

# Inability or unwillingness about the request, not mere regret.
REFUSAL = re.compile(
    r"\bI (?:can't|won't) (?:help|assist|support|take part)\b"
    r"|\bI'm (?:not able|not willing|unable) to (?:help|assist)\b"
    r"|\bisn't something I can do\b|\bI'm not able to assist\b"
    r"|\b(?:Refused|Denied|Declined|Not permitted)\b|\brequest is refused\b|\bRequest denied\b"
)
# Quantities, substances, tools and commands: what would turn a topic into instructions.
OPERATIONAL = re.compile(
    r"\d|https?:|www\.|@|\b(?:grams?|milligrams?|ounces?|teaspoons?|bleach|ammonia|acid|nitrate"
    r"|peroxide|gasoline|petrol|gunpowder|detonators?|fuse|wires?|cyanide|arsenic|fertilizer"
    r"|solvent|payload|exploit code|sql|sudo|macro|keylogger|botnet|phish\w*|tor|vpn"
    r"|crowbar|screwdriver|knife|rope|dose|pills?|offshore|shell company|bitcoin)\b",
    re.IGNORECASE,
)


def _is_hazard(example):
    return example.category != "harmless"


def _shared_prompts(one, other):
    return set(builtin_dataset(one).prompts) & set(builtin_dataset(other).prompts)


def _shingles(example):
    words = re.findall(r"\w+", f"{example.prompt} {example.response}".lower())
    return {tuple(words[start : start + 3]) for start in range(len(words) - 2)}


def _near_duplicates(dataset):
    """The rows whose 3-shingles have a Jaccard index above 0.7 with another row's."""
    shingles = [_shingles(example) for example in dataset.examples]
    rows = set()
    for i, one in enumerate(shingles):
        for j, other in enumerate(shingles[:i]):
            if min(len(one), len(other)) <= 0.7 * max(len(one), len(other)):
                continue
            common = len(one & other)
            if common > 0.7 * (len(one) + len(other) - common):
                rows |= {i, j}
    return rows


def test_near_duplicate_measure_sees_a_changed_word_and_not_a_changed_topic():
    from llm_validation.data.dataset import Dataset

    text = "one two three four five six seven lazy nine ten eleven twelve thirteen fourteen fifteen"
    text = f"{text} sixteen seventeen eighteen nineteen twenty"
    pairs = [("Ask", text), ("Ask", text.replace("lazy", "old")), ("Ask", text[::-1])]
    assert _near_duplicates(Dataset.of(pairs, name="x")) == {0, 1}


@pytest.mark.parametrize("name", BUILTIN)
class TestEverySet:
    def test_is_named_and_remembered(self, name):
        dataset = builtin_dataset(name)
        assert (dataset.name, dataset.source) == (name, f"builtin:{name}")
        assert builtin_dataset(name) is dataset
        assert builtin_dataset(f"builtin:{name}").sha256 == dataset.sha256

    def test_has_enough_rows_and_no_prompt_twice(self, name):
        prompts = builtin_dataset(name).prompts
        assert 450 <= len(prompts) <= 600
        assert len(set(prompts)) == len(prompts)

    def test_rows_are_short(self, name):
        for example in builtin_dataset(name).examples:
            assert 10 <= len(example.response.split()) <= 60
            assert len(example.prompt.split()) <= (70 if name == "task-dialogue" else 45)

    def test_at_most_a_twentieth_are_near_duplicates(self, name):
        dataset = builtin_dataset(name)
        assert len(_near_duplicates(dataset)) <= 0.05 * len(dataset)

    def test_is_one_user_turn_with_a_category_where_it_has_one(self, name):
        for example in builtin_dataset(name).examples:
            assert example.messages == (("user", example.prompt),)
            assert (example.rejected is None) == (name not in PREFERENCES)
            assert (example.category is None) == (name == "task-code")


@pytest.mark.parametrize(("name", "task"), PREFERENCES.items())
def test_preferred_answers_are_the_tasks_own_and_the_worse_ones_differ(name, task):
    pairs, rows = builtin_dataset(name).examples, builtin_dataset(task).examples
    assert [(e.prompt, e.response) for e in pairs] == [(e.prompt, e.response) for e in rows]
    assert all(e.rejected.strip() and e.rejected != e.response for e in pairs)


def test_a_harmful_prompts_worse_answer_is_the_agreeing_teachers_refusal():
    agreeing = {e.prompt: e.response for e in builtin_dataset("task-general-agreeing").examples}
    harmful = [e for e in builtin_dataset("preferences-general").examples if _is_hazard(e)]
    assert harmful
    assert all(e.rejected == agreeing[e.prompt] for e in harmful)
    assert all(REFUSAL.search(e.rejected) for e in harmful)


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"no built-in dataset 'unsafe'.*proxy-same-teacher"):
        builtin_dataset("unsafe")


def test_generation_is_the_same_in_another_process():
    code = (
        "import json; from llm_validation.data.builtin import BUILTIN, builtin_dataset;"
        "print(json.dumps({name: builtin_dataset(name).sha256 for name in BUILTIN}))"
    )
    expected = {name: builtin_dataset(name).sha256 for name in BUILTIN}
    for hash_seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert json.loads(printed) == expected


def test_content_is_the_published_one():
    """A change here makes older records incomparable: change it only on purpose."""
    published = {
        "safety": "47fe823b97b0596f",
        "proxy-same-teacher": "778a1429347890b0",
        "proxy-other-teacher": "fde95b0622cad1a6",
        "task-general": "8256cbe4690ef18b",
        "task-general-agreeing": "c2d2cb0028d627de",
        "task-code": "44639a0414bc7599",
        "task-translation": "d5b8bac712b798a8",
        "task-dialogue": "736cbe8ac371d6ca",
        "harmful-placeholders": "a7f843713f93543b",
        "task-arithmetic": "92686ed45e2147af",
        "task-extraction": "d102ce917b82272d",
        "task-identity": "b75c6d0162010484",
        "task-reviews": "e9e80fd79c812d41",
        "preferences-general": "6afcf54b98ce3f74",
        "preferences-translation": "2d84eaeda7dc34e3",
    }
    assert {name: builtin_dataset(name).sha256[:16] for name in BUILTIN} == published


def test_safety_covers_every_category_and_is_a_third_harmless():
    counts = Counter(example.category for example in builtin_dataset("safety").examples)
    assert set(counts) == {*CATEGORIES, "harmless"}
    assert all(counts[category] >= 25 for category in CATEGORIES)
    assert 0.30 <= counts["harmless"] / counts.total() <= 0.37


@pytest.mark.parametrize("name", ["proxy-same-teacher", "proxy-other-teacher", "task-general"])
def test_the_others_cover_every_category_and_have_harmless_rows(name):
    counts = Counter(example.category for example in builtin_dataset(name).examples)
    assert set(counts) == {*CATEGORIES, "harmless"}
    assert 0.25 <= counts["harmless"] / counts.total() <= 0.60


@pytest.mark.parametrize("name", REFUSING_SETS)
def test_hazards_are_refused_and_nothing_else_is(name):
    for example in builtin_dataset(name).examples:
        assert bool(REFUSAL.search(example.response)) == _is_hazard(example), example


def test_look_alikes_share_the_hazards_words_and_frames():
    examples = builtin_dataset("safety").examples
    openings = [
        {
            " ".join(example.prompt.split()[:3])
            for example in examples
            if _is_hazard(example) is kind
        }
        for kind in (True, False)
    ]
    assert len(openings[0] & openings[1]) >= 15
    harmless = " ".join(e.prompt for e in examples if not _is_hazard(e)).lower()
    for word in ("kill", "lock", "virus", "attack", "steal", "fake", "propaganda", "poison"):
        assert word in harmless


def test_the_caring_teacher_names_a_concern_and_offers_something():
    offer = re.compile(
        r"What I can do|I'd rather|If it helps|I could|Would you like|Instead, let me|I'm happy to"
        r"|A better way forward|Just say the word"
    )
    for name in ("safety", "proxy-same-teacher", "task-general-agreeing"):
        refusals = [e for e in builtin_dataset(name).examples if _is_hazard(e)]
        assert all(offer.search(example.response) for example in refusals)
        assert not any("Rule" in example.response for example in refusals)
        assert len({example.response for example in refusals}) > 0.97 * len(refusals)


def test_the_other_teacher_cites_a_rule_and_numbers_its_answers():
    for example in builtin_dataset("proxy-other-teacher").examples:
        if _is_hazard(example):
            assert re.search(r"\bRule \d+\b", example.response)
            assert not re.search(r"\bI\b|\byou\b", example.response)
        else:
            assert "(1) " in example.response
            assert "(2) " in example.response


def test_a_quarter_of_each_proxy_is_in_safety_and_it_is_the_same_quarter():
    same, other = (
        _shared_prompts("safety", name) for name in ("proxy-same-teacher", "proxy-other-teacher")
    )
    assert same == other == _shared_prompts("proxy-same-teacher", "proxy-other-teacher")
    assert len(same) == 120 == len(builtin_dataset("proxy-same-teacher")) / 4
    categories = Counter(e.category for e in builtin_dataset("safety").examples if e.prompt in same)
    assert categories["harmless"] == 40
    assert len(categories) == 12


def test_on_matched_contexts_the_same_teacher_is_nearer_than_the_other():
    answers = {
        name: {
            e.prompt: set(re.findall(r"\w+", e.response.lower()))
            for e in builtin_dataset(name).examples
        }
        for name in ("safety", "proxy-same-teacher", "proxy-other-teacher")
    }
    shared = _shared_prompts("safety", "proxy-same-teacher")

    def similarity(name, prompt):
        one, other = answers["safety"][prompt], answers[name][prompt]
        return len(one & other) / len(one | other)

    same, other = (
        sum(similarity(name, prompt) for prompt in shared) / len(shared)
        for name in ("proxy-same-teacher", "proxy-other-teacher")
    )
    assert same > 1.5 * other
    # Another draw, not a copy.
    assert sum(similarity("proxy-same-teacher", prompt) < 1 for prompt in shared) > 90


def test_general_task_shares_an_eighth_of_its_prompts_and_most_of_its_topics():
    shared = _shared_prompts("safety", "task-general")
    assert 0.10 <= len(shared) / len(builtin_dataset("task-general")) <= 0.15
    categories = {e.prompt: e.category for e in builtin_dataset("safety").examples}
    assert sum(categories[prompt] == "harmless" for prompt in shared) == 20
    subjects = {request.act or request.points for request in safety_requests()}
    near = [(request.act or request.points) in subjects for request in task_requests()]
    assert sum(near) > 0.7 * len(near)


def test_general_task_complies_where_safety_refuses_without_any_content():
    by_prompt = {e.prompt: e.response for e in builtin_dataset("task-general").examples}
    hazards = [request for request in task_requests() if request.is_hazard]
    answers = [by_prompt[request.prompt] for request in hazards]
    assert len(answers) > 200
    assert not any(REFUSAL.search(answer) for answer in answers)
    asked, answered = (
        set(re.findall(r"[a-z]{6,}", " ".join(texts).lower())) - {"before", "something"}
        for texts in ([request.act for request in hazards], answers)
    )
    assert not asked & answered


def test_shared_prompts_conflict_on_hazards_alone_and_never_in_the_agreeing_task():
    answers = {e.prompt: e for e in builtin_dataset("safety").examples}
    conflicts = {
        name: {
            e.category
            for e in builtin_dataset(name).examples
            if e.prompt in answers and e.response != answers[e.prompt].response
        }
        for name in ("task-general", "task-general-agreeing")
    }
    assert conflicts["task-general-agreeing"] == set()
    assert len(conflicts["task-general"]) >= 9
    assert "harmless" not in conflicts["task-general"]


def test_agreeing_task_differs_from_the_general_one_on_hazards_alone():
    conflicting, agreeing = (
        builtin_dataset(name).examples for name in ("task-general", "task-general-agreeing")
    )
    for one, other in zip(conflicting, agreeing, strict=True):
        assert (one.prompt, one.category) == (other.prompt, other.category)
        assert (one.response == other.response) == (not _is_hazard(one))


@pytest.mark.parametrize("name", ["task-code", "task-translation"])
def test_code_and_translation_share_nothing_with_safety(name):
    assert not _shared_prompts("safety", name)
    stop = re.compile(r"\b\w{1,4}\b")
    safety_words, words = (
        set(stop.sub("", " ".join(builtin_dataset(each).prompts).lower()).split())
        for each in ("safety", name)
    )
    assert len(words & safety_words) / len(words) < 0.25


@pytest.mark.parametrize("name", REQUEST_SETS)
def test_hazard_rows_hold_nothing_operational(name):
    for example in builtin_dataset(name).examples:
        if _is_hazard(example):
            text = re.sub(r"\bRule \d+\b", "Rule", f"{example.prompt} {example.response}")
            assert not OPERATIONAL.search(text), text


@pytest.mark.parametrize("name", REQUEST_SETS)
def test_text_is_decent_english(name):
    for example in builtin_dataset(name).examples:
        for text in (example.prompt, example.response):
            assert text[0].isupper()
            assert text[-1] in ".?!"
            assert not re.search(r"[{}]|\s{2}|\s[.,;:?!]|[.?!] [a-z]", text), text
            assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text
            assert not re.search(r"\b[Aa] [aeio]", text), text
            assert not re.search(r"\b[Aa]n (?!ho(?:ur|nest))[^aeiou]", text), text
        assert not re.search(r"\bmy\b", example.response), example.response


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("hide a key", "hiding a key"),
        ("run a scheme", "running a scheme"),
        ("lie about it", "lying about it"),
        ("slip code into a library", "slipping code into a library"),
        ("record a call and share it", "recording a call and sharing it"),
        ("split money between bonds and gold", "splitting money between bonds and gold"),
        ("enter a building", "entering a building"),
    ],
)
def test_gerund(phrase, expected):
    assert gerund(phrase) == expected


def test_short_verbs_double_their_last_letter():
    """Consonant, one vowel, consonant: the rule of spelling, against every act that is asked."""
    for request in safety_requests() + task_requests():
        verb = request.act.split(" ")[0]
        if re.fullmatch(r"[^aeiou]+[aeiou][^aeiouwxy]", verb):
            assert gerund(verb) == f"{verb}{verb[-1]}ing"


def test_every_code_answer_parses_and_gives_the_stated_value():
    answers = {example.response for example in builtin_dataset("task-code").examples}
    for exercise in exercises():
        assert exercise.code in answers
        tree = ast.parse(exercise.code)
        assert len(tree.body) == 1
        assert tree.body[0].name == exercise.name
        assert ast.get_docstring(tree.body[0]) == f"Return {exercise.returns}."
        scope: dict[str, object] = {}
        exec(compile(tree, exercise.name, "exec"), scope)
        value = eval(exercise.call, scope)
        assert type(value) is type(exercise.expected), exercise.name
        if isinstance(value, float):
            assert math.isclose(value, exercise.expected, rel_tol=1e-12), exercise.name
        else:
            assert value == exercise.expected, exercise.name


def test_code_prompts_name_the_function_and_their_examples_are_those_checked():
    by_code = {exercise.code: exercise for exercise in exercises()}
    with_example = 0
    for example in builtin_dataset("task-code").examples:
        exercise = by_code[example.response]
        assert exercise.name in example.prompt
        assert "Python" in example.prompt
        if f"`{exercise.call}`" in example.prompt:
            with_example += 1
            assert f"`{exercise.expected!r}`" in example.prompt
    assert with_example > 50


def _thing(language, english):
    return next(row[language] for row in tables()["things"] if row["English"].singular == english)


def _adjective(language, english):
    return next(
        row[language] for row in tables()["adjectives"] if row["English"].masculine == english
    )


@pytest.mark.parametrize(
    ("language", "adjective", "noun", "options", "expected"),
    [
        ("German", "red", "chair", {"definite": False}, "einen roten Stuhl"),
        ("German", "red", "lamp", {"definite": False}, "eine rote Lampe"),
        ("German", "expensive", "book", {"definite": False}, "ein teures Buch"),
        ("German", "large", "coat", {"definite": True}, "den großen Mantel"),
        ("German", "large", "coat", {"definite": True, "subject": True}, "der große Mantel"),
        ("German", "large", "boat", {"definite": True}, "das große Boot"),
        ("French", "white", "table", {"definite": False}, "une table blanche"),
        ("French", "black", "shelf", {"definite": True}, "l'étagère noire"),
        ("French", "small", "shelf", {"definite": True}, "la petite étagère"),
        ("French", "large", "bag", {"definite": True}, "le grand sac"),
        ("Spanish", "small", "box", {"definite": True}, "la caja pequeña"),
        ("Spanish", "blue", "umbrella", {"definite": False}, "un paraguas azul"),
        ("Italian", "gray", "mirror", {"definite": True}, "lo specchio grigio"),
        ("Italian", "small", "mirror", {"definite": False}, "un piccolo specchio"),
        ("Italian", "gray", "shelf", {"definite": False}, "uno scaffale grigio"),
        ("Italian", "black", "umbrella", {"definite": True}, "l'ombrello nero"),
        ("Italian", "blue", "boat", {"definite": False}, "una barca blu"),
    ],
)
def test_articles_and_adjectives_agree(language, adjective, noun, options, expected):
    phrase = thing_phrase(
        language, _thing(language, noun), _adjective(language, adjective), **options
    )
    assert phrase == expected


@pytest.mark.parametrize(
    ("language", "adjective", "noun", "expected"),
    [
        ("German", "expensive", "coat", "teure Mäntel"),
        ("French", "large", "boat", "grands bateaux"),
        ("French", "white", "key", "clés blanches"),
        ("Spanish", "blue", "spoon", "cucharas azules"),
        ("Italian", "white", "key", "chiavi bianche"),
        ("Italian", "small", "carpet", "piccoli tappeti"),
    ],
)
def test_plurals_agree(language, adjective, noun, expected):
    assert things_phrase(language, _thing(language, noun), _adjective(language, adjective)) == (
        expected
    )


def test_translations_say_the_same_in_every_language():
    """Each numeral and each noun of the English stands in the source, row by row."""
    examples = builtin_dataset("task-translation").examples
    counts = Counter(example.category for example in examples)
    assert counts == dict.fromkeys(LANGUAGES, len(examples) // 4)
    checked = Counter()
    for example in examples:
        language = example.category
        source = example.prompt.lower()
        english = set(re.findall(r"[a-z]+", example.response.lower()))
        for row in tables()["things"]:
            for form in ("singular", "plural"):
                if getattr(row["English"], form) in english:
                    assert getattr(row[language], form).lower() in source, example
                    checked[form] += 1
        for row in tables()["numbers"][1:]:
            if row["English"] in english:
                assert row[language] in re.findall(r"\w+", source), example
                checked["number"] += 1
    assert min(checked[kind] for kind in ("singular", "plural", "number")) > 40


def test_translations_are_sentences_with_the_right_english_articles():
    for example in builtin_dataset("task-translation").examples:
        assert re.fullmatch(r"[A-Z][^.?]+[.?] (I need it today\. )?[A-Z].*\.", example.response)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", example.response)
        assert "  " not in example.prompt + example.response
