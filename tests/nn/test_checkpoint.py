"""Weight files: what is read of them, and what is said of the ones that cannot be."""

from __future__ import annotations

import collections
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Param
from cnnscope.nn.checkpoint import Checkpoint, read_header, read_weights, write_weights

STATE = {
    "conv.weight": torch.arange(54.0).reshape(2, 3, 3, 3),
    "bn.running_mean": torch.ones(2, dtype=torch.float64),
    "bn.num_batches_tracked": torch.tensor(7),
}
SHAPES = {
    "conv.weight": Param((2, 3, 3, 3), "float32"),
    "bn.running_mean": Param((2,), "float64"),
    "bn.num_batches_tracked": Param((), "int64"),
}


def refused(path: Path, read: Callable[[Path], object] = read_header) -> tuple[str, str, str | None]:
    """Code, message and hint of the one diagnostic that reading ``path`` ends in."""
    with pytest.raises(CnnscopeError) as caught:
        read(path)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.hint


def assert_weights(weights: Mapping[str, torch.Tensor]) -> None:
    assert weights.keys() == STATE.keys()
    for key, tensor in STATE.items():
        assert weights[key].dtype == tensor.dtype
        assert torch.equal(weights[key], tensor)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_torch_file(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pt")
    assert read_header(tmp_path / "w.pt") == Checkpoint(tmp_path / "w.pt", SHAPES)
    assert list(read_header(tmp_path / "w.pt").tensors) == list(STATE)
    assert_weights(read_weights(tmp_path / "w.pt"))


def test_torch_file_from_before_zip(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert read_header(tmp_path / "w.pth").tensors == SHAPES
    assert_weights(read_weights(tmp_path / "w.pth"))


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "w.safetensors")
    assert header.tensors == SHAPES
    assert not header.ordered
    assert_weights(read_weights(tmp_path / "w.safetensors"))


def test_the_header_of_a_torch_file_reads_no_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(STATE, tmp_path / "w.pt")
    seen = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: seen.append(load(*args, **kwargs)) or seen[-1])
    read_header(tmp_path / "w.pt")
    assert {tensor.device.type for tensor in seen[0].values()} == {"meta"}


