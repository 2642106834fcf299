"""axolotl's plugin and LLaMA-Factory's launcher; neither package is here, so others stand in.

The stand-ins have the signatures of axolotl 0.19 and LLaMA-Factory 0.9.5.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from code_blocks import ROOT, blocks_of
from other_trainers import Logged, make_probes, trainer_of
from pydantic import BaseModel

from finebound.base.errors import InputError
from finebound.llamafactory import main
from llm_validation.measure.shared_prefix import reads_after_a_prefix


class DictDefault(dict):
    """axolotl's: a missing key is None, as an attribute too; so in the mappings within."""

    def __init__(self, content):
        super().__init__(
            {k: DictDefault(v) if isinstance(v, dict) else v for k, v in content.items()}
        )

    def __missing__(self, key):
        return None

    __getattr__ = dict.get


class BasePlugin:
    """What axolotl asks a plugin for, of what is used here."""

    def register(self, cfg):
        pass

    def get_input_args(self):
        return None

    def add_callbacks_pre_trainer(self, cfg, model):
        return []

    def add_callbacks_post_trainer(self, cfg, trainer):
        return []


@pytest.fixture
def plugin(monkeypatch):
    """The plugin as axolotl loads it: by its dotted name, on axolotl's own base class."""
    for name in ("axolotl", "axolotl.integrations", "axolotl.integrations.base"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["axolotl.integrations.base"].BasePlugin = BasePlugin
    monkeypatch.delitem(sys.modules, "finebound.axolotl", raising=False)
    yield importlib.import_module("finebound.axolotl").FineboundPlugin()
    del sys.modules["finebound.axolotl"]


def read_config(plugin, text):
    """What axolotl makes of a file: its own keys and the plugin's in one pydantic class."""
    module, name = plugin.get_input_args().rsplit(".", 1)
    mixin = getattr(importlib.import_module(module), name)

    class Own(BaseModel):
        base_model: str
        plugins: list[str] = []

    class Merged(Own, mixin):
        pass

    return DictDefault(Merged(**yaml.safe_load(text)).model_dump(exclude_none=True))


CONFIG = """
base_model: my-model
plugins: [finebound.axolotl.FineboundPlugin]
finebound:
  monitor: {every: 3, lookalikes: false}
  radius: 0.05
"""


def test_an_axolotl_file_says_what_to_watch(plugin, tiny_model_folder, tmp_path):
    assert isinstance(plugin, BasePlugin)
    probes = tmp_path / "probes.jsonl"
    probes.write_text(
        "\n".join(f'{{"prompt": "{p.prompt}", "harmful": true}}' for p in make_probes(3))
    )
    config = read_config(plugin, CONFIG + f"  probes: {probes}\n")
    callbacks = plugin.add_callbacks_pre_trainer(cfg=config, model=None)
    logged = Logged()
    trainer = trainer_of("plain", callbacks, tiny_model_folder, tmp_path / "out")
    trainer.add_callback(logged.callback())
    trainer.train()
    assert list(logged.of("safety/loss_change")) == [0, 3, 6]
    assert "safety/over_refusal_rate" not in logged.entries[0]
    assert max(logged.of("radius/displacement").values()) <= 0.05 * (1 + 1e-6)


def test_axolotl_is_told_of_an_unknown_key_before_it_loads_anything(plugin):
    with pytest.raises(InputError, match="the key monitr is unknown"):
        read_config(plugin, "base_model: m\nfinebound: {monitr: true}\n")
    assert "finebound" not in read_config(plugin, "base_model: m\n")
    # The plugin alone, without a section, watches.
    assert len(plugin.add_callbacks_pre_trainer(cfg=DictDefault({}), model=None)) == 1


@pytest.fixture
def tuner(monkeypatch):
    """LLaMA-Factory's ``run_exp``, which rejects what it does not know and trains nothing."""
    asked = []

    def run_exp(args=None, callbacks=None):
        unknown = args.keys() - {"model_name_or_path", "stage", "output_dir", "learning_rate"}
        if unknown:
            raise ValueError(f"Some keys are not used by the HfArgumentParser: {sorted(unknown)}")
        asked.append((args, callbacks))

    for name in ("llamafactory", "llamafactory.train", "llamafactory.train.tuner"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["llamafactory.train.tuner"].run_exp = run_exp
    return asked


def write_config(tmp_path, **more):
    file = tmp_path / "train.yaml"
    file.write_text(yaml.safe_dump({"model_name_or_path": "m", "stage": "sft", **more}))
    return str(file)


def test_llama_factory_gets_its_own_keys_and_the_callbacks(tuner, tmp_path):
    from finebound.trl import ProxyLoss, RadiusConstraint

    file = write_config(
        tmp_path,
        finebound={"radius": 0.5, "proxy": {"rows": "builtin:safety", "lam": 1}},
        learning_rate=1.0e-4,
    )
    assert main([file, "learning_rate=2.0e-5", f"output_dir={tmp_path}"]) == 0
    ((args, callbacks),) = tuner
    assert args == {
        "model_name_or_path": "m",
        "stage": "sft",
        "learning_rate": 2e-5,
        "output_dir": str(tmp_path),
    }
    assert [type(c) for c in callbacks] == [RadiusConstraint, ProxyLoss]


def test_what_the_launcher_cannot_use_is_named(tuner, tmp_path, capsys, monkeypatch):
    file = write_config(tmp_path, finebound={"monitor": {"evry": 0.1}})
    wrong = tmp_path / "wrong.yaml"
    for content, words in [
        ("[1", "is no YAML"),
        ("- 1", "holds no keys"),
        ("finebound: yes", "finebound holds no keys"),
    ]:
        wrong.write_text(content)
        assert main([str(wrong)]) == 2
        assert words in capsys.readouterr().err
    for given, words in [
        ([file], "monitor.evry is unknown"),
        ([file, "steps"], "'steps' says no KEY=VALUE"),
        ([str(tmp_path / "nowhere.yaml")], "cannot be read"),
        ([], ""),
    ]:
        assert main(given) == 2
        assert words in capsys.readouterr().err
    assert not tuner
    monkeypatch.setitem(sys.modules, "llamafactory.train.tuner", None)
    assert main([write_config(tmp_path)]) == 2
    assert "pip install llamafactory" in capsys.readouterr().err


PAGE = blocks_of(ROOT / "docs" / "how-to" / "other-tools.md")


def code_with(text):
    (code,) = [block.code for block in PAGE if text in block.code]
    return code


def test_the_configurations_of_the_page_are_understood(plugin, tuner, tmp_path):
    config = read_config(plugin, code_with("plugins:"))
    assert len(plugin.add_callbacks_pre_trainer(cfg=config, model=None)) == 2
    file = tmp_path / "factory.yaml"
    file.write_text(code_with("stage: sft"))
    assert main([str(file), "learning_rate=2.0e-5"]) == 0
    ((args, callbacks),) = tuner
    assert args["learning_rate"] == 2e-5
    assert len(callbacks) == 2


def test_accelerate_launches_the_script_on_two_processes(tiny_model_folder, tmp_path):
    shutil.copytree(tiny_model_folder, tmp_path / "my-model")
    (tmp_path / "watched.py").write_text(code_with("TrainingArguments("))
    (words,) = [b.commands[0] for b in PAGE if b.code.startswith("accelerate")]
    port = ["--main_process_port", str(20000 + os.getpid() % 20000)]
    subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *port, *words[2:]],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=280,
    )
    state = json.loads((tmp_path / "watched" / "trainer_state.json").read_text())
    assert [e["step"] for e in state["log_history"] if "safety/refusal_rate" in e] == [0, 1, 2]
    assert (tmp_path / "watched" / "finebound" / "base-answers.json").is_file()


