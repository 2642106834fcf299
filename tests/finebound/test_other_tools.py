"""axolotl's plugin and LLaMA-Factory's launcher; neither package is here, so others stand in.

The stand-ins have the signatures of axolotl 0.19 and LLaMA-Factory 0.9.5.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest
import yaml
from other_trainers import Logged, make_probes, trainer_of
from pydantic import BaseModel

from finebound.base.errors import InputError
from finebound.llamafactory import main


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


def test_it_is_a_module_to_be_run():
    found = subprocess.run(
        [sys.executable, "-m", "finebound.llamafactory", "--help"], capture_output=True, text=True
    )
    assert found.returncode == 0
    assert "CONFIG.yaml [KEY=VALUE ...]" in found.stdout