def test_the_header_of_safetensors_reads_no_tensor_and_needs_no_torch(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "w.safetensors", {"a": entry(0, 2**35)})
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 2**35)  # 32 GiB that exist on paper only
    script = (
        "import sys; from cnnscope.nn.checkpoint import read_header; "
        f"print(read_header({str(path)!r}).tensors['a'].shape, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == f"({2**33},) False\n"


def test_a_header_length_that_looks_like_text_or_gzip(tmp_path: Path) -> None:
    for length in (ord("{"), ord("<"), 0x8B1F):
        raw = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        path = safetensors(tmp_path / "w", raw + b" " * (length - len(raw)), bytes(4))
        assert read_header(path).tensors == {"a": Param((1,))}


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "module", "net", "model_ema"])
def test_wrapped_state_dicts(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 3, key: STATE, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    header = read_header(tmp_path / "w.pt")
    assert header.tensors == SHAPES
    assert header.wrapper == (key,)
    assert header.ignored == ("`epoch` (int)", "`optimizer` (dict)")
    assert_weights(read_weights(tmp_path / "w.pt"))


def test_nested_wrappers_and_a_second_candidate(tmp_path: Path) -> None:
    average = {key: tensor.clone() for key, tensor in STATE.items()}
    torch.save({"model_ema": average, "model": {"state_dict": STATE, "name": "r18"}}, tmp_path / "w.pt")
    header = read_header(tmp_path / "w.pt")
    assert header.wrapper == ("model", "state_dict")
    assert header.ignored == ("`model_ema` (dict)", "`name` (str)")


def test_a_module_called_model_is_not_a_wrapper(tmp_path: Path) -> None:
    torch.save({"model": torch.ones(2), "bias": torch.ones(3)}, tmp_path / "w.pt")
    assert list(read_header(tmp_path / "w.pt").tensors) == ["model", "bias"]


def test_names_inserted_by_compile_and_fsdp(tmp_path: Path) -> None:
    keys = ("_orig_mod.a.weight", "layer._orig_mod.b.weight", "c._fsdp_wrapped_module.weight", "my_orig_mod.weight")
    torch.save({key: torch.ones(1) for key in keys}, tmp_path / "w.pt")
    assert list(read_weights(tmp_path / "w.pt")) == ["a.weight", "layer.b.weight", "c.weight", "my_orig_mod.weight"]


def test_entries_that_are_no_tensors(tmp_path: Path) -> None:
    torch.save({**STATE, "_extra_state": None, 5: torch.ones(1)}, tmp_path / "w.pt")
    header = read_header(tmp_path / "w.pt")
    assert header.tensors == SHAPES
    assert header.ignored == ("`_extra_state` (NoneType)", "`5` (Tensor)")


# -- files that are something else -------------------------------------------------------------------------------------

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n"
UNPACK = "unpack it and name the weight file inside"
AGAIN = "the download was answered with an error or a login page; download the file again"
OTHERS: list[tuple[str, bytes, str, str]] = [
    ("w.pt", LFS, "a git-LFS pointer, not the weights themselves; the real file has 102,530,333 bytes",
     "run `git lfs pull` in its repository"),
    ("w.pt", b"", "empty (0 bytes)", "download or save it again"),
    ("w.pt", b"<!DOCTYPE html><html>", "a web page, not a file of torch weights", AGAIN),
    ("w.safetensors", b"\n <html lang='en'>", "a web page, not a file of torch weights", AGAIN),
    ("w.pt", b"<?xml version='1.0'?><Error>", "an XML page, not a file of torch weights", AGAIN),
    ("w.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file (Keras or Caffe weights), not a file of torch weights",
     "if Keras wrote it, name its model as SOURCE (`model.keras` or its JSON); `cnnscope weights map model.keras FILE "
     "-o w.safetensors` converts its weights"),
    ("w.npy", b"\x93NUMPY\x01\x00", "a single numpy array, not a file of torch weights",
     "save the whole state dict as safetensors, with a name for every tensor"),
    ("w.onnx", b"\x08\x08\x12\x07pytorch", "an ONNX model, not a file of torch weights",
     "name it as SOURCE, and its own weights are used"),
    ("w.pt.gz", b"\x1f\x8b\x08", "a gzip archive, not a file of torch weights", UNPACK),
    ("w.json", b'{"layers": []}', "a JSON file, not a file of torch weights",
     "name the file of weights that belongs to it"),
    ("w.pkl", pickle.dumps({"a": 1}), "a Python pickle that `torch.save` did not write, not a file of torch weights",
     "write it with `torch.save(model.state_dict(), 'weights.pt')`"),
    ("w.pt", b"\x00\x01\x02\x03hello", "no weight file: its first bytes are `00 01 02 03 68 65 6c 6c`",
     "cnnscope reads `.safetensors`, and `.pt` or `.pth` written by `torch.save`"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "what", "hint"), OTHERS, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("read", [read_header, read_weights])
def test_files_that_are_something_else(
    tmp_path: Path, name: str, content: bytes, what: str, hint: str, read: Callable[[Path], object]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name, read) == ("E420", f"`{name}` is {what}", hint)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    missing = tmp_path / "w.pt"
    assert refused(missing) == ("E420", f"there is no file `{missing}`", None)
    assert refused(tmp_path) == (
        "E420", f"`{tmp_path}` is a folder, not a weight file", "name the file inside it",
    )  # fmt: skip


def zipped(path: Path, *members: str, compress: int = zipfile.ZIP_STORED, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", compress) as archive:
        for member in members:
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    ("members", "what"),
    [
        (("model.weights.h5", "config.json", "metadata.json"), "a Keras model"),
        (("a.npy", "b.npy"), "an archive of numpy arrays"),
        (("m/archive_format", "m/models/model.json"), "a `.pt2` exported program"),
        (("README",), "a zip archive without `data.pkl`"),
    ],
)
def test_zips_that_are_something_else(tmp_path: Path, members: tuple[str, ...], what: str) -> None:
    path = zipped(tmp_path / "w.pt", *members)
    assert refused(path)[:2] == ("E420", f"`w.pt` is {what}, not a file of torch weights")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_and_exported_programs(tmp_path: Path) -> None:
    model = nn.Conv2d(1, 2, 3)
    example = torch.ones(1, 1, 4, 4)
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(model, example), tmp_path / "script.pt")
    torch.export.save(torch.export.export(model, (example,)), tmp_path / "program.pt2")
    assert refused(tmp_path / "script.pt") == (
        "E420", "`script.pt` is a TorchScript archive, not a file of torch weights",
        "save its weights: `torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')`",
    )  # fmt: skip
    assert refused(tmp_path / "program.pt2") == (
        "E420", "`program.pt2` is a `.pt2` exported program, not a file of torch weights",
        "`cnnscope summary` takes it as a SOURCE, with its own weights",
    )  # fmt: skip


def test_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("w.pt"), io.BytesIO())
    assert refused(tmp_path / "w.tar") == ("E420", "`w.tar` is a tar archive, not a file of torch weights", UNPACK)


# -- torch files that are broken or hostile ----------------------------------------------------------------------------

