from __future__ import annotations

import json
from dataclasses import replace
from functools import wraps

import numpy as np
import pytest

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import prompt_text
from llm_validation.evaluation import generation
from llm_validation.evaluation.generation import fingerprint, generate, stop_tokens
from llm_validation.evaluation.refusal.classifier import classify
from llm_validation.evaluation.refusal.labels import Label
from llm_validation.evaluation.refusal.reasoning import spoken
from llm_validation.evaluation.sampling import Sampling, token_choice

PROMPTS = Dataset.of(
    [
        ("Name a river in the north of the country.", "unread"),
        ("Hi", "unread"),
        ("How do the leaves of a tree change in the autumn, and why do they fall?", "unread"),
        ("List three tools.", "unread"),
    ],
    name="prompts",
)


def plain_greedy(loaded, messages, n):
    """Token by token, alone, without a cache or padding."""
    import torch

    ids = loaded.tokenizer(prompt_text(messages, loaded.tokenizer), add_special_tokens=False)[
        "input_ids"
    ]
    stops, found = stop_tokens(loaded), []
    with torch.no_grad():
        for _ in range(n):
            logits = loaded.model(torch.tensor([ids + found])).logits[0, -1]
            token = int(logits.argmax())
            if token in stops:
                return found
            found.append(token)
    return found


def no_generation(*_, **__):
    raise AssertionError("the model was asked again")


def test_batches_answer_as_one_prompt_at_a_time_does(tiny_model):
    responses = generate(tiny_model, PROMPTS, max_new_tokens=12)
    for example, response in zip(PROMPTS.examples, responses, strict=True):
        tokens = plain_greedy(tiny_model, example.messages, 12)
        assert response.prompt == example.prompt
        assert response.text == tiny_model.tokenizer.decode(tokens).strip()
        assert response.tokens == len(tokens)
        assert response.status == "done"


def test_a_conversation_and_its_templated_text_get_the_same_answer(tiny_model):
    turns = PROMPTS.examples[0].messages
    text = prompt_text(turns, tiny_model.tokenizer)
    by_turns, by_text = generate(tiny_model, [turns, text], max_new_tokens=8)
    assert by_turns.text == by_text.text
    assert by_text.prompt == text


def test_answers_are_cut_at_a_stop_token(tiny_model, monkeypatch):
    tokens = plain_greedy(tiny_model, PROMPTS.examples[0].messages, 12)
    stop = next(token for k, token in enumerate(tokens) if k > 1 and token not in tokens[:k])
    before = tokens[: tokens.index(stop)]
    uncut = generate(tiny_model, PROMPTS, max_new_tokens=12)[0]
    assert not uncut.finished
    monkeypatch.setattr(generation, "stop_tokens", lambda loaded: [stop])
    cut = generate(tiny_model, PROMPTS, max_new_tokens=12)[0]
    assert cut.finished
    assert cut.tokens == len(before)
    assert cut.text == tiny_model.tokenizer.decode(before).strip()


def test_the_token_that_the_template_writes_after_an_answer_stops_it(tiny_model):
    tokenizer = tiny_model.tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.eos_token = "the"  # as where eos ends texts, and another token ends turns
    tiny_model.model.generation_config.eos_token_id = None
    assert end in stop_tokens(tiny_model)


def test_the_models_own_generation_settings_are_not_used(tiny_model):
    plain = generate(tiny_model, PROMPTS, max_new_tokens=12)
    tiny_model.model.generation_config.update(
        do_sample=True, temperature=2.0, repetition_penalty=3.0, num_beams=1
    )
    assert generate(tiny_model, PROMPTS, max_new_tokens=12) == plain


def test_draws_depend_on_the_seed_and_the_prompt_not_on_the_batch(tiny_model):
    drawn = generate(tiny_model, PROMPTS, max_new_tokens=10, temperature=1.0, seed=3)
    alone = generate(
        tiny_model, PROMPTS, max_new_tokens=10, temperature=1.0, seed=3, tokens_per_batch=1
    )
    turned = Dataset.of(PROMPTS.examples[::-1], name="turned")
    backwards = generate(tiny_model, turned, max_new_tokens=10, temperature=1.0, seed=3)
    assert [r.text for r in alone] == [r.text for r in drawn]
    assert [r.text for r in backwards[::-1]] == [r.text for r in drawn]
    other = generate(tiny_model, PROMPTS, max_new_tokens=10, temperature=1.0, seed=4)
    assert [r.text for r in other] != [r.text for r in drawn]


