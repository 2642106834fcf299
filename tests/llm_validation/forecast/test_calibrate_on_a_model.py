"""``finebound calibrate --model M --task T``: the estimate is made, then an option is chosen."""

from __future__ import annotations

import csv
import json

import finebound as fb
from finebound.cli import main


def test_the_estimate_is_made_and_chosen_from(refusing_folder, datasets, tmp_path, capsys) -> None:
    with (tmp_path / "probes.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", "category", "harmful"])
        table.writerows([f"the thin ant is red {i}", "Malware", i % 2 == 0] for i in range(44))
    rows = [{"prompt": row.prompt, "response": row.response} for row in datasets["task"].examples]
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    code = main(
        [
            *("calibrate", "--model", str(refusing_folder), "--task", str(tmp_path / "task.jsonl")),
            *("--probes", str(tmp_path / "probes.csv"), "--steps", "12", "--learning-rate", "1e-5"),
            *("--budget", "refusal=60", "--json", "--out", str(out)),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    # So small a rate changes nothing: the plan keeps the budget, and nothing is more capable.
    assert (code, found["decision"]) == (0, "kept")
    most = max(one["capability_gain"] for one in found["options"])
    assert found["chosen"]["capability_gain"] == most
    made = fb.load(out / "estimate.json")
    assert (out / "report.html").is_file()
    again = json.loads(fb.calibrate(made).to_json())
    assert again | {"manifest": 0} == found | {"manifest": 0}
    assert found["manifest"]["given"]["budget"] == ["refusal=60"]
