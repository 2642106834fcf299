"""The command and the records' command: what they write, print and refuse."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from finebound.base.errors import InputError
from finebound.cli import main
from paper_figures.records import __main__ as records_command
from paper_figures.records import read_record
from paper_figures.registry import chosen, figure_names


def test_draws_all_and_says_what_it_wrote(tmp_path, capsys):
    out = tmp_path / "figures"
    assert main(["figures", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    expected = {f"{name}.{kind}" for name in figure_names() for kind in ("png", "pdf")}
    assert {file.name for file in out.iterdir()} == expected | {"captions.md"}
    for file in out.iterdir():
        assert str(file) in printed
    captions = (out / "captions.md").read_text()
    for name in figure_names():
        assert f"## {name}" in captions
        assert f"python -m paper_figures.records {name}" in captions


def test_json_lists_files_and_claims(tmp_path, capsys):
    assert main(["figures", "proxy_floor", "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    (figure,) = found["figures"]
    assert figure["name"] == "proxy_floor"
    assert figure["files"] == [str(tmp_path / f"proxy_floor.{kind}") for kind in ("png", "pdf")]
    assert all(claim["holds"] is True for claim in figure["claims"])
    assert figure["claims"][0]["evidence"] in figure["caption"]
    assert found["captions"] == str(tmp_path / "captions.md")


def test_drawing_one_keeps_the_captions_of_the_others(tmp_path):
    main(["figures", "pareto_front", "--out", str(tmp_path)])
    main(["figures", "proxy_floor", "--out", str(tmp_path)])
    both = (tmp_path / "captions.md").read_text()
    assert "## pareto_front" in both
    assert "## proxy_floor" in both


def test_an_unknown_figure_is_refused_with_the_nearest_name(tmp_path, capsys):
    assert main(["figures", "pareto_frnt", "--out", str(tmp_path / "out")]) == 2
    assert "Did you mean pareto_front?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_are_taken_once_and_none_means_all():
    assert chosen(["proxy_floor", "proxy_floor"]) == ["proxy_floor"]
    assert chosen([]) == figure_names()


def test_a_missing_record_names_the_command_that_makes_it(name, no_records, tmp_path, capsys):
    with pytest.raises(InputError, match=f"python -m paper_figures.records {name}"):
        read_record(name)
    assert main(["figures", name, "--out", str(tmp_path / "out")]) == 2
    assert f"python -m paper_figures.records {name}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no JSON object"),
        ('{"figure": "proxy_floor", "data": {}}', "is not the record of pareto_front"),
        ('{"figure": "pareto_front"}', "is not the record of pareto_front"),
    ],
)
def test_a_spoilt_record_is_refused(no_records, content, said):
    (no_records / "pareto_front.json").write_text(content)
    with pytest.raises(InputError, match=said) as refusal:
        read_record("pareto_front")
    assert "python -m paper_figures.records pareto_front" in str(refusal.value)


def test_the_records_command_writes_a_record_that_draws(no_records, tmp_path, capsys):
    assert records_command.main(["proxy_floor", "--seed", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(no_records / "proxy_floor.json")
    made = read_record("proxy_floor")
    assert made["manifest"]["seed"] == 3
    assert made["manifest"]["given"]["command"].endswith("proxy_floor --seed 3")
    assert main(["figures", "proxy_floor", "--out", str(tmp_path / "out")]) == 0


def test_the_records_command_refuses_an_unknown_figure(no_records, capsys):
    assert records_command.main(["nothing"]) == 2
    assert "there is no figure 'nothing'" in capsys.readouterr().err
    assert list(no_records.iterdir()) == []


def test_help_shows_a_worked_example_and_loads_no_matplotlib():
    code = (
        "import sys\n"
        "from finebound.cli import main\n"
        "try:\n"
        "    main(['figures', '--help'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "assert not {'matplotlib', 'theory', 'paper_figures', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "finebound figures pareto_front --out figures" in " ".join(done.stdout.split())