def test_a_repeated_prompt_gets_the_same_answer_greedily_and_its_own_when_drawn(tiny_model):
    twice = Dataset.of([PROMPTS.examples[0]] * 2, name="twice")
    a, b = generate(tiny_model, twice, max_new_tokens=10)
    assert a == b
    a, b = generate(tiny_model, twice, max_new_tokens=10, temperature=1.5)
    assert a.text != b.text


def read_tokens(loaded, monkeypatch, prompts, **settings):
    """The answers, and how many tokens the model read for them, padding included."""
    forward, read = loaded.model.forward, []

    @wraps(forward)  # its signature is looked at
    def counted(*_, **inputs):
        read.append(inputs["input_ids"].numel())
        return forward(**inputs)

    with monkeypatch.context() as patch:
        patch.setattr(loaded.model, "forward", counted)
        return generate(loaded, prompts, max_new_tokens=4, **settings), sum(read)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_prompts_begin_with_is_read_once(tiny_model, monkeypatch, temperature):
    system = "Answer in plain words, briefly and kindly, and say so when you do not know. " * 3
    settings = {"system": system, "temperature": temperature, "seed": 2}
    together, read = read_tokens(tiny_model, monkeypatch, PROMPTS, **settings)
    monkeypatch.setattr(generation, "reads_after_a_prefix", lambda _: False)
    whole, all_read = read_tokens(tiny_model, monkeypatch, PROMPTS, **settings)
    assert together == whole
    assert read < all_read / 2


def test_a_prompt_of_several_draws_is_read_once_and_a_draw_has_a_number(tiny_model, monkeypatch):
    prompts = [example.messages for example in PROMPTS.examples] * 12
    settings = {"temperature": 1.0, "seed": 5}
    drawn, read = read_tokens(tiny_model, monkeypatch, prompts, **settings)
    later = generate(tiny_model, prompts[:4], max_new_tokens=4, first=7, **settings)
    assert drawn[28:32] == later != drawn[:4]
    monkeypatch.setattr(generation, "reads_after_a_prefix", lambda _: False)
    whole, all_read = read_tokens(tiny_model, monkeypatch, prompts, **settings)
    assert drawn == whole
    assert read < all_read / 3


def test_a_small_nucleus_is_greedy(tiny_model):
    greedy = generate(tiny_model, PROMPTS, max_new_tokens=10)
    drawn = generate(tiny_model, PROMPTS, max_new_tokens=10, temperature=1.0, top_p=1e-6)
    assert [r.text for r in drawn] == [r.text for r in greedy]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.8)])
def test_draws_have_the_softmax_as_their_distribution(temperature, top_p):
    import torch

    n, logits = 4000, np.log([0.5, 0.25, 0.15, 0.1])
    p = np.exp(logits / temperature)
    p /= p.sum()
    if top_p < 1.0:
        p[np.cumsum(p) - p >= top_p] = 0.0
        p /= p.sum()
    choose = token_choice(
        Sampling(1, temperature=temperature, top_p=top_p), [str(k) for k in range(n)]
    )
    chosen = choose(None, torch.tensor(logits).repeat(n, 1)).argmax(dim=-1).numpy()
    frequencies = np.bincount(chosen, minlength=4) / n
    assert np.all(np.abs(frequencies - p) <= 4.5 * np.sqrt(p * (1 - p) / n) + 1e-12)


def test_answers_are_kept_and_a_second_call_asks_nothing(tiny_model, tmp_path, monkeypatch):
    first = generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path)
    monkeypatch.setattr(type(tiny_model.model), "generate", no_generation)
    assert generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path) == first
    with pytest.raises(AssertionError, match="asked again"):
        generate(tiny_model, PROMPTS, max_new_tokens=9, cache=tmp_path)
    with pytest.raises(AssertionError, match="asked again"):
        generate(tiny_model, PROMPTS, max_new_tokens=8, system="Be brief.", cache=tmp_path)


