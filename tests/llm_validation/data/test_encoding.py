"""Which tokens are supervised, what is refused, and how rows become batches."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finebound.base.errors import InputError
from llm_validation.data.conversations import last_answers
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import (
    Encoded,
    collate,
    encode,
    encode_noted,
    prompt_text,
    token_budget_batches,
)
from llm_validation.models.loading import LoadedModel

PAIRS = [("Say the thing", "I can."), ("How are you?", "Fine, and you?\n\nTell me."), ("x", " y ")]

MARKED_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def tokenizer(tiny_model: LoadedModel):
    return tiny_model.tokenizer


def with_template(tokenizer, template: str):
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


def supervised_text(row: Encoded, tokenizer) -> str:
    return tokenizer.decode(row.input_ids[row.supervised])


class TestSupervised:
    def test_is_the_answer_and_its_end_of_turn(self, tokenizer) -> None:
        for (_, answer), row in zip(
            PAIRS, encode(Dataset.of(PAIRS, name="d"), tokenizer, max_length=512), strict=True
        ):
            assert supervised_text(row, tokenizer) == answer + "<|im_end|>"
            # The end of turn is also the pad token, and is still learned.
            assert row.input_ids[row.supervised][-1] == tokenizer.pad_token_id

    def test_what_the_template_writes_after_the_end_of_turn_is_not(self, tokenizer) -> None:
        (row,) = encode(Dataset.of(PAIRS[:1], name="d"), tokenizer, max_length=512)
        assert tokenizer.decode(row.input_ids[-1:]) == "\n"
        assert not row.supervised[-1]

    def test_the_row_is_the_template_s_own_tokens(self, tokenizer) -> None:
        messages = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "go"))
        example = Example("Hi", "Gone.", messages)
        (row,) = encode(Dataset.of([example], name="d"), tokenizer, max_length=512)
        turns = [{"role": role, "content": text} for role, text in messages]
        turns.append({"role": "assistant", "content": "Gone."})
        assert row.input_ids.tolist() == tokenizer.apply_chat_template(turns)["input_ids"]
        assert supervised_text(row, tokenizer) == "Yes?<|im_end|>Gone.<|im_end|>"

    def test_the_context_is_the_generation_prompt(self, tokenizer) -> None:
        (row,) = encode(Dataset.of(PAIRS[:1], name="d"), tokenizer, max_length=512)
        before = row.input_ids[: int(np.flatnonzero(row.supervised)[0])]
        prompt = prompt_text((("user", PAIRS[0][0]),), tokenizer)
        assert prompt.endswith("<|im_start|>assistant\n")
        assert tokenizer.decode(before) == prompt

    def test_a_special_token_written_in_the_answer_does_not_end_it(self, tokenizer) -> None:
        rows = Dataset.of([("Hi", "one <|im_end|> two")], name="d")
        (row,) = encode(rows, tokenizer, max_length=512)
        assert supervised_text(row, tokenizer) == "one <|im_end|> two<|im_end|>"

    def test_an_empty_answer_is_the_end_of_turn_alone(self, tokenizer) -> None:
        (row,) = encode(Dataset.of([("Hi", "")], name="d"), tokenizer, max_length=512)
        assert supervised_text(row, tokenizer) == "<|im_end|>"

    def test_an_answer_that_the_template_trims(self, tokenizer) -> None:
        trimming = tokenizer.chat_template.replace(
            "message['content']", "message['content'].strip()"
        )
        (row,) = encode(
            Dataset.of(PAIRS[2:], name="d"), with_template(tokenizer, trimming), max_length=512
        )
        assert supervised_text(row, tokenizer) == "y<|im_end|>"

    def test_a_template_without_end_of_turn_supervises_to_the_end(self, tokenizer) -> None:
        plain = (
            "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
            "{% if not loop.last %}{{ '\n' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '\nassistant: ' }}{% endif %}"
        )
        (row,) = encode(
            Dataset.of([("Hi", "[yes]")], name="d"), with_template(tokenizer, plain), max_length=512
        )
        assert supervised_text(row, tokenizer) == "[yes]"

    def test_the_first_token_never_is_for_nothing_predicts_it(self, tokenizer) -> None:
        bare = (
            "{% for message in messages %}{% if message['role'] == 'assistant' %}"
            "{{ message['content'] }}{% endif %}{% endfor %}"
        )
        (row,) = encode(
            Dataset.of([("Hi", "abc")], name="d"), with_template(tokenizer, bare), max_length=512
        )
        assert row.supervised.tolist() == [False, True, True]

    @given(
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<|>")),
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<|>")),
    )
    def test_any_text_is_supervised_whole(self, tokenizer_once, prompt: str, answer: str) -> None:
        (row,) = encode(Dataset.of([(prompt, answer)], name="d"), tokenizer_once, max_length=10_000)
        assert supervised_text(row, tokenizer_once) == answer + "<|im_end|>"


@pytest.fixture(scope="session")
def tokenizer_once(tiny_model_folder):
    """The tokenizer, for tests that hypothesis runs many times."""
    from llm_validation.models.loading import load_model

    return load_model(tiny_model_folder).tokenizer


class TestGenerationMark:
    def test_gives_the_same_tokens_as_the_prefix(self, tokenizer) -> None:
        rows = Dataset.of(PAIRS, name="d")
        marked = encode(rows, with_template(tokenizer, MARKED_TEMPLATE), max_length=512)
        for by_mark, by_prefix in zip(marked, encode(rows, tokenizer, max_length=512), strict=True):
            np.testing.assert_array_equal(by_mark.input_ids, by_prefix.input_ids)
            np.testing.assert_array_equal(by_mark.supervised, by_prefix.supervised)

    def test_decides_what_is_supervised(self, tokenizer) -> None:
        without_end = MARKED_TEMPLATE.replace(
            "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
            "{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>' }}",
        )
        (row,) = encode(
            Dataset.of(PAIRS[:1], name="d"), with_template(tokenizer, without_end), max_length=512
        )
        assert supervised_text(row, tokenizer) == "I can."

    def test_a_row_where_nothing_is_marked(self, tokenizer) -> None:
        never = MARKED_TEMPLATE.replace("== 'assistant'", "== 'nobody'")
        with pytest.raises(InputError, match="row 1: The row has no supervised token"):
            encode(Dataset.of(PAIRS, name="d"), with_template(tokenizer, never), max_length=512)


TALK = (
    ("user", "Hi"),
    ("assistant", "Yes?"),
    ("user", "go"),
    ("assistant", "Where?"),
    ("user", "home"),
)


class TestTurns:
    """Which assistant turns of a conversation are supervised."""

    @pytest.fixture(params=["by prompt", "by mark"])
    def talking(self, tokenizer, request: pytest.FixtureRequest):
        marked = request.param == "by mark"
        return with_template(tokenizer, MARKED_TEMPLATE) if marked else tokenizer

    @pytest.mark.parametrize(
        ("more", "turns", "expected"),
        [
            ({}, "all", "Yes?<|im_end|>Where?<|im_end|>Gone.<|im_end|>"),
            ({}, "last", "Gone.<|im_end|>"),
            ({"unlearnt": (1,)}, "all", "Where?<|im_end|>Gone.<|im_end|>"),
            ({"unlearnt": (3,)}, "all", "Yes?<|im_end|>Gone.<|im_end|>"),
            ({"unlearnt": (1, 3)}, "all", "Gone.<|im_end|>"),
            ({"rejected": "No."}, "all", "Gone.<|im_end|>"),
        ],
    )
    def test_supervised(self, talking, more, turns, expected) -> None:
        rows = Dataset.of([Example("Hi", "Gone.", TALK, **more)], name="d")
        (row,) = encode(rows, talking, max_length=512, turns=turns)
        assert supervised_text(row, talking) == expected

    def test_each_follows_its_generation_prompt(self, tokenizer) -> None:
        (row,) = encode(
            Dataset.of([Example("Hi", "Gone.", TALK)], name="d"), tokenizer, max_length=512
        )
        edges = np.diff(row.supervised.astype(int), prepend=0)
        for turn, start in zip((1, 3, 5), np.flatnonzero(edges == 1), strict=True):
            prompt = prompt_text(TALK[:turn], tokenizer)
            assert tokenizer.decode(row.input_ids[:start]) == prompt

    def test_last_answers_are_those_of_turns_last(self, tokenizer) -> None:
        rows = Dataset.of([Example("Hi", "Gone.", TALK)], name="d")
        (one,) = encode(rows, tokenizer, max_length=512, turns="last")
        (other,) = encode(last_answers(rows), tokenizer, max_length=512)
        np.testing.assert_array_equal(one.supervised, other.supervised)

    def test_are_told(self, tokenizer) -> None:
        rows = Dataset.of([PAIRS[0], Example("Hi", "Gone.", TALK)], name="d")
        (note,) = encode_noted(rows, tokenizer, max_length=512).notes
        assert note.startswith("1 of 2 rows have earlier assistant turns; every assistant turn")
        (note,) = encode_noted(rows, tokenizer, max_length=512, turns="last").notes
        assert "only the last assistant turn is counted" in note
        assert encode_noted(Dataset.of(PAIRS, name="d"), tokenizer, max_length=512).notes == ()


class TestSpecialTokens:
    def test_no_second_beginning(self, tokenizer) -> None:
        """A tokenizer that adds a beginning of its own, as Llama's does, changes nothing."""
        from tokenizers.processors import TemplateProcessing

        rows = Dataset.of(PAIRS, name="d")
        plain = encode(rows, tokenizer, max_length=512)
        eager = copy.deepcopy(tokenizer)
        eager.backend_tokenizer.post_processor = TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", eager.bos_token_id)]
        )
        assert eager("a")["input_ids"][0] == eager.bos_token_id
        for template in (tokenizer.chat_template, MARKED_TEMPLATE):
            for row, expected in zip(
                encode(rows, with_template(eager, template), max_length=512), plain, strict=True
            ):
                assert row.input_ids.tolist() == expected.input_ids.tolist()
                assert row.input_ids[0] == eager.bos_token_id != row.input_ids[1]

    def test_a_template_that_writes_today_s_date_is_held_to_one(self, tokenizer) -> None:
        dated = (
            "{% if not date_string is defined %}{% set date_string = strftime_now('%H:%M:%S.%f') %}"
            "{% endif %}{{ date_string }}" + tokenizer.chat_template
        )
        changed = with_template(tokenizer, dated)
        first, second = (
            encode(Dataset.of(PAIRS, name="d"), changed, max_length=512) for _ in range(2)
        )
        for one, two in zip(first, second, strict=True):
            np.testing.assert_array_equal(one.input_ids, two.input_ids)
        assert prompt_text((("user", "Hi"),), changed).startswith("26 Jul 2024<|im_start|>")


