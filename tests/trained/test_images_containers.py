"""WebDataset tars and parquet files."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from pictures import encoded, grey, noise

from cnnscope.errors import CnnscopeError
from cnnscope.trained.images import Sample, Skipped, open_images

pa = pytest.importorskip("pyarrow")
pytest.importorskip("webdataset")


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def parquet(path: Path, **columns: object) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def refusal(path: Path) -> tuple[str, str, str | None]:
    with pytest.raises(CnnscopeError) as caught:
        list(open_images(path))
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.hint


def test_members_of_one_name_belong_together(tmp_path: Path) -> None:
    members = {
        "a/0.png": encoded(noise(0)), "a/0.cls": b"3\n", "a/1.cls": b"1", "a/1.jpg": encoded(noise(1), "JPEG"),
        "a/2.json": b"{}", "a/3.png": encoded(noise(3)), "a/3.jpg": encoded(noise(4), "JPEG"), "README": b"?",
    }  # fmt: skip
    opened = open_images(tar(tmp_path / "x.tar", members))
    assert [(entry.name, getattr(entry, "label", None)) for entry in opened] == [
        ("x.tar/a/0.png", 3), ("x.tar/a/1.jpg", 1), ("x.tar/a/2", None), ("x.tar/a/3.png", None),
    ]  # fmt: skip
    assert (len(opened), opened.labelled) == (4, True)
    assert opened.skipped == (
        Skipped("x.tar/README", "its name has no ending"), Skipped("x.tar/a/3.jpg", "another image has its name"),
    )  # fmt: skip


def test_a_folder_of_tars_has_a_shard_a_tar(tmp_path: Path) -> None:
    for name, count in (("b", 2), ("a", 3)):
        tar(tmp_path / f"{name}.tar", {f"{i}.png": encoded(grey(i)) for i in range(count)})
    opened = open_images(tmp_path)
    assert [(shard.name, shard.count, shard.random_access) for shard in opened.shards] == [
        ("a", 3, False), ("b", 2, False),
    ]  # fmt: skip
    assert [entry.name for entry in opened.shards[0].read([0, 2])] == ["a.tar/0.png", "a.tar/2.png"]


def test_damage_inside_a_tar_is_counted_and_a_damaged_tar_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"0.png": encoded(grey(1)), "1.png": b"", "2.jpg": b"a text"})
    first, *others = open_images(path)
    assert isinstance(first, Sample)
    assert others == [Skipped("x.tar/1.png", "it is empty"), Skipped("x.tar/2.jpg", "it is no image of a known format")]
    path.write_bytes(path.read_bytes()[:700])
    code, message, hint = refusal(path)
    assert (code, hint) == ("E461", "is it a whole tar file?")
    assert message.startswith(f"cannot read the images in `{path}`: ")


def test_a_name_that_comes_twice_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for _ in range(2):
            content = encoded(grey(1))
            info = tarfile.TarInfo("0.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert refusal(path)[0] == "E461"


def test_columns_of_bytes_and_of_structs_are_images(tmp_path: Path) -> None:
    contents = [encoded(noise(i)) for i in range(3)]
    plain = parquet(tmp_path / "a.parquet", image=contents, label=[2, 0, -1])
    nested = parquet(tmp_path / "b.parquet", img=[{"bytes": c, "path": "x"} for c in contents], fine_label=[2, 0, -1])
    for path in (plain, nested):
        found = [entry for entry in open_images(path) if isinstance(entry, Sample)]
        assert [(entry.name, entry.label) for entry in found] == [
            (f"{path.name}/0", 2), (f"{path.name}/1", 0), (f"{path.name}/2", None),
        ]  # fmt: skip
    assert len(open_images(tmp_path)) == 6


def test_rows_are_found_across_batches(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", image=[encoded(grey(1))] * 150, label=list(range(150)))
    (shard,) = open_images(path).shards
    found = [(entry.name, getattr(entry, "label", None)) for entry in shard.read([1, 63, 64, 149])]
    assert found == [(f"a.parquet/{i}", i) for i in (1, 63, 64, 149)]


def test_rows_without_bytes_are_counted(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", image=[encoded(grey(1)), None, b""])
    assert list(open_images(path))[1:] == [
        Skipped("a.parquet/1", "it has no bytes"), Skipped("a.parquet/2", "it is empty"),
    ]  # fmt: skip


def test_parquet_without_images_or_damaged_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", text=["x"])
    assert refusal(path)[:2] == ("E461", f"cannot read the images in `{path}`: it has no column `image` but text")
    path.write_bytes(b"PAR1 no more")
    assert refusal(path)[0] == "E461"


@pytest.mark.parametrize(("ending", "package"), [("tar", "webdataset"), ("parquet", "pyarrow")])
def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, package: str) -> None:
    (tmp_path / f"x.{ending}").write_bytes(b"")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"tar": "webdataset", "parquet": "parquet"}[ending]

    def missing(name: str, *rest: object) -> object:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=package)
        return original(name, *rest)

    import builtins

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", missing)
    assert refusal(tmp_path / f"x.{ending}") == ("E414", f"needs {package}: pip install 'cnnscope[{extra}]'", None)