def test_a_killed_call_goes_on_and_a_torn_line_is_made_again(tiny_model, tmp_path, monkeypatch):
    whole = generate(tiny_model, PROMPTS, max_new_tokens=8)
    asked = []
    answer = generation._Answerer.__call__

    def counted(self, batch):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(batch))
        return answer(self, batch)

    monkeypatch.setattr(generation._Answerer, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path, tokens_per_batch=1)
    (file,) = tmp_path.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    assert sum(b'"key"' in line for line in lines) == 2
    file.write_bytes(b"".join(lines)[:-25])  # killed in the middle of writing the second answer
    monkeypatch.setattr(generation._Answerer, "__call__", answer)
    asked_again = []

    def watched(self, batch):
        asked_again.extend(batch)
        return answer(self, batch)

    monkeypatch.setattr(generation._Answerer, "__call__", watched)
    assert generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path) == whole
    assert len(asked_again) == 3
    kept = [json.loads(line) for line in file.read_bytes().splitlines() if line.endswith(b"}")]
    assert sum("key" in line for line in kept) == 4
    monkeypatch.setattr(type(tiny_model.model), "generate", no_generation)
    assert generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path) == whole


def test_a_trained_model_does_not_get_the_answers_from_before(tiny_model, tmp_path):
    import torch

    before = fingerprint(tiny_model)
    generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path)
    with torch.no_grad():
        for weights in tiny_model.model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    assert fingerprint(tiny_model) != before
    found = generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path)
    assert [r.text for r in found] == [
        r.text for r in generate(tiny_model, PROMPTS, max_new_tokens=8)
    ]
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_weights_that_are_not_numbers_are_errors_never_empty_answers(tiny_model, tmp_path):
    import torch

    with torch.no_grad():
        tiny_model.model.model.norm.weight.fill_(float("nan"))
    responses = generate(tiny_model, PROMPTS, max_new_tokens=4, cache=tmp_path)
    assert all(r.status == "error" and r.text is None for r in responses)
    assert "not finite" in responses[0].error
    assert not any("not finite" in file.read_text() for file in tmp_path.glob("*"))


def test_one_bad_row_does_not_take_its_batch_with_it(tiny_model, tmp_path, monkeypatch):
    good = generate(tiny_model, PROMPTS, max_new_tokens=6)
    generate_ = type(tiny_model.model).generate
    bad = len(tiny_model.tokenizer(prompt_text(PROMPTS.examples[2].messages, tiny_model.tokenizer))
              ["input_ids"])  # fmt: skip

    def fails(self, input_ids, **options):
        if input_ids.shape[1] == bad:
            raise RuntimeError("out of memory")
        return generate_(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(tiny_model.model), "generate", fails)
    responses = generate(tiny_model, PROMPTS, max_new_tokens=6, cache=tmp_path)
    assert [r.status for r in responses] == ["done", "done", "error", "done"]
    assert "out of memory" in responses[2].error
    assert [r.text for k, r in enumerate(responses) if k != 2] == [
        r.text for k, r in enumerate(good) if k != 2
    ]
    # An error is not kept: the next call tries again.
    monkeypatch.setattr(type(tiny_model.model), "generate", generate_)
    assert generate(tiny_model, PROMPTS, max_new_tokens=6, cache=tmp_path) == good


def test_a_prompt_that_leaves_no_room_is_an_error_that_says_so(tiny_model):
    long = Dataset.of([("word " * 300, "x"), ("Hi", "x")], name="long")
    first, second = generate(tiny_model, long, max_new_tokens=8)
    assert first.text is None
    assert "exceeds the context of 512" in first.error
    assert second.status == "done"


