"""Progress without a terminal: a line in time, whatever the work does."""

import io
import re
import time
import warnings

from finebound.base.progress import _Stages, bar, duration, lines, silent


def test_a_line_comes_while_one_long_item_is_worked_on():
    stream = io.StringIO()
    with lines(stream, every=0.05) as track:
        for _ in track(["one"], "a long step"):
            time.sleep(0.3)
    said = stream.getvalue().splitlines()
    assert len(said) >= 3
    assert all("stage 1, a long step" in line for line in said)


def test_a_line_names_the_stage_its_share_and_the_time_left():
    stages = _Stages()
    work = iter(stages.track(range(8), "comparing prompts"))
    for _ in range(3):
        next(work)
    line = stages.line()
    assert "stage 1, comparing prompts: 2 of 8 (25%)" in line
    assert re.search(r"about \d+ s left", line)


def test_stages_within_stages_are_all_in_the_line_and_leave_it():
    stages = _Stages()
    for outer in stages.track("ab", "runs"):
        for _ in stages.track("xyz", "steps"):
            assert "runs" in stages.line()
            assert "steps" in stages.line()
        assert "steps" not in stages.line()
        assert outer in "ab"
    assert "after stage 1, runs" in stages.line()


def test_work_that_is_given_up_leaves_no_stage_behind():
    stages = _Stages()
    for _ in stages.track(range(5), "half done"):
        break
    assert "after stage 1, half done" in stages.line()


def test_a_line_before_the_first_stage_says_what_is_done():
    assert "libraries are loaded" in _Stages().line()


def test_short_work_is_silent_in_a_file(capsys):
    with bar() as progress:
        assert list(progress([1, 2, 3], "counting")) == [1, 2, 3]
    assert capsys.readouterr().err == ""


def test_warnings_of_libraries_are_counted_and_kept_back(capsys):
    with bar(), warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn_explicit("look out", UserWarning, "/usr/lib/python/foreign.py", 1)
    said = capsys.readouterr().err
    assert "look out" not in said
    assert "3 warnings of libraries were kept back (1 different ones)" in said


def test_what_silent_passes_through_is_the_items():
    assert silent([1], "x") == [1]


def test_lengths_of_time_are_words():
    assert duration(41) == "41 s"
    assert duration(200) == "3 min 20 s"
    assert duration(7500) == "2 h 5 min"


def test_a_name_in_a_stage_does_not_steer_the_terminal():
    stages = _Stages()
    for _ in stages.track("ab", "measuring ta\x1b[31msk\u202e"):
        assert "measuring task: 0 of 2" in stages.line()
        break