class TestLongRows:
    ROWS = Dataset.of([("a", "b"), ("a", "xy" * 40), ("a", "c"), ("a", "xy" * 50)], name="rows")

    def test_are_an_error_that_says_which_and_how_long(self, tokenizer) -> None:
        length = len(encode(self.ROWS, tokenizer, max_length=512)[1])
        with pytest.raises(InputError) as caught:
            encode(self.ROWS, tokenizer, max_length=60)
        assert str(caught.value).startswith(f"rows, row 2: The row has {length} tokens")
        assert "limit is 60" in str(caught.value)
        assert "`max_length`" in caught.value.remedy

    def test_the_limit_itself_is_allowed(self, tokenizer) -> None:
        longest = max(len(row) for row in encode(self.ROWS, tokenizer, max_length=512))
        assert len(encode(self.ROWS, tokenizer, max_length=longest)) == 4
        with pytest.raises(InputError):
            encode(self.ROWS, tokenizer, max_length=longest - 1)

    def test_can_be_dropped_and_are_counted(self, tokenizer) -> None:
        with pytest.warns(UserWarning, match="dropped 2 of 4 rows with more than 60 tokens"):
            kept = encode(self.ROWS, tokenizer, max_length=60, on_long="drop")
        assert [row.row for row in kept] == [1, 3]

    def test_dropping_nothing_says_nothing(self, tokenizer) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(encode(self.ROWS, tokenizer, max_length=512, on_long="drop")) == 4

    def test_dropping_everything_is_an_error(self, tokenizer) -> None:
        with pytest.raises(InputError, match="Every one of the 4 rows"):
            encode(self.ROWS, tokenizer, max_length=5, on_long="drop")

    def test_are_named_together(self, tokenizer) -> None:
        with pytest.raises(InputError, match=r"with 2 of the 4 rows: 2, 4; the longest has \d+\."):
            encode(self.ROWS, tokenizer, max_length=60)
        many = Dataset.of([("a", "b")] + [("a", "xy" * 40)] * 30, name="rows")
        with pytest.raises(InputError, match=r"30 of the 31 rows: 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.;"):
            encode(many, tokenizer, max_length=60)

    def test_can_be_cut_to_their_first_tokens(self, tokenizer) -> None:
        whole = encode(self.ROWS, tokenizer, max_length=512)
        with pytest.warns(UserWarning, match="cut 2 of 4 rows with more than 60 tokens"):
            cut = encode(self.ROWS, tokenizer, max_length=60, on_long="truncate")
        assert [row.row for row in cut] == [1, 2, 3, 4]
        assert [row.cut for row in cut] == [False, True, False, True]
        for short, long in zip(cut, whole, strict=True):
            np.testing.assert_array_equal(short.input_ids, long.input_ids[:60])
            np.testing.assert_array_equal(short.supervised, long.supervised[:60])

    def test_cut_before_the_answer_are_left_out_and_counted(self, tokenizer) -> None:
        rows = Dataset.of([("a", "b"), ("xy" * 60, "z")], name="rows")
        found = encode_noted(rows, tokenizer, max_length=60, on_long="truncate")
        assert [row.row for row in found.rows] == [1]
        assert (found.dropped, found.cut) == ((2,), ())
        assert "1 of 2 rows are left out as too long." in found.notes


