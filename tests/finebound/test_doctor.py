"""``finebound doctor`` says what is missing and the command that mends it."""

import json

import pytest

from finebound.cli import health, main


def test_a_complete_machine_is_healthy(capsys):
    code = main(["doctor", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert code == (0 if content["healthy"] else 1)
    names = [finding["what"] for finding in content["findings"]]
    assert any("numpy" in name for name in names)
    assert any("packaged model" in name for name in names)


def test_a_missing_package_is_named_with_its_remedy(capsys, monkeypatch):
    found = health.metadata.version

    def without_gguf(name):
        if name == "gguf":
            raise health.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(health.metadata, "version", without_gguf)
    assert main(["doctor"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "gguf" in printed
    assert "make install" in printed


@pytest.mark.parametrize("value", ["1", "0"])
def test_an_offline_hub_is_optional(monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    (hub,) = [f for f in health.examine() if f.what == "Hugging Face hub"]
    assert not hub.needed
    assert hub.ok == (value == "0")


def test_a_cache_that_cannot_be_written_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("FINEBOUND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(health.os, "access", lambda *_: False)
    (cache,) = [f for f in health.examine() if f.what.startswith("cache")]
    assert not cache.ok
    assert "FINEBOUND_CACHE" in cache.remedy


def test_examining_is_light():
    import subprocess
    import sys

    code = (
        "import sys; from finebound.cli.health import examine; examine(); "
        "sys.exit(bool({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
