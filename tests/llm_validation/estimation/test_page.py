"""The page: complete, self-contained, escaped, the same on every run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llm_validation.estimation.page import command, page
from llm_validation.estimation.pipeline import Estimate, estimate
from llm_validation.estimation.request import Request
from llm_validation.estimation.summary import advice
from theory.bound import Status

SECTIONS = (
    "advice",
    "legend",
    "audit",
    "forced",
    "costs",
    "overlap",
    "proxy",
    "model",
    "bounds",
    "again",
)
ATTACK = "<script>alert('x')</script>"
MANIFEST = {
    "given": {"safety": "a.jsonl", "proxy": None, "lam": (0.5, 2.0)},
    "seed": 3,
    "versions": {"numpy": "2.4.6"},
    "code": {"commit": "0123456789abcdef", "dirty": True},
}


class Outline(HTMLParser):
    """Tags, ids, attributes and visible text; balanced tags are checked on the way."""

    void = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def write(file: Path, rows: list[tuple[str, str]]) -> str:
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """12 rows each; two prompts shared by safety and task, one of them with other answers."""
    folder = tmp_path_factory.mktemp("pair")
    things = ["a lock", "a bomb", "a knife", "a key", "a door", "a rope", "a fire", "a well"]
    safety = [(f"How do I open {thing}?", f"I would rather not open {thing}.") for thing in things]
    task = [(f"How many letters has {thing}?", f"It has {len(thing)}.") for thing in things]
    shared = [(f"What is {ATTACK}?", "A joke."), ("Who are you?", "Nobody.")]
    return {
        "safety": write(folder / "safety.jsonl", [*safety, *shared]),
        "task": write(folder / "task.jsonl", [*task, (shared[0][0], "A tag."), shared[1]]),
        "proxy": write(folder / "proxy.jsonl", [(p, r.upper()) for p, r in [*safety, *shared]]),
        "apart": write(folder / "apart.jsonl", task),
    }


@pytest.fixture(scope="module")
def text_only(files: dict[str, str]) -> Estimate:
    return estimate(Request(safety=files["safety"], task=files["task"]))


@pytest.fixture(scope="module")
def whole(files: dict[str, str], tiny_model_folder: Path) -> Estimate:
    return estimate(
        Request(
            safety=files["safety"],
            task=files["task"],
            proxy=files["proxy"],
            model=str(tiny_model_folder),
            lams=(0.5, 2.0),
            radii=(0.01, 0.1, 30.0),
        )
    )


@pytest.fixture(params=["text_only", "whole"])
def either(request: pytest.FixtureRequest) -> Iterator[Estimate]:
    return request.getfixturevalue(request.param)


def test_every_section_is_there_with_or_without_a_model(either: Estimate) -> None:
    outline = Outline(page(either, manifest=MANIFEST))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert ids == list(SECTIONS)
    linked = [attributes["href"] for tag, attributes in outline.tags if tag == "a"]
    assert {target.removeprefix("#") for target in linked} <= set(ids)


def test_what_a_dataset_says_is_shown_and_never_run(either: Estimate) -> None:
    html = page(either, manifest=MANIFEST)
    assert "<script" not in html.lower()
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html
    assert ATTACK in Outline(html).words
    # Isolated: a prompt that turns the direction of writing does not turn its row number.
    assert "<bdi>" in html


def test_names_from_outside_are_escaped_too(text_only: Estimate) -> None:
    renamed = replace(text_only.datasets["safety"], name=ATTACK, source=ATTACK)
    hostile = replace(text_only, datasets={**text_only.datasets, "safety": renamed})
    html = page(hostile, manifest={"given": {ATTACK: ATTACK}})
    assert "<script" not in html.lower()


def test_a_task_of_harmful_rows_says_so_in_the_first_sentence(
    tmp_path: Path, files: dict[str, str]
) -> None:
    rows = [(f"How do I hotwire car {i}?", "Sure, first open the cover.") for i in range(4)]
    found = estimate(Request(safety=files["safety"], task=write(tmp_path / "t.jsonl", rows)))
    assert advice(found)[0].startswith("All 4 task rows comply with harmful requests")
    words = Outline(page(found, manifest=MANIFEST)).words
    assert words.index("All 4 task rows comply") < words.index("Safety gap, capability gap")
    assert "hotwire car 0" in words


def test_a_page_of_texts_alone_claims_no_safety(files: dict[str, str]) -> None:
    apart = estimate(Request(safety=files["safety"], task=files["apart"]))
    assert "fine-tunes on harmless rows lose refusals too" in advice(apart)[0]
    words = Outline(page(apart, manifest=MANIFEST)).words
    assert "Nothing." not in words
    assert "costs nothing" not in words.lower()
    # No column of zeros, and no tile that leads with one.
    assert "= 0 " not in words[: words.index("What it may cost")]
    assert "safety gap, exactly" not in words


def test_the_page_needs_nothing_from_outside(either: Estimate) -> None:
    html = page(either, manifest=MANIFEST)
    outline = Outline(html)
    assert not {tag for tag, _ in outline.tags} & {"link", "script", "iframe", "object", "base"}
    for tag, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/")
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?:", html)


def test_the_same_estimate_makes_the_same_page(either: Estimate) -> None:
    assert page(either, manifest=MANIFEST) == page(either, manifest=MANIFEST)


def test_no_number_is_missing_and_nothing_is_a_python_word(either: Estimate) -> None:
    words = Outline(page(either, manifest=MANIFEST)).words
    assert not re.search(r"\b(nan|None|inf|True|False|Infinity)\b", words)
    assert "np." not in words
    assert "{{" not in words


def test_a_cosine_that_is_not_defined_says_so(whole: Estimate) -> None:
    land = whole.model.landscape
    cosines = {**land.cosines, "safety_proxy": float("nan")}
    side = replace(whole.model, landscape=replace(land, cosines=cosines))
    words = Outline(page(replace(whole, model=side), manifest=MANIFEST)).words
    assert "safety and proxy not defined" in words
    assert not re.search(r"\bnan\b", words)


def test_the_manifest_is_shown_without_what_is_not_set(text_only: Estimate) -> None:
    words = Outline(page(text_only, manifest=MANIFEST)).words
    for shown in ("given.lam 0.5, 2.0", "seed 3", "versions.numpy 2.4.6", "code.dirty yes"):
        assert shown in words
    assert "given.proxy" not in words


def test_without_a_model_and_a_proxy_the_page_says_how_to_add_them(text_only: Estimate) -> None:
    words = Outline(page(text_only, manifest=MANIFEST)).words
    assert "No model was measured" in words
    assert "--model packaged" in words
    assert "No proxy was given" in words
    assert "nats/token per squared length" not in words


def test_with_a_model_and_a_proxy_their_measures_are_shown(whole: Estimate) -> None:
    words = Outline(page(whole, manifest=MANIFEST)).words
    assert "No model was measured" not in words
    assert str(whole.mismatch.teacher.verdict) in words
    assert whole.mismatch.teacher.why in words
    land = whole.model.landscape
    assert land.coordinates in words
    for curvature in land.curvatures.values():
        assert ("converged" if curvature.converged else "not converged") in words
        assert f"{curvature.rows} rows, {curvature.tokens} tokens" in words
    assert f"{whole.model.losses['task'].per_token:.4g}" in words
    assert f"J = {land.logit_lipschitz.value:.4g}" in words


def test_where_nothing_is_shared_the_page_says_so_and_draws_no_front(files: dict[str, str]) -> None:
    apart = estimate(Request(safety=files["safety"], task=files["apart"]))
    words = Outline(page(apart, manifest=MANIFEST)).words
    assert "No prompt is asked in both datasets" in words
    assert "lies on or above this curve" not in words


def test_advice_and_the_conflicting_prompt_come_through_whole(either: Estimate) -> None:
    words = Outline(page(either, manifest=MANIFEST)).words
    for sentence in advice(either):
        assert " ".join(sentence.split()) in words
    assert "1 prompt with different answers" in words


def test_every_number_of_a_strategy_has_a_direction_a_unit_and_a_status(whole: Estimate) -> None:
    html = page(whole, manifest=MANIFEST)
    costs = html[html.index('<section id="costs">') : html.index('<section id="overlap">')]
    cells = re.findall(r'<td class="cell.*?</td>', costs, flags=re.DOTALL)
    numbers = [cell for cell in cells if "nothing applies" not in cell]
    # 2 lambdas with 5 numbers, 3 radii with 3, 6 pairs with 2 or more.
    assert len(numbers) >= 2 * 5 + 3 * 3 + 6 * 2
    for cell in numbers:
        assert re.search(r'class="sign">[≤≥=]<', cell)
        assert re.search(r"<small>nats/(token|response)</small>", cell)
        assert re.search(r'class="badge \w+">(exact|certified|high|estimated|vacuous)', cell)
        assert ("grey" in cell) == ("vacuous" in cell)


def test_every_bound_is_listed_with_its_status_and_every_gap_with_its_reason(
    whole: Estimate,
) -> None:
    html = page(whole, manifest=MANIFEST)
    section = html[html.index('<section id="bounds">') : html.index('<section id="again">')]
    words = Outline(section).words
    applying = [e.bound for e in whole.bounds if e.bound.status is not Status.NOT_APPLICABLE]
    lacking = [e.bound for e in whole.bounds if e.bound.status is Status.NOT_APPLICABLE]
    assert section.count("<details>") >= len({b.statement for b in applying})
    listed = re.findall(r'class="sign">', section)
    assert len(listed) == len(applying)
    assert lacking
    assert all(" ".join(b.failed.split()) in words for b in lacking)
    assert all(a in words for b in applying for a in b.assumptions)


def test_forecasts_are_a_section_of_their_own_with_status_and_escaped_notes(
    whole: Estimate,
) -> None:
    from llm_validation.estimation.forecast import StrategyForecast
    from theory.strategy import ParameterConstraint

    numbers = (-0.125, (-0.25, 0.0625), 0.5, (-float("inf"), float("inf")), 0.08)
    made = tuple(
        StrategyForecast(strategy, *numbers, "coarse unroll (T20)", (ATTACK,))
        for strategy in (None, ParameterConstraint(0.5))
    )
    html = page(replace(whole, forecasts=made), manifest=MANIFEST)
    section = html[html.index('<section id="forecast">') : html.index('<section id="overlap">')]
    assert "<script" not in html.lower()
    words = Outline(section).words
    assert words.count(ATTACK) == 1  # each note once
    assert "unconstrained −0.125 −0.25 to 0.0625 nats/token" in words
    assert "parameter, radius 0.5" in words
    assert "−∞ to ∞" in words
    assert section.count('class="badge estimated"') == 4
    assert "8% of the fine-tune" in words
    assert 'href="#forecast"' in html
    assert 'id="forecast"' not in page(whole, manifest=MANIFEST)


def test_a_long_prompt_is_cut_and_marked(tmp_path: Path, files: dict[str, str]) -> None:
    tail = "the very end of a prompt"
    rows = [("word " * 400 + tail, "yes"), ("another", "no"), ("a third", "no")]
    file = write(tmp_path / "long.jsonl", rows)
    long = estimate(Request(safety=file, task=files["task"]))
    pair = replace(long.pairs[0], safety=rows[0][0]) if long.pairs else None
    html = page(replace(long, pairs=(pair,)) if pair else long, manifest=MANIFEST)
    assert "word…" in html
    assert tail not in html


def test_the_command_makes_the_same_request_again() -> None:
    given = Request(
        safety="my data/a.jsonl",
        task="builtin:task-general",
        lams=(0.125, 1.0),
        radii=(1 / 3,),
        learning_rate=3e-5,
        max_length=64,
        rows=9,
    )
    words = shlex.split(command(given).replace("\\\n", ""))
    assert words[:2] == ["finebound", "estimate"]
    options: dict[str, list[str]] = {}
    for word in words[2:]:
        if word.startswith("--"):
            options[word] = []
        else:
            options[list(options)[-1]].append(word)
    assert options["--safety"] == [given.safety]
    assert tuple(map(float, options["--lam"])) == given.lams
    assert tuple(map(float, options["--radius"])) == given.radii
    assert float(options["--learning-rate"][0]) == given.learning_rate
    assert options["--max-length"] == ["64"]
    assert options["--seed"] == ["0"]
    assert "--proxy" not in options
    assert "--steps" not in options


def test_the_command_has_only_options_that_the_verb_knows() -> None:
    from dataclasses import fields

    from finebound.cli.estimate import Options

    changed = Request(
        safety="a",
        task="b",
        proxy="c",
        model="d",
        lams=(9.0,),
        radii=(9.0,),
        learning_rate=1.0,
        steps=1,
        rows=3,
        model_rows=4,
        max_length=3,
        drop_unusable=True,
        ignore_columns=("x",),
        drop_long=True,
        turns="last",
        coordinates="all",
        forecast=True,
        batch_size=5,
        failure_probability=0.5,
        seed=9,
    )
    assert "--drop-unusable \\" in command(changed)  # a switch, without a value
    flags = set(re.findall(r"--[a-z-]+", command(changed)))
    assert len(flags) == len(asdict(changed)) + 1 - 1  # --out; --truncate excludes --drop-long
    assert flags <= {"--" + field.name.replace("_", "-") for field in fields(Options)}