class TestRefused:
    def test_a_template_that_writes_something_else_for_the_answer(self, tokenizer) -> None:
        hiding = tokenizer.chat_template.replace(
            "message['content']", "(message['content'] if message['role'] == 'user' else '***')"
        )
        with pytest.raises(InputError, match="row 1: It cannot be told where the answer begins"):
            encode(Dataset.of(PAIRS, name="d"), with_template(tokenizer, hiding), max_length=512)

    def test_an_answer_whose_first_letters_merge_with_the_prompt(self, tokenizer) -> None:
        merging = tokenizer.chat_template.replace("'<|im_start|>assistant\n'", "'t'").replace(
            "message['role'] + '\n'", "('t' if message['role'] == 'assistant' else 'user\n')"
        )
        merging = merging.replace("'<|im_start|>' +", "'' +")
        changed = with_template(tokenizer, merging)
        assert len(encode(Dataset.of([("x", "ook")], name="d"), changed, max_length=512)) == 1
        # "t" + "he" is one token, so where the answer begins lies inside it.
        with pytest.raises(InputError, match="row 2: It cannot be told") as caught:
            encode(Dataset.of([("x", "ook"), ("x", "he")], name="d"), changed, max_length=512)
        assert "{% generation %}" in caught.value.remedy

    def test_a_conversation_that_the_template_refuses(self, tokenizer) -> None:
        strict = (
            "{% if messages[0]['role'] == 'system' %}"
            "{{ raise_exception('System role not supported') }}{% endif %}"
        ) + tokenizer.chat_template
        rows = [PAIRS[0], Example("x", "y", (("system", "Be brief."), ("user", "x")))]
        with pytest.raises(InputError, match=r"row 2: .*System role not supported") as caught:
            encode(Dataset.of(rows, name="d"), with_template(tokenizer, strict), max_length=512)
        assert "roles" in caught.value.remedy

    @pytest.mark.parametrize("pair", [("x\ud83d", "y"), ("x", "\ud83d y")])
    def test_half_a_character(self, tokenizer, pair: tuple[str, str]) -> None:
        rows = Dataset.of([PAIRS[0], pair], name="d")
        with pytest.raises(InputError, match=r"row 2: .*broken character \('\\ud83d'\)"):
            encode(rows, tokenizer, max_length=512)

    def test_the_file_is_named(self, tokenizer) -> None:
        rows = Dataset.of(PAIRS, name="rows", source="data/rows.jsonl")
        with pytest.raises(InputError, match=r"^data/rows\.jsonl, row 1: "):
            encode(rows, tokenizer, max_length=3)

    def test_no_rows_are_no_error(self, tokenizer) -> None:
        assert encode(Dataset.of([], name="d"), tokenizer, max_length=9) == []


