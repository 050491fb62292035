"""A pickle that would run code is refused by what it would call, in every protocol and container; it never runs."""

from __future__ import annotations

import collections
import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnscope.errors import CnnscopeError
from cnnscope.nn.checkpoint import read_header, read_weights

MARKER = "cnnscope-pickle-ran"


class Runs:
    def __reduce__(self) -> Any:
        import os

        return os.mkdir, (MARKER,)


OPCODES = {
    "reduce": b"cos\nmkdir\n(V" + MARKER.encode() + b"\ntR.",
    "inst": b"(V" + MARKER.encode() + b"\nios\nmkdir\n.",
    "obj": b"(cos\nmkdir\nV" + MARKER.encode() + b"\no.",
    "newobj": b"\x80\x02cos\nmkdir\nV" + MARKER.encode() + b"\n\x85\x81.",
    "build": b"\x80\x02ccollections\nCounter\n)\x81cos\nmkdir\nb.",
    "stack": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x01x\x85R.",
    "memo": b"\x80\x04\x8c\x05mkdir\x94\x8c\x02os\x94\x8c\x01z0h\x01h\x00\x93\x8c\x01x\x85R.",
    "dup": b"\x80\x04\x8c\x02os2\x8c\x05mkdir\x93000.",
    "truncated": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x01x\x85R",
    "argument of a mark": b"\x80\x02(cos\nmkdir\n1}.",
}


def refused(file: Path, name: str) -> None:
    for read in (read_header, read_weights):
        with pytest.raises(CnnscopeError, match="E422") as caught:
            read(file)
        assert name in str(caught.value)
    assert not Path(MARKER).exists()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", OPCODES)
@pytest.mark.parametrize("container", ["bare", "torch", "compressed", "tar"])
def test_every_opcode_that_calls(tmp_path: Path, name: str, container: str) -> None:
    file, code = tmp_path / "weights.pt", OPCODES[name]
    if container == "bare":
        file.write_bytes(code)
    elif container == "tar":
        with tarfile.open(file, "w") as tar:
            entry = tarfile.TarInfo("pickle")
            entry.size = len(code)
            tar.addfile(entry, io.BytesIO(code))
    else:
        how = zipfile.ZIP_DEFLATED if container == "compressed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", how) as archive:
            archive.writestr("archive/data.pkl", code)
            archive.writestr("archive/version", "3\n")
    refused(file, "os.mkdir")


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(pickle.dumps({"w": Runs()}, protocol))
    refused(file, "mkdir")


@pytest.mark.parametrize("new", [False, True])
def test_what_torch_saves(tmp_path: Path, new: bool) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"w": torch.zeros(2), "x": Runs()}, file, _use_new_zipfile_serialization=new)
    refused(file, "mkdir")
    torch.save(collections.OrderedDict(w=torch.zeros(2)), file, _use_new_zipfile_serialization=new)
    assert list(read_weights(file)) == ["w"]


@pytest.mark.parametrize("text", ["config of the run\nall layers\nnone\n", "(see the notes)\n", "\x80", "]}"])
def test_a_text_is_no_pickle(tmp_path: Path, text: str) -> None:
    file = tmp_path / "weights.pt"
    file.write_text(text, "latin-1")
    with pytest.raises(CnnscopeError, match=r"E42[01]"):
        read_header(file)
