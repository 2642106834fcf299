"""The page: complete, self-contained, escaped, the same on every run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import finebound as fb
from finebound.results.estimate import EstimateResult, StrategyForecastEntry
from finebound.results.result import Manifest
from finebound.results.strategies import StrategyEntry
from finebound.views.estimate import page
from llm_validation.estimation.request import Request

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
EARLIER = Path(__file__).parents[1] / "records" / "estimate_of_an_earlier_version.json"
ATTACK = "<script>alert('x')</script>"
MANIFEST = {
    "given": {"safety": "a.jsonl", "proxy": None, "lam": (0.5, 2.0)},
    "inputs": {},
    "seed": 3,
    "versions": {"numpy": "2.4.6"},
    "python": "3.11.7",
    "machine": "a machine",
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


def changed(part, **update):
    return part.model_copy(update=update)


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
def text_only(files: dict[str, str]) -> EstimateResult:
    return fb.estimate(safety=files["safety"], task=files["task"])


@pytest.fixture(scope="module")
def whole(files: dict[str, str], tiny_model_folder: Path) -> EstimateResult:
    return fb.estimate(
        safety=files["safety"],
        task=files["task"],
        proxy=files["proxy"],
        model=tiny_model_folder,
        lam=(0.5, 2.0),
        radius=(0.01, 0.1, 30.0),
    )


@pytest.fixture(params=["text_only", "whole"])
def either(request: pytest.FixtureRequest) -> Iterator[EstimateResult]:
    return request.getfixturevalue(request.param)


def test_every_section_is_there_with_or_without_a_model(either: EstimateResult) -> None:
    outline = Outline(page(either))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert ids == list(SECTIONS)
    linked = [attributes["href"] for tag, attributes in outline.tags if tag == "a"]
    assert {target.removeprefix("#") for target in linked} <= set(ids)


def test_what_a_dataset_says_is_shown_and_never_run(either: EstimateResult) -> None:
    html = page(either)
    assert "<script" not in html.lower()
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html
    assert ATTACK in Outline(html).words
    # Isolated: a prompt that turns the direction of writing does not turn its row number.
    assert "<bdi>" in html


def test_names_from_outside_are_escaped_too(text_only: EstimateResult) -> None:
    renamed = text_only.datasets["safety"].model_copy(update={"name": ATTACK, "source": ATTACK})
    made = text_only.manifest.model_copy(update={"given": {ATTACK: ATTACK}})
    change = {"datasets": {**text_only.datasets, "safety": renamed}, "manifest": made}
    html = page(text_only.model_copy(update=change))
    assert "<script" not in html.lower()


def test_a_task_of_harmful_rows_says_so_in_the_first_sentence(
    tmp_path: Path, files: dict[str, str]
) -> None:
    rows = [(f"How do I hotwire car {i}?", "Sure, first open the cover.") for i in range(4)]
    found = fb.estimate(safety=files["safety"], task=write(tmp_path / "t.jsonl", rows))
    assert found.advice[0].startswith("All 4 task rows comply with harmful requests")
    words = Outline(page(found)).words
    assert words.index("All 4 task rows comply") < words.index("Safety gap, capability gap")
    assert "hotwire car 0" in words


def test_a_page_of_texts_alone_claims_no_safety(files: dict[str, str]) -> None:
    apart = fb.estimate(safety=files["safety"], task=files["apart"])
    assert "fine-tunes on harmless rows lose refusals too" in apart.advice[0]
    words = Outline(page(apart)).words
    assert "Nothing." not in words
    assert "costs nothing" not in words.lower()
    # No column of zeros, and no tile that leads with one.
    assert "= 0 " not in words[: words.index("What it may cost")]
    assert "safety gap, exactly" not in words


def test_the_page_needs_nothing_from_outside(either: EstimateResult) -> None:
    html = page(either)
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


def test_the_same_estimate_makes_the_same_page(either: EstimateResult) -> None:
    assert page(either) == page(either)


def test_no_number_is_missing_and_nothing_is_a_python_word(either: EstimateResult) -> None:
    words = Outline(page(either)).words
    assert not re.search(r"\b(nan|None|inf|True|False|Infinity)\b", words)
    assert "np." not in words
    assert "{{" not in words


def test_a_cosine_that_is_not_defined_says_so(whole: EstimateResult) -> None:
    land = whole.model.landscape
    cosines = {**land.cosines, "safety_proxy": None}
    side = changed(whole.model, landscape=changed(land, cosines=cosines))
    words = Outline(page(changed(whole, model=side))).words
    assert "safety and proxy not defined" in words
    assert not re.search(r"\bnan\b", words)


def test_the_manifest_is_shown_without_what_is_not_set(text_only: EstimateResult) -> None:
    made = Manifest(**MANIFEST)
    words = Outline(page(changed(text_only, manifest=made))).words
    for shown in ("given.lam 0.5, 2.0", "seed 3", "versions.numpy 2.4.6", "code.dirty yes"):
        assert shown in words
    assert "given.proxy" not in words


def test_without_a_model_and_a_proxy_the_page_says_how_to_add_them(
    text_only: EstimateResult,
) -> None:
    words = Outline(page(text_only)).words
    assert "No model was measured" in words
    assert "Name a model (packaged," in words
    assert "No proxy was given" in words
    assert "nats/token per squared length" not in words


def test_with_a_model_and_a_proxy_their_measures_are_shown(whole: EstimateResult) -> None:
    words = Outline(page(whole)).words
    assert "No model was measured" not in words
    assert str(whole.proxy_mismatch.teacher.verdict) in words
    assert whole.proxy_mismatch.teacher.why in words
    land = whole.model.landscape
    assert land.coordinates in words
    for curvature in land.curvatures.values():
        assert ("converged" if curvature.converged else "not converged") in words
        assert f"{curvature.rows} rows, {curvature.tokens} tokens" in words
    assert f"{whole.model.losses['task'].per_token:.4g}" in words
    assert f"J = {land.logit_lipschitz.value:.4g}" in words


def test_where_nothing_is_shared_the_page_says_so_and_draws_no_front(files: dict[str, str]) -> None:
    apart = fb.estimate(safety=files["safety"], task=files["apart"])
    words = Outline(page(apart)).words
    assert "No prompt is asked in both datasets" in words
    assert "lies on or above this curve" not in words


def test_advice_and_the_conflicting_prompt_come_through_whole(either: EstimateResult) -> None:
    words = Outline(page(either)).words
    for sentence in either.advice:
        assert " ".join(sentence.split()) in words
    assert "1 prompt with different answers" in words


def test_every_number_of_a_strategy_has_a_direction_a_unit_and_a_status(
    whole: EstimateResult,
) -> None:
    html = page(whole)
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
    whole: EstimateResult,
) -> None:
    html = page(whole)
    section = html[html.index('<section id="bounds">') : html.index('<section id="again">')]
    words = Outline(section).words
    applying = [bound for bound in whole.bounds if bound.status != "NOT_APPLICABLE"]
    lacking = [bound for bound in whole.bounds if bound.status == "NOT_APPLICABLE"]
    assert section.count("<details>") >= len({b.statement for b in applying})
    listed = re.findall(r'class="sign">', section)
    assert len(listed) == len(applying)
    assert lacking
    assert all(" ".join(b.failed.split()) in words for b in lacking)
    assert all(a in words for b in applying for a in b.assumptions)


def test_forecasts_are_a_section_of_their_own_with_status_and_escaped_notes(
    whole: EstimateResult,
) -> None:
    made = tuple(
        StrategyForecastEntry(
            strategy=strategy,
            in_words=strategy.in_words,
            safety_change=-0.125,
            safety_interval=(-0.25, 0.0625),
            task_change=0.5,
            task_interval=(-float("inf"), float("inf")),
            cost_share=0.08,
            method="coarse unroll (T20)",
            notes=[ATTACK],
            status="ESTIMATED",
            unit="nats/token",
        )
        for strategy in (
            StrategyEntry(kind="none"),
            StrategyEntry(kind="parameter", radius=0.5),
        )
    )
    html = page(changed(whole, strategy_forecast=made))
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
    assert 'id="forecast"' not in page(whole)


def test_a_long_prompt_is_cut_and_marked(tmp_path: Path, files: dict[str, str]) -> None:
    tail = "the very end of a prompt"
    rows = [("word " * 400 + tail, "yes"), ("another", "no"), ("a third", "no")]
    file = write(tmp_path / "long.jsonl", rows)
    long = fb.estimate(safety=file, task=files["task"])
    pair = changed(long.closest_pairs[0], safety=rows[0][0])
    html = page(changed(long, closest_pairs=[pair]))
    assert "word…" in html
    assert tail not in html


def test_the_command_makes_the_same_request_again() -> None:
    given = Request(
        safety="my data/a.jsonl",
        task="builtin:task-general",
        lam=(0.125, 1.0),
        radius=(1 / 3,),
        learning_rate=3e-5,
        max_length=64,
        rows=9,
    )
    words = shlex.split(given.command.replace("\\\n", ""))
    assert words[:2] == ["finebound", "estimate"]
    options: dict[str, list[str]] = {}
    for word in words[2:]:
        if word.startswith("--"):
            options[word] = []
        else:
            options[list(options)[-1]].append(word)
    assert options["--safety"] == [given.safety]
    assert tuple(map(float, options["--lam"])) == given.lam
    assert tuple(map(float, options["--radius"])) == given.radius
    assert float(options["--learning-rate"][0]) == given.learning_rate
    assert options["--max-length"] == ["64"]
    assert options["--seed"] == ["0"]
    assert "--proxy" not in options
    assert "--steps" not in options


def test_the_command_has_only_options_that_the_verb_knows() -> None:
    from dataclasses import fields

    from finebound.cli.estimate import Options

    every = Request(
        safety="a",
        task="b",
        proxy="c",
        model="d",
        lam=(9.0,),
        radius=(9.0,),
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
    assert "--drop-unusable \\" in every.command  # a switch, without a value
    flags = set(re.findall(r"--[a-z-]+", every.command))
    assert flags == {"--" + name.replace("_", "-") for name in (*every.given, "out")}
    assert flags <= {"--" + field.name.replace("_", "-") for field in fields(Options)}


def test_the_saved_record_makes_the_same_page(either: EstimateResult, tmp_path: Path) -> None:
    again = EstimateResult.load(either.save(tmp_path))
    assert again == either
    assert page(again) == page(either)
    assert either.to_json() == again.to_json()


def test_a_page_is_drawn_without_what_computes() -> None:
    code = f"""
import sys
from finebound.results.estimate import EstimateResult
from finebound.views.estimate import page
assert page(EstimateResult.load({str(EARLIER)!r}))
print(*{{name.split(".")[0] for name in sys.modules}})"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "torch", "transformers", "llm_validation"} & set(done.stdout.split())


def test_a_record_of_an_earlier_version_makes_a_page_without_what_it_lacks() -> None:
    earlier = EstimateResult.load(EARLIER)
    outline = Outline(page(earlier))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert {*SECTIONS, "forecast"} == set(ids)
    assert "1 prompt with different answers" not in outline.words
    assert "Prompts asked in both datasets: 2; with different answers: 1" in outline.words


def test_every_way_to_look_at_an_estimate(either: EstimateResult) -> None:
    assert either.summary().splitlines() == either.advice
    assert "\n" not in repr(either)
    table = either.table()
    assert [row[0] for row in table.rows] == [row.in_words for row in either.strategies]
    assert list(either.to_frame()["change in safety loss, at most (nats/token)"].isna()) == [
        row.safety is None for row in either.strategies
    ]
    assert "<ol><li>" in either._repr_html_()
    assert either.plot().axes