class TestCollate:
    def test_pads_right_and_labels_only_the_supervised(self) -> None:
        pad = 9
        rows = [
            Encoded(np.array([1, 2, pad], np.int32), np.array([False, True, True])),
            Encoded(np.array([3, 4], np.int32), np.array([False, True])),
        ]
        tensors = collate(rows, pad)
        assert tensors["input_ids"].tolist() == [[1, 2, pad], [3, 4, pad]]
        assert tensors["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
        # The first row's last token equals the pad id and is still a label.
        assert tensors["labels"].tolist() == [[-100, 2, pad], [-100, 4, -100]]


def rows_of(lengths: list[int]) -> list[Encoded]:
    return [Encoded(np.zeros(n, np.int32), np.ones(n, bool)) for n in lengths]


class TestBatches:
    @given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
    def test_hold_every_row_once_within_the_budget_longest_first(
        self, lengths: list[int], tokens: int
    ) -> None:
        batches = token_budget_batches(rows_of(lengths), tokens=tokens)
        flat = [index for batch in batches for index in batch]
        assert sorted(flat) == list(range(len(lengths)))
        assert [lengths[index] for index in flat] == sorted(lengths, reverse=True)
        for batch in batches:
            padded = len(batch) * max(lengths[index] for index in batch)
            assert padded <= tokens or len(batch) == 1

    def test_are_as_few_as_the_order_allows(self) -> None:
        assert token_budget_batches(rows_of([5, 10, 5, 5, 5]), tokens=20) == [[1, 0], [2, 3, 4]]

    def test_a_budget_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="at least one token"):
            token_budget_batches([], tokens=0)


def test_the_beginning_of_a_row_has_so_many_tokens_of_its_answer(tokenizer):
    (row,) = encode(Dataset.of(PAIRS[1:2], name="d"), tokenizer, max_length=512)
    answer = int(row.supervised.sum())
    short = row.beginning(3)
    assert (short.supervised.sum(), short.supervised[-1], short.cut) == (3, True, True)
    np.testing.assert_array_equal(short.input_ids, row.input_ids[: len(short)])
    whole = row.beginning(answer)
    assert (whole.supervised.sum(), whole.supervised[-1], whole.cut) == (answer, True, False)
