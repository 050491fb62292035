"""Plugins: Python files that the user names, what they add, and what is wrong with some of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnscope import plugins
from cnnscope.cli.app import main
from cnnscope.errors import CnnscopeError
from cnnscope.ops import REGISTRY
from cnnscope.plugins import plugin

SWOOSH = '''
from cnnscope.ops.base import Op

class Swoosh(Op, tag="swoosh", category="activation"):
    """y = x * sigmoid(2 x)."""
'''
SPEC = "cnnscope: 1\nname: Net\ninput: {shape: [3, 8, 8]}\nlayers:\n  - swoosh\n"
HELP = "  = help: "


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a plugin and a spec that needs it; afterwards nothing of it is left in this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swoosh.py").write_text(SWOOSH)
    (tmp_path / "net.yaml").write_text(SPEC)
    modules, path = set(sys.modules), list(sys.path)
    yield tmp_path
    for file in list(plugins._loaded):
        plugins._forget(file)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.path[:] = path


def said(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command, and what it says on stderr."""
    code = main(words.split())
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "summary net.yaml --plugin swoosh.py", "--plugin swoosh.py summary net.yaml",
        "summary --plugin=swoosh.py net.yaml", "shapes --plugin swoosh.py net.yaml --plugin swoosh.py -q",
        "ops swoosh --plugin ./swoosh.py", "--plugin swoosh.py rf net.yaml", "expand net.yaml --plugin swoosh.py",
    ],
)  # fmt: skip
def test_a_plugin_is_named_before_or_after_the_verb(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 0
    shown = capsys.readouterr()
    assert "swoosh" in shown.out
    assert "swoosh" not in REGISTRY  # a command leaves nothing behind


def test_every_command_takes_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    from cnnscope.cli.commands import COMMANDS

    for name in (*COMMANDS.names(), "weights check"):
        assert main([*name.split(), "--help"]) == 0
        assert ("--plugin" in capsys.readouterr().out) == (name != "weights"), name  # that one has commands of its own


def test_a_file_that_the_user_does_not_name_is_not_run(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "swoosh.py").write_text("raise SystemExit('it was run')")
    code, text = said("summary net.yaml", capsys)
    assert code == 2
    assert text.startswith("error[E201]: unknown layer type `swoosh`\n")


def test_what_follows_two_dashes_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said("summary -- --plugin=swoosh.py", capsys)
    assert (code, text.splitlines()[0]) == (2, "error[E430]: `--plugin=swoosh.py` does not exist")


BAD = [
    ("nowhere.py", None, "error[E415]: the plugin `nowhere.py` does not exist\n"),
    ("folder", "", "error[E415]: the plugin `folder` is a folder\n" + HELP + "name a Python file in it\n"),
    ("ops.txt", SWOOSH, "error[E415]: the plugin `ops.txt` is not a Python file\n" + HELP
     + "the name of a plugin ends in `.py`\n"),
    ("bad.py", "x = 1\ndef f(:\n", "error[E416]: the plugin `bad.py` cannot be imported: invalid syntax\n"
     " --> bad.py:2:7\n  |\n2 | def f(:\n  |       ^\n"),
    ("bad.py", "import no_such_package\n", "error[E416]: the plugin `bad.py` cannot be imported: "
     "ModuleNotFoundError: No module named 'no_such_package'\n --> bad.py:1:1\n  |\n1 | import no_such_package\n"
     "  | ^^^^^^^^^^^^^^^^^^^^^^\n"),
    ("bad.py", "def f(x):\n    return 1 / x\n\nf(0)\n", "error[E416]: the plugin `bad.py` cannot be imported: "
     "ZeroDivisionError: division by zero\n --> bad.py:2:5\n  |\n2 |     return 1 / x\n  |     ^^^^^^^^^^^^\n"
     "note: called in `<module>`\n --> bad.py:4:1\n  |\n4 | f(0)\n  | ^^^^\n"),
    ("bad.py", "raise SystemExit(3)\n", "error[E416]: the plugin `bad.py` cannot be imported: SystemExit: 3\n"
     " --> bad.py:1:1\n  |\n1 | raise SystemExit(3)\n  | ^^^^^^^^^^^^^^^^^^^\n"),
    ("bad.py", "from cnnscope.probes import Metric\n", "error[E413]: the plugin `bad.py` was written for another "
     "version of cnnscope: ModuleNotFoundError: No module named 'cnnscope.probes'\n --> bad.py:1:1\n  |\n"
     "1 | from cnnscope.probes import Metric\n  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"),
    ("bad.py", "def helper():\n    pass\n", "error[E417]: the plugin `bad.py` adds nothing\n" + HELP
     + "a plugin adds at least one entry, such as an op: see docs/plugins.md\n"),
    ("bad.py", "", "error[E417]: the plugin `bad.py` adds nothing\n" + HELP
     + "a plugin adds at least one entry, such as an op: see docs/plugins.md\n"),
    ("bad.py", SWOOSH.replace('tag="swoosh"', 'tag="relu"'), "error[E412]: the layer type `relu` exists twice: "
     "`cnnscope.ops.activation:ReLU` and `bad:Swoosh`\n --> bad.py:4:1\n  |\n"
     '4 | class Swoosh(Op, tag="relu", category="activation"):\n'
     "  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
     + HELP + "a name is given once: rename one of them, or uninstall its package\n"),
    ("bad.py", SWOOSH.replace('category="activation"', 'category="activations"'), "error[E413]: the layer type "
     "`swoosh` has the unknown category `activations`\n --> bad.py:4:1\n  |\n"
     '4 | class Swoosh(Op, tag="swoosh", category="activations"):\n'
     "  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n" + HELP + "did you mean `activation`?\n"),
    ("bad.py", "from cnnscope.sources.resolve import KINDS\nKINDS.add('hub', r'hub:.*')\n", "error[E413]: the kind of "
     "source `hub` is not a `SourceKind` but a str\n --> bad.py:2:1\n  |\n2 | KINDS.add('hub', r'hub:.*')\n"
     "  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
     + HELP + "this version of cnnscope takes a `cnnscope.sources.resolve.SourceKind`\n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[f"{n} {i}" for i, (n, *_) in enumerate(BAD)])
def test_a_plugin_that_does_not_work_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (folder / name).mkdir() if name == "folder" else (folder / name).write_text(content)
    assert said(f"summary lenet5 --plugin {name}", capsys) == (2, message)
    assert "bad" not in sys.modules


def test_two_plugins_with_the_same_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "again.py").write_text(SWOOSH)
    code, text = said("summary lenet5 --plugin swoosh.py --plugin again.py", capsys)
    assert code == 2
    first = "error[E412]: the layer type `swoosh` exists twice: `swoosh:Swoosh` and `again:Swoosh`"
    assert text.startswith(f"{first}\n --> again.py:4:1\n")
    assert "swoosh" not in REGISTRY


def test_an_option_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said("summary lenet5 --plugin", capsys)
    assert (code, text) == (2, "error[E400]: option `--plugin` requires an argument\n" + HELP
                            + "`cnnscope summary --help` shows what there is\n")  # fmt: skip


def test_a_failure_while_a_plugin_is_used_is_the_plugins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "swoosh.py").write_text(SWOOSH + "    def elementwise(self, x):\n        return x[0].numel // 0\n")
    code, text = said("summary net.yaml --plugin swoosh.py", capsys)
    assert (code, text) == (
        2,
        "error[E419]: the plugin `swoosh.py` failed: ZeroDivisionError: integer division or modulo by zero\n"
        " --> swoosh.py:7:9\n  |\n7 |         return x[0].numel // 0\n  |         ^^^^^^^^^^^^^^^^^^^^^^\n"
        + HELP + "this is no bug in cnnscope: `--debug` shows the traceback for its author\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "value", "kind", "wanted"),
    [
        ("output", "3", "an int", "it returns a `cnnscope.ir.Value`"),
        ("output", "None", "a NoneType", "it returns a `cnnscope.ir.Value`"),
        ("weights", "[('weight', (3,))]", "a list", "it returns shapes by role"),
        ("buffers", "'mean'", "a str", "it returns shapes by role"),
    ],
)
def test_an_op_returns_what_it_should(
    method: str, value: str, kind: str, wanted: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "swoosh.py").write_text(SWOOSH + f"    def {method}(self, x):\n        return {value}\n")
    assert said("summary net.yaml --plugin swoosh.py", capsys) == (
        2,
        f"error[E413]: the layer type `swoosh` of the plugin `swoosh.py`: its `{method}` returned {kind}\n"
        + HELP + wanted + "\n",
    )  # fmt: skip


def test_a_result_that_cnnscope_cannot_use_may_be_a_bug_of_the_plugin(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "swoosh.py").write_text(SWOOSH + "    def elementwise(self, x):\n        return 'many'\n")
    code, text = said("summary net.yaml --plugin swoosh.py", capsys)
    assert (code, text) == (
        70,
        "internal error: TypeError: unsupported operand type(s) for +: 'int' and 'str'\n"
        "This is a bug in the plugin `swoosh.py`, or in cnnscope. "
        "Please report it with the command and what it prints with --debug.\n",
    )


def test_a_kind_of_source_or_of_images_returns_what_it_should(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.py").write_text(
        "from cnnscope.sources.resolve import KINDS, SourceKind\n"
        "from cnnscope.trained import images\n"
        "KINDS.add('mine', SourceKind('mine', 'mine:x', r'mine:.*', lambda *_: 3))\n"
        "images.KINDS.add('heap', images.Kind('a heap', lambda path: path.suffix == '.heap', lambda path: None))\n"
    )
    (folder / "x.heap").write_text("")
    assert said("summary mine:x --plugin mine.py", capsys) == (
        2,
        "error[E413]: the kind of source `mine` returned an int\n"
        + HELP + "its loader returns a `cnnscope.sources.resolve.Loaded`\n",
    )  # fmt: skip
    assert said("audit -q --data x.heap -o out/ --plugin mine.py", capsys) == (
        2,
        "error[E413]: the kind of image set `a heap` returned a NoneType for `x.heap`\n"
        + HELP + "it opens a `cnnscope.trained.images.sample.ImageSet`\n",
    )  # fmt: skip


def test_a_plugin_named_like_a_package_hides_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "jinja2.py").write_text(SWOOSH)
    hidden = sys.modules.pop("jinja2", None)
    try:
        assert main(["summary", "net.yaml", "--plugin", "jinja2.py"]) == 0
        assert "jinja2" not in sys.modules
    finally:
        if hidden is not None:
            sys.modules["jinja2"] = hidden
    assert "swoosh1" in capsys.readouterr().out