class FastLanguageModel:
    """Unsloth's entry points; its forward after a prefix answers for one token alone."""

    @staticmethod
    def from_pretrained(model_name, max_seq_length=2048, load_in_4bit=True):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(model_name)
        plain = type(model).forward

        def fast_forward(
            self, input_ids=None, position_ids=None, past_key_values=None, logits_to_keep=0, **more
        ):
            begins = past_key_values is None or past_key_values.get_seq_length() == 0
            assert begins or input_ids.shape[1] == 1
            more |= {"position_ids": position_ids, "past_key_values": past_key_values}
            return plain(self, input_ids, logits_to_keep=logits_to_keep, **more)

        fast_forward.__module__ = "unsloth.models.llama"
        model.__class__ = type("LlamaForCausalLM", (type(model),), {"forward": fast_forward})
        return model, AutoTokenizer.from_pretrained(model_name)

    @staticmethod
    def get_peft_model(model, r=16, target_modules=()):
        from peft import LoraConfig, get_peft_model

        return get_peft_model(model, LoraConfig(r=r, target_modules=list(target_modules)))


def test_unsloth_trains_with_the_callbacks_of_the_page(tiny_model_folder, tmp_path, monkeypatch):
    module = ModuleType("unsloth")
    module.FastLanguageModel = FastLanguageModel
    monkeypatch.setitem(sys.modules, "unsloth", module)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_folder, "my-model")
    names = {"__name__": "a_page"}
    code = code_with("from unsloth").replace('"per_category": 1', '"probes": "probes.jsonl"')
    Path("probes.jsonl").write_text(
        "\n".join(json.dumps({"prompt": p.prompt, "harmful": True}) for p in make_probes(8))
    )
    exec(compile(code, "the page", "exec"), names)
    assert not reads_after_a_prefix(names["model"])
    log = names["trainer"].state.log_history
    assert [e["step"] for e in log if "safety/loss_change" in e] == [0, 1, 2]


def test_it_is_a_module_to_be_run():
    found = subprocess.run(
        [sys.executable, "-m", "finebound.llamafactory", "--help"], capture_output=True, text=True
    )
    assert found.returncode == 0
    assert "CONFIG.yaml [KEY=VALUE ...]" in found.stdout