@pytest.mark.parametrize("method", ["lora", "ia3", "prompt-tuning", "p-tuning"])
def test_adapters_answer_with_what_they_learned(tiny_model, method, tmp_path):
    import torch
    from peft import (
        IA3Config,
        LoraConfig,
        PromptEncoderConfig,
        PromptTuningConfig,
        TaskType,
        get_peft_model,
    )

    task = TaskType.CAUSAL_LM
    config = {
        "lora": LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type=task),
        "ia3": IA3Config(
            target_modules=["v_proj", "down_proj"],
            feedforward_modules=["down_proj"],
            task_type=task,
        ),
        "prompt-tuning": PromptTuningConfig(num_virtual_tokens=4, task_type=task),
        "p-tuning": PromptEncoderConfig(num_virtual_tokens=4, task_type=task),
    }[method]
    base = generate(tiny_model, PROMPTS, max_new_tokens=8, cache=tmp_path)
    torch.manual_seed(0)
    adapted = replace(tiny_model, model=get_peft_model(tiny_model.model, config).eval())
    with torch.no_grad():
        for name, weights in adapted.model.named_parameters():
            if weights.requires_grad and "mlp_head" not in name:
                weights.add_(torch.randn_like(weights))
    responses = generate(adapted, PROMPTS, max_new_tokens=8, cache=tmp_path)
    for example, response in zip(PROMPTS.examples, responses, strict=True):
        tokens = plain_greedy(adapted, example.messages, 8)
        assert response.text == tiny_model.tokenizer.decode(tokens).strip()
    assert [r.text for r in responses] != [r.text for r in base]
    with adapted.model.disable_adapter():
        assert generate(adapted, PROMPTS, max_new_tokens=8, cache=tmp_path) == base
    assert generate(adapted, PROMPTS, max_new_tokens=8, cache=tmp_path) == responses
    assert len(list(tmp_path.glob("*.jsonl"))) == 3


def test_a_system_turn_replaces_the_conversations_own(tiny_model):
    own = Dataset.of(
        [Example("Be long.\nHi", "x", (("system", "Be long."), ("user", "Hi")))], name="own"
    )
    plain = Dataset.of([("Hi", "x")], name="plain")
    (a,) = generate(tiny_model, own, max_new_tokens=8, system="Be brief.")
    (b,) = generate(tiny_model, plain, max_new_tokens=8, system="Be brief.")
    (c,) = generate(tiny_model, plain, max_new_tokens=8)
    assert a.text == b.text != c.text


def test_a_template_without_system_turns_names_the_row(tiny_model):
    tiny_model.tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        + tiny_model.tokenizer.chat_template
    )
    with pytest.raises(InputError, match=r"row 1: .*System role not supported"):
        generate(tiny_model, PROMPTS, max_new_tokens=4, system="Be brief.")


def test_bfloat16_answers_with_a_copy(tiny_model):
    import torch

    tiny_model.model.train()
    responses = generate(tiny_model, PROMPTS, max_new_tokens=4, bfloat16=True)
    assert all(r.status == "done" for r in responses)
    assert tiny_model.model.dtype == torch.float32
    generate(tiny_model, PROMPTS, max_new_tokens=4)
    assert tiny_model.model.training


def test_no_prompts_no_answers(tiny_model):
    assert generate(tiny_model, [], max_new_tokens=4) == []


@pytest.mark.parametrize(
    "wrong",
    [{"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}],
)
def test_settings_out_of_range_are_refused(tiny_model, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        generate(tiny_model, PROMPTS, **{"max_new_tokens": 4, **wrong})


def test_a_cache_that_cannot_be_written_is_an_input_error(tiny_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        generate(tiny_model, PROMPTS, max_new_tokens=4, cache=tmp_path / "file" / "cache")


def test_a_thought_that_the_template_opens_keeps_its_mark(tiny_model):
    tokenizer = tiny_model.tokenizer
    plain = generate(tiny_model, PROMPTS, max_new_tokens=6)
    assert not any(response.text.startswith("<think>") for response in plain)
    tokenizer.chat_template += "{% if add_generation_prompt %}<think>\n{% endif %}"
    found = generate(tiny_model, PROMPTS, max_new_tokens=6)
    assert all(response.text.startswith("<think>\n") for response in found)
    assert classify(PROMPTS.examples[0].prompt, found[0].text) is Label.THOUGHT_CUT


def test_marks_of_a_thought_that_are_special_tokens_are_kept_and_others_are_not(tiny_model):
    tokenizer = tiny_model.tokenizer
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["[THINK]", "[/THINK]", "<|im_end|>"]},
    )
    tokens = tokenizer("[THINK]a thought[/THINK]the answer<|im_end|>", add_special_tokens=False)
    answer = generation._cut(tokens["input_ids"], [], tokenizer)
    assert answer.text.startswith("[THINK]")
    assert "[/THINK]" in answer.text
    assert "<|im_end|>" not in answer.text
    assert spoken(answer.text).replace(" ", "") == "theanswer"
