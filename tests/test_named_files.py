"""What a user names as a file may be a pipe, a socket or a device: every reader refuses it, and none waits for it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnscope import files
from cnnscope.audits import outcomes, result
from cnnscope.errors import CnnscopeError
from cnnscope.nn import checkpoint, mapping
from cnnscope.pictures import read_picture
from cnnscope.sources import keras, onnx, resolve
from cnnscope.trained import loading
from cnnscope.trained.images import Sample, open_images

READERS: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("net.yaml", "E109", lambda path: resolve.load(str(path))),
    ("net.onnx", "E440", onnx.read_graph),
    ("net.keras", "E440", keras.read_graph),
    ("net.json", "E440", keras.read_graph),
    ("net.h5", "E440", keras.read_graph),
    ("weights.safetensors", "E420", checkpoint.read_header),
    ("weights.pt", "E420", checkpoint.read_weights),
    ("map.json", "E426", mapping.read_name_map),
    ("labels.txt", "E455", lambda path: loading.read_labels(path, 10)),
    ("image.png", "E606", read_picture),
    ("images.npz", "E460", open_images),
    ("images.tar", "E460", open_images),
    ("images.parquet", "E460", open_images),
    ("images", "E460", open_images),
    ("audit.json", "E475", result.load),
    ("outcomes.npz", "E475", outcomes.unpacked),
]


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """A reader that waits fails instead of stopping the tests."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError("a reader waits for a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has a short limit
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize(("name", "code", "read"), READERS, ids=[name for name, *_ in READERS])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (pipe, "it is a named pipe: write what comes through it to a file, and name that"),
        (link_to_device, "it is a device: name a file"),
        (listening, "it is a socket: name a file"),
    ],
)
def test_only_files_are_read(
    tmp_path: Path, name: str, code: str, read: Callable[[Path], Any], make: Callable[[Path], None], what: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(CnnscopeError) as caught:
        read(tmp_path / name)
    assert caught.value.diagnostics[0].code == code
    assert what in caught.value.diagnostics[0].message


def test_links_and_files_of_any_name_are_read(tmp_path: Path) -> None:
    plain = tmp_path / os.fsdecode(b"n\xff.txt")
    plain.write_bytes(b"content")
    (tmp_path / "link").symlink_to(plain)
    assert files.read_named(tmp_path / "link") == b"content"
    assert files.read_named(plain, 3) == b"con"


@pytest.mark.parametrize("ending", [".tar", ".parquet"])
def test_a_pipe_among_the_pieces_of_a_set_is_refused(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("webdataset" if ending == ".tar" else "pyarrow")
    (tmp_path / f"a{ending}").write_bytes(b"")
    os.mkfifo(tmp_path / f"0{ending}")
    with pytest.raises(CnnscopeError, match="it is a named pipe") as caught:
        open_images(tmp_path)
    assert caught.value.diagnostics[0].code == "E461"


@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_no_file_in_a_folder_of_images_is_left_out_and_said(tmp_path: Path, labelled: bool) -> None:
    inside = tmp_path / "a" if labelled else tmp_path
    inside.mkdir(exist_ok=True)
    good = inside / os.fsdecode(b"g\xff.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(good)
    os.mkfifo(inside / "pipe.png")
    (inside / "lost.jpg").symlink_to("nowhere")
    (inside / "zero.png").symlink_to("/dev/zero")
    found = open_images(tmp_path)
    assert [type(one) for one in found] == [Sample]
    assert len(found.sha256) == 64
    reasons = {Path(one.name).name: one.reason for one in found.skipped}
    assert set(reasons) == {"pipe.png", "lost.jpg", "zero.png"}
    assert reasons["pipe.png"].startswith("it is a named pipe")
    assert reasons["zero.png"].startswith("it is a device")
    assert reasons["lost.jpg"] == "no such file or directory"


def test_a_pipe_is_written_if_somebody_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out")
    with pytest.raises(CnnscopeError, match="nobody reads this named pipe") as caught:
        files.write_text(tmp_path / "out", "x")
    assert caught.value.diagnostics[0].code == "E405"
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    files.write_text(tmp_path / "out", "x")
    assert os.read(reader, 10) == b"x"
    os.close(reader)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_socket_is_not_written(tmp_path: Path) -> None:
    listening(tmp_path / "out")
    with pytest.raises(CnnscopeError, match="it is a socket"):
        files.write_text(tmp_path / "out", "x")
    assert (tmp_path / "out").is_socket()


def test_text_with_half_a_surrogate_pair_is_written_as_json_spells_it(tmp_path: Path) -> None:
    files.write_text(tmp_path / "out", '"é\udcff\ud800"')
    assert (tmp_path / "out").read_bytes() == '"é'.encode() + rb'\udcff\ud800"'
