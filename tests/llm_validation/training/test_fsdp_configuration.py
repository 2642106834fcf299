"""The shipped FSDP configuration: accelerate reads it, and a model is sharded as it says."""

from __future__ import annotations

from importlib.resources import as_file, files

import pytest
import torch
from torch import distributed

PROCESSES = 8


def plugin_of(monkeypatch: pytest.MonkeyPatch):
    """accelerate's own way: file -> launcher's arguments -> environment -> plugin."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    with as_file(files("llm_validation.training") / "fsdp.yaml") as file:
        config = load_config_from_file(str(file))
        arguments = launch_command_parser().parse_args(["--config_file", str(file), "train.py"])
        arguments = _validate_launch_command(arguments)[0]
    assert config.num_processes == arguments.num_processes == PROCESSES
    assert arguments.use_fsdp
    assert arguments.mixed_precision == "bf16"
    monkeypatch.setattr("accelerate.utils.launch.is_port_in_use", lambda _: False)
    told = prepare_multi_gpu_env(arguments)
    for name, value in told.items():
        if name.startswith("FSDP_") or name == "ACCELERATE_USE_FSDP":
            monkeypatch.setenv(name, value)
    return FullyShardedDataParallelPlugin()


@pytest.fixture
def eight_processes():
    """A group of eight that talks to nobody: this process is the first of them."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", rank=0, world_size=PROCESSES, store=FakeStore())
    yield
    distributed.destroy_process_group()


def test_accelerate_reads_it_and_every_layer_is_cut_into_equal_shards(monkeypatch, eight_processes):
    from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
    from transformers import LlamaConfig, LlamaForCausalLM

    plugin = plugin_of(monkeypatch)
    assert plugin.fsdp_version == 2
    assert plugin.activation_checkpointing
    assert plugin.reshard_after_forward is True
    assert "FULL" in str(plugin.state_dict_type)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    whole = {name: p.numel() for name, p in model.named_parameters()}
    plugin.set_auto_wrap_policy(model)
    policy = fsdp2_prepare_auto_wrap_policy(plugin, model)
    wrapped = [name for name, module in model.named_modules() if policy(module)]
    assert {f"model.layers.{number}" for number in range(3)} <= set(wrapped)
    mesh = init_device_mesh("cpu", (PROCESSES,))
    modules = dict(model.named_modules())
    for name in reversed(wrapped):
        fully_shard(modules[name], mesh=mesh)
    fully_shard(model, mesh=mesh)
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor), name
        assert parameter.device.type == "meta"
        assert parameter.to_local().numel() == whole[name] / PROCESSES, name


def test_it_names_nothing_that_accelerate_does_not_know(tmp_path):
    from accelerate.commands.config.config_args import load_config_from_file

    text = (files("llm_validation.training") / "fsdp.yaml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text + "fsdp_shards: 3\n")
    with pytest.raises(ValueError, match="fsdp_shards"):
        load_config_from_file(str(wrong))
