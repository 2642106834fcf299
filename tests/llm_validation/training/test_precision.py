"""precision "auto": bfloat16 only where the machine computes in it; a begun run keeps its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.training import precision as precision_module
from llm_validation.training.methods import QLora
from llm_validation.training.plan import Lora, TrainingPlan
from llm_validation.training.precision import precision_of, processor_flags, resolve_precision
from llm_validation.training.record import read_run

PLAN = TrainingPlan(
    method=Lora(rank=2), steps=3, learning_rate=0.01, batch_size=3, precision="auto"
)
_X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse2 avx2 {}\n\nprocessor\t: 1\n"
_ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd {}\n"


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """A processor that lists these instructions, and no GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def make(text: str | None) -> None:
        file = tmp_path / "cpuinfo"
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(precision_module, "CPUINFO", file)

    return make


@pytest.mark.parametrize(
    ("cpuinfo", "used", "because"),
    [
        (_X86.format("avx512f"), "fp32", "no bfloat16"),
        (_X86.format("avx512f avx512_bf16"), "bf16", "avx512_bf16"),
        (_X86.format("amx_bf16 amx_tile"), "bf16", "amx_bf16"),
        (_ARM.format("sve"), "fp32", "no bfloat16"),
        (_ARM.format("i8mm bf16"), "bf16", "bf16"),
        # Part of another word is no instruction.
        (_X86.format("notavx512_bf16"), "fp32", "no bfloat16"),
        ("", "fp32", "not listed"),
        (None, "fp32", "not listed"),
    ],
)
def test_auto_is_what_the_processor_has(processor, cpuinfo, used, because):
    processor(cpuinfo)
    found = resolve_precision("auto")
    assert (found.asked, found.used) == ("auto", used)
    assert because in found.because
    assert resolve_precision("bf16").used == "bf16"
    assert resolve_precision("fp32").used == "fp32"


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_decides_where_there_is_one(monkeypatch, has):
    asked = {}

    def is_bf16_supported(**options):
        asked.update(options)
        return has

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    assert resolve_precision("auto").used == ("bf16" if has else "fp32")
    assert asked == {"including_emulation": False}


def test_this_machine_s_own_processor_is_read():
    flags = processor_flags()
    assert flags is None or len(flags) > 5


def test_the_record_says_what_was_used_and_the_identity_what_was_asked(bench, processor):
    processor(_X86.format(""))
    run = bench.run(PLAN)
    document = json.loads((run.folder / "run.json").read_text())
    assert document["identity"]["plan"]["precision"] == "auto"
    assert document["manifest"]["given"]["precision"] == "auto"
    assert document["precision"] == {
        "asked": "auto", "used": "fp32", "because": "the processor has no bfloat16 instructions"
    }  # fmt: skip
    assert read_run(run.folder).plan.precision == run.plan.precision == "fp32"
    # The same numbers as where float32 is asked for by name.
    plain = bench.run(replace(PLAN, precision="fp32"))
    assert run.end["safety"].per_token == plain.end["safety"].per_token
    processor(_X86.format("avx512_bf16"))
    assert bench.run(PLAN).plan.precision == "bf16"


def test_a_run_goes_on_as_it_began_on_a_machine_that_would_choose_otherwise(
    bench, processor, tmp_path, capsys
):
    from llm_validation.training.record import RunFolder

    processor(_X86.format("avx512_bf16"))
    out, plan = tmp_path / "run", replace(PLAN, checkpoint_every=1)

    def killed(model, step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(plan, out=out, visit=killed)
    processor(_X86.format(""))
    run = bench.run(plan, out=out)
    told = capsys.readouterr().err
    assert re.search("began in bf16 and goes on in it.*fp32", told), told
    assert run.plan.precision == "bf16"
    assert json.loads((out / "run.json").read_text())["precision"]["used"] == "bf16"
    # Finished, it is read on any machine.
    assert bench.run(plan, out=out).plan.precision == "bf16"
    assert RunFolder(out, run.document["identity"]).is_done


def test_a_damaged_record_is_no_traceback():
    for known in ({"used": "bf16"}, {"asked": "auto", "used": "fp8", "because": ""}):
        with pytest.raises(InputError, match="does not say"):
            precision_of({"precision": known}, "auto")


def test_a_quantised_base_multiplies_in_what_is_used(bench, processor):
    pytest.importorskip("bitsandbytes")
    processor(_X86.format(""))
    run = bench.run(replace(PLAN, method=QLora(rank=2)))
    assert run.document["model"]["base_quantisation"]["compute"] == "fp32"
    assert read_run(run.folder).plan.precision == "fp32"