AGAIN_SAVE = "download or save it again"


def test_truncated_zip(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pt")
    whole = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / "w.pt") == (
        "E421",
        "`w.pt` is damaged: its zip directory cannot be read, so it is probably truncated (File is not a zip file)",
        AGAIN_SAVE,
    )


def test_zip_bombs(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "w.pt", "w/data.pkl", compress=zipfile.ZIP_DEFLATED, content=bytes(10_000_000))
    assert bomb.stat().st_size < 20_000
    message = "`w.pt` is damaged: its zip members are compressed, and `torch.save` never compresses"
    assert refused(bomb) == ("E421", message, AGAIN_SAVE)


def test_a_storage_that_claims_more_than_its_member(tmp_path: Path) -> None:
    """torch's own header-only loading believes the pickle: the claimed shape would be reported as the file's."""
    torch.save({"a": torch.arange(6.0).reshape(2, 3)}, tmp_path / "ok.pt")
    with zipfile.ZipFile(tmp_path / "ok.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled = members["ok/data.pkl"]
    forged = pickled.replace(b"K\x06tq", b"K\xfftq").replace(b"K\x02K\x03", b"K\x05K\x33")
    assert forged != pickled
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        for name, content in (members | {"ok/data.pkl": forged}).items():
            archive.writestr(name, content)
    message = "`w.pt` is damaged: `a` claims 1,020 bytes that are not in the file"
    assert refused(tmp_path / "w.pt") == ("E421", message, AGAIN_SAVE)
    assert refused(tmp_path / "w.pt", read_weights)[:2][0] == "E421"


class Payload:
    """Unpickling this would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("zip_format", [True, False])
def test_pickles_with_code_are_refused_and_not_run(tmp_path: Path, zip_format: bool) -> None:
    target = tmp_path / "executed"
    torch.save({"a": Payload(target)}, tmp_path / "w.pt", _use_new_zipfile_serialization=zip_format)
    for read in (read_header, read_weights):
        assert refused(tmp_path / "w.pt", read) == (
            "E422", "`w.pt` is a pickle that would run code (`io.open`); it is not loaded",
            "where it was made, save the weights alone: `torch.save(model.state_dict(), 'weights.pt')`",
        )  # fmt: skip
    assert not target.exists()


def test_a_whole_pickled_module_is_read_without_its_classes(tmp_path: Path) -> None:
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False)))
    inner.register_buffer("grid", torch.ones(2), persistent=False)
    for saved in (inner, {"epoch": 3, "model": inner, "optimizer": {"lr": 0.1}}):
        torch.save(saved, tmp_path / "w.pt")
        state = read_weights(tmp_path / "w.pt")
        assert list(state) == list(inner.state_dict())
        assert all(torch.equal(state[key], value) for key, value in inner.state_dict().items())
        assert list(read_header(tmp_path / "w.pt").tensors) == list(state)


def test_a_module_that_names_functions_is_refused(tmp_path: Path) -> None:
    model = nn.Conv2d(1, 2, 3)
    model.act = torch.nn.functional.relu
    torch.save(model, tmp_path / "w.pt")
    code, message, _ = refused(tmp_path / "w.pt")
    assert code == "E422"
    assert "`torch.nn.functional.relu`" in message


def test_a_module_inside_itself_ends(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model._modules["again"] = model
    torch.save(model, tmp_path / "w.pt")
    assert list(read_weights(tmp_path / "w.pt")) == ["0.weight", "0.bias"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"epoch": 3, "G": STATE}, "`epoch` (int), `G` (dict)"),
        ({str(i): i for i in range(9)}, ", ".join(f"`{i}` (int)" for i in range(6)) + ", ..."),
        ({}, "an empty dict"),
        (torch.ones(3), "a Tensor"),
        ([torch.ones(3)], "a list"),
        ({"state_dict": {}}, "an empty dict"),
    ],
)
def test_no_state_dict(tmp_path: Path, content: object, what: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert refused(tmp_path / "w.pt") == (
        "E423", f"`w.pt` holds no state dict but {what}",
        "say which entry has the weights: `w.pt#G`" if "`G`" in what
        else "save the weights by themselves: `torch.save(model.state_dict(), 'weights.pt')`",
    )  # fmt: skip


def test_the_way_to_weights_deep_in_a_file_is_said(tmp_path: Path) -> None:
    torch.save({"state": {"a": {"G": STATE}}, "epoch": 3}, tmp_path / "w.pt")
    assert refused(tmp_path / "w.pt")[2] == "say which entry has the weights: `w.pt#state.a.G`"
    assert list(read_weights(f"{tmp_path / 'w.pt'}#state.a.G")) == list(STATE)


# -- safetensors -------------------------------------------------------------------------------------------------------


def safetensors(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def entry(first: int, last: int, shape: Any = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(last - first) // 4] if shape is None else shape, "data_offsets": [first, last]}


BROKEN: list[tuple[object, bytes, int | None, str]] = [
    ({"a": entry(0, 8)}, b"1234", None, "it is truncated: 8 bytes of tensors are announced, 4 are there"),
    ({"a": entry(0, 4)}, b"12345678", None,
     "it is longer than its header says: 4 bytes of tensors are announced, 8 are there"),
    ({}, b"", 5000, "its header should have 5,000 bytes but the file has 10"),
    ({}, b"", 2**63, "its header should have 9,223,372,036,854,775,808 bytes but the file has 10"),
    ({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12), None, "the data of `b` overlaps the one before it"),
    ({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12), None, "the data of `b` leaves a gap before it"),
    ({"a": entry(0, 8, [3])}, bytes(8), None, "`a` needs 12 bytes but its offsets are 0 to 8"),
    ({"a": entry(-4, 0, [1])}, b"", None, "`a` needs 4 bytes but its offsets are -4 to 0"),
    ({"a": entry(0, 4, [-1])}, bytes(4), None, "`a` has the impossible shape [-1]"),
    ({"a": entry(0, 4, [1], "F99")}, bytes(4), None, "`a` has the unknown type `F99`"),
    ({"a": [1]}, b"", None, "the header's entry for `a` needs dtype, shape and data_offsets"),
    ([1], b"", None, "its header is no JSON object"),
    (b'{"a": 1, "a": 2}', b"", None, "its header is no JSON object (a name occurs twice)"),
    (b"{" + b'"a":{' * 100_000, b"", None, "its header is no JSON object (nested too deeply)"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "data", "length", "why"), BROKEN, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("read", [read_header, read_weights])
def test_broken_safetensors(
    tmp_path: Path, header: object, data: bytes, length: int | None, why: str, read: Callable[[Path], object]
) -> None:
    path = safetensors(tmp_path / "w.safetensors", header, data, length)
    assert refused(path, read) == ("E421", f"`w.safetensors` is damaged: {why}", AGAIN_SAVE)


def test_short_safetensors(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\x01\x02\x03")
    message = "`w.safetensors` is damaged: 3 bytes are too few for a safetensors header"
    assert refused(tmp_path / "w.safetensors")[1] == message


# -- nothing but a diagnostic, whatever the bytes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pt", "old.pth", "w.safetensors"])
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_flipped_bytes_never_crash(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=name == "w.pt")
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    codes = set()
    for read in (read_header, read_weights):
        try:
            read(path)
        except CnnscopeError as error:
            codes |= {diagnostic.code for diagnostic in error.diagnostics}
    assert codes <= {"E420", "E421", "E422", "E423"}


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.safetensors"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    model = nn.Sequential(collections.OrderedDict(conv=nn.Conv2d(1, 2, 3), bn=nn.BatchNorm2d(2)))
    write_weights(model, tmp_path / name)
    assert {key: value.tolist() for key, value in read_weights(tmp_path / name).items()} == {
        key: value.tolist() for key, value in model.state_dict().items()
    }
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_tied_weights_keep_both_keys(tmp_path: Path, name: str) -> None:
    weight = torch.arange(4.0)
    write_weights({"a": weight, "b": weight, "half": weight[::2]}, tmp_path / name)
    assert {key: value.tolist() for key, value in read_weights(tmp_path / name).items()} == {
        "a": [0, 1, 2, 3], "b": [0, 1, 2, 3], "half": [0, 2],
    }  # fmt: skip


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"old")

    def fails(state: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(CnnscopeError, match=f"E405: cannot write `{path}`: no space left on device"):
        write_weights(STATE, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_suffix(tmp_path: Path) -> None:
    assert refused(tmp_path / "w.safetensor", lambda path: write_weights(STATE, path)) == (
        "E404", "`w.safetensor` has no known suffix", "did you mean `.safetensors`?",
    )  # fmt: skip
    assert refused(tmp_path / "w", lambda path: write_weights(STATE, path))[2] == "use `.safetensors`, `.pt` or `.pth`"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("new", [True, False])
def test_a_quantised_state_dict_is_not_called_damaged(tmp_path: Path, new: bool) -> None:
    quantised = torch.quantize_per_tensor(torch.ones(3, 3), 0.1, 0, torch.qint8)
    torch.save({"w": quantised}, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
    assert refused(tmp_path / "w.pt") == (
        "E420", "`w.pt` is a state dict with quantised tensors, not a file of torch weights",
        "save the weights of the network that it was quantised from",
    )  # fmt: skip
