"""Archives that would take more than they are: refused before they are unpacked, and told why."""

import io
import os
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from ptaudit.archives import MOST_ARRAYS, open_npz, read_npy
from ptaudit.errors import RunFolderError
from ptaudit.spec.checkpoint_labels import read_label
from ptaudit.training.checkpoint import load_archive
from ptaudit.training.saved import digest, load_state


def header(shape, dtype="<f8"):
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": dtype})
    return buffer.getvalue()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def refused(path, name="x"):
    with pytest.raises(ValueError, match=r"\w") as caught, open_npz(path) as arrays:
        arrays[name]
    return str(caught.value)


def test_arrays_are_what_numpy_saved(tmp_path):
    saved = {"x": np.arange(6.0).reshape(2, 3), "y": np.array(["a", "ö"]), "z": np.array(3), "e": np.zeros((0, 2))}
    np.savez_compressed(tmp_path / "a.npz", **saved)
    with open_npz(tmp_path / "a.npz") as arrays:
        assert set(arrays) == set(saved)
        assert "x.npy" not in arrays
        for name, value in saved.items():
            np.testing.assert_array_equal(arrays[name], value)
    np.save(tmp_path / "a.npy", saved["x"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), saved["x"])


def test_a_header_that_declares_more_than_there_is(tmp_path):
    path = archive(tmp_path / "a.npz", x=header((10**12,)) + b"\0" * 80)
    assert refused(path) == "array x: it declares 8,000,000,000,000 bytes, there are 80"
    (tmp_path / "a.npy").write_bytes(header((10**12,)) + b"\0" * 80)
    with pytest.raises(ValueError, match="it declares 8,000,000,000,000 bytes, there are 80"):
        read_npy(tmp_path / "a.npy")


def test_an_array_that_does_not_fit_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("ptaudit.archives.installed_memory", lambda: 1000)
    path = archive(tmp_path / "a.npz", x=header((200,)) + b"\0" * 1600)
    assert refused(path) == "array x: it takes 1,600 bytes, more than the memory of this machine"


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}, []], dtype=object))
    assert "holds Python objects, which are never unpickled" in refused(tmp_path / "a.npz")


def test_a_header_without_end(tmp_path):
    path = archive(tmp_path / "a.npz", x=b"\x93NUMPY\x02\x00" + (10**6).to_bytes(4, "little") + b" " * 10**6)
    assert "is large and may not be safe to load" in refused(path)


def test_more_arrays_than_there_can_be(tmp_path):
    path = archive(tmp_path / "a.npz", **{f"x{k}": b"" for k in range(MOST_ARRAYS + 1)})
    assert refused(path) == "it has 10,001 arrays (at most 10,000)"


def test_members_that_share_their_bytes(tmp_path):
    path = archive(tmp_path / "a.npz", x=header((1000,)) + np.random.default_rng(0).bytes(8000))
    whole = path.read_bytes()
    start = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry = whole[start:end]
    times = 50
    close = bytearray(whole[end:])
    close[8:12] = times.to_bytes(2, "little") * 2
    close[12:16] = (len(entry) * times).to_bytes(4, "little")
    path.write_bytes(whole[:start] + entry * times + bytes(close))
    assert refused(path) == "its members overlap"


def test_what_is_no_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert refused(tmp_path / "a.npy") == "it holds a single array"
    (tmp_path / "a.npz").write_text("text")
    assert refused(tmp_path / "a.npz") == "it is no archive"


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path, suffix):
    path = tmp_path / f"epoch-1{suffix}"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="a pipe or a device"), open_npz(path):
        pass
    with pytest.raises(ValueError, match="a pipe or a device"):
        load_archive(path)
    with pytest.raises(RunFolderError, match="damaged or no checkpoint"):
        load_state(path)
    with pytest.raises(RunFolderError, match="damaged or no checkpoint"):
        digest(path)
    assert read_label(path) is None