def test_a_folder_named_like_a_plugin_is_no_module(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere" / "swoosh").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder / "elsewhere"))
    (folder / "again.py").write_text(SWOOSH)
    code, text = said("summary lenet5 --plugin swoosh.py --plugin again.py", capsys)
    assert code == 2
    assert "exists twice: `swoosh:Swoosh` and `again:Swoosh`" in text


def test_a_plugin_finds_the_modules_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tools").mkdir()
    (folder / "tools" / "beside_it.py").write_text("TAG = 'swish'\n")
    (folder / "tools" / "mine.py").write_text(
        "from beside_it import TAG\n" + SWOOSH.replace('tag="swoosh"', "tag=TAG") + "print('hello')\n"
    )
    assert main(["ops", "swish", "--plugin", "tools/mine.py"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("swish: y = x * sigmoid(2 x)")
    assert shown.err == "hello\n"  # stdout is for results


NO_LIST = f'`pyproject.toml` sets `plugins` to no list of files\n{HELP}write `plugins = ["tools/my_ops.py"]`\n'


# -- pyproject.toml -------------------------------------------------------------------------------------------------


def test_pyproject_names_plugins_relative_to_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pyproject.toml").write_text('[tool.cnnscope]\nplugins = ["swoosh.py"]\n')
    assert main(["summary", "net.yaml"]) == 0
    shown = capsys.readouterr()
    assert "swoosh1" in shown.out
    assert shown.err == "note: pyproject.toml names the plugin swoosh.py, which is run\n"


def test_only_the_current_folder_is_searched(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text('[tool.cnnscope]\nplugins = ["swoosh.py"]\n')
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    code, text = said("summary ../net.yaml", capsys)  # neither a parent folder nor the folder of the spec
    assert (code, text.splitlines()[0]) == (2, "error[E201]: unknown layer type `swoosh`")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[tool.cnnscope]\nplugins = 'a.py'\n", NO_LIST),
        ("[tool.cnnscope]\nplugins = [1]\n", NO_LIST),
        ("[tool.cnnscope]\nplugin = ['a.py']\n", "`pyproject.toml` sets `plugin` in `[tool.cnnscope]`, which does not "
         "exist\n" + HELP + "did you mean `plugins`?\n"),
        ("[tool]\ncnnscope = 3\n", "`pyproject.toml` has a value `tool.cnnscope`, not a table `[tool.cnnscope]`\n"),
        ("[tool.cnnscope]\nplugins = [\n", "`pyproject.toml` is not TOML: invalid value (at end of document)\n"),
    ],
)  # fmt: skip
def test_a_pyproject_that_cannot_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (folder / "pyproject.toml").write_text(content)
    assert said("summary lenet5 -q", capsys) == (2, f"error[E418]: {message}")


@pytest.mark.parametrize("content", ["[project]\ndependencies = ['cnnscope']\n", "[project\n", "cnnscope ]["])
def test_a_pyproject_that_is_for_others_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (folder / "pyproject.toml").write_text(content)
    assert said("summary lenet5 -q", capsys) == (0, "")


def test_a_plugin_of_pyproject_that_does_not_exist(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pyproject.toml").write_text('[tool.cnnscope]\nplugins = ["gone.py"]\n')
    note = "note: pyproject.toml names the plugin gone.py, which is run\n"
    assert said("summary lenet5", capsys) == (2, note + "error[E415]: the plugin `gone.py` does not exist\n")


# -- in Python ------------------------------------------------------------------------------------------------------


def test_a_plugin_in_python_stays_and_is_run_again_when_named_again(folder: Path) -> None:
    import cnnscope

    cnnscope.plugin("swoosh.py")
    assert cnnscope.load("net.yaml").graph.nodes[0].op.tag == "swoosh"
    first = REGISTRY.find("swoosh")
    (folder / "swoosh.py").write_text(SWOOSH + "    is_view = True\n")
    plugin(folder / "swoosh.py")
    assert REGISTRY.find("swoosh") is not first
    assert REGISTRY.find("swoosh").is_view


def test_a_plugin_that_fails_halfway_leaves_nothing_behind(folder: Path) -> None:
    (folder / "swoosh.py").write_text(SWOOSH + "raise OSError('gone')\n")
    with pytest.raises(CnnscopeError, match=r"E416: the plugin `swoosh.py` cannot be imported: OSError: gone"):
        plugin("swoosh.py")
    assert "swoosh" not in REGISTRY
    assert "swoosh" not in sys.modules
