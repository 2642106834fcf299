"""A grid whose task is MT-Pref trains and is tested on translations into English alone."""

import json

from llm_validation.experiments.config import experiment_of
from llm_validation.experiments.datasets import draw_sets


def test_training_and_held_out_rows_are_into_english(content, tiny_model, tmp_path):
    rows = []
    for number in range(60):
        source, target = [("German", "English"), ("English", "German"), ("Chinese", "English")][
            number % 3
        ]
        prompt = (
            f"<|im_start|>user\nTranslate the following {source} source text to {target}:\n"
            f"{source}: Text {number}\n{target}: <|im_end|>\n<|im_start|>assistant\n"
        )
        rows.append({"prompt": prompt, "chosen": f"Good {number}<|im_end|>", "rejected": "Bad"})
    path = tmp_path / "mt.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changed = {**content, "tasks": {"translation": str(path)}, "grid": [{"tasks": ["translation"]}]}
    changed["grid"][0]["unconstrained"] = True
    sets = draw_sets(experiment_of(changed), tiny_model)
    for name in ("task.translation", "task.translation.held-out"):
        found = sets[name]
        assert len(found) > 1
        assert "40 rows of other pairs left out" in found.source
        for example in found.examples:
            number = int(example.prompt.removeprefix("Text "))
            assert number % 3 == 0
            assert (example.response, example.rejected) == (f"Good {number}", "Bad")
            assert example.category == "German"
