"""Options as data: groups shared by the command line and Python, and former names that still work."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
from typer.testing import CliRunner

import cnnscope
from cnnscope.cli.flat import flat
from cnnscope.cli.renamed import RENAMED, renamed
from cnnscope.options.group import Option, fields, group, takes

ROOT = Path(__file__).resolve().parents[1]


@group("Light")
class Light:
    """Two options."""

    colour: Annotated[str, Option("Its colour.")] = "red"
    bright: Annotated[bool, Option("Whether it dazzles.")] = False


@group("Place")
class Place:
    """A required option and one that is a list on the command line."""

    room: Annotated[int, Option("Number of the room.", min=1)]
    names: Annotated[tuple[str, ...], Option("Who is there.", flags=("--name", "-n"), kind=list[str] | None)] = ()


class Lamp:
    @takes(Light)
    def shine(self, light: Light) -> str:
        """How it shines."""
        return f"{light.colour} {light.bright}"


def test_a_function_of_groups_becomes_a_function_of_their_options() -> None:
    import typer

    seen = []

    def shine(where: Place, light: Light, times: int = 1) -> None:
        seen.append((where, light, times))

    app = typer.Typer()
    app.command()(flat(shine, colour="Which colour."))
    done = CliRunner().invoke(app, ["--room", "3", "-n", "a", "--name", "b", "--bright", "--times", "2"])
    assert done.exit_code == 0, done.output
    assert seen == [(Place(room=3, names=["a", "b"]), Light(bright=True), 2)]  # type: ignore[arg-type]  # as typer gives them
    assert CliRunner().invoke(app, ["--room", "3"]).exit_code == 0
    assert seen[1] == (Place(room=3), Light(), 1)
    assert CliRunner().invoke(app, []).exit_code == 2
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Which colour." in shown
    assert "Place" in shown


def test_two_groups_that_share_an_option_are_refused_at_definition() -> None:
    @group("Else")
    class Other:
        colour: Annotated[str, Option("Another colour.")] = "blue"

    def both(a: Light, b: Other) -> None: ...

    def beside(light: Light, colour: str = "green") -> None: ...

    with pytest.raises(TypeError, match="`both`: two groups have an option `colour`"):
        flat(both)
    with pytest.raises(TypeError, match="`beside`: two groups have an option `colour`"):
        flat(beside)
    with pytest.raises(TypeError, match="`Both`: two groups have an option `colour`"):

        @group("Both")
        class Both(Light, Other): ...

    with pytest.raises(TypeError, match="`Again`: two groups have an option `bright`"):

        @group("Again")
        class Again(Light):
            bright: Annotated[bool, Option("Something else.")] = True


def test_two_options_that_share_a_flag_are_refused_at_definition() -> None:
    @group("Else")
    class Other:
        dark: Annotated[bool, Option("The opposite.", flags=("--bright",))] = False

    def both(a: Light, b: Other) -> None: ...

    with pytest.raises(TypeError, match="`both`: `dark` and `bright` are both written `--bright`"):
        flat(both)


def test_a_field_without_an_option_is_refused() -> None:
    with pytest.raises(TypeError, match="`size` has no `Option`"):

        @group("Bare")
        class Bare:
            size: int = 0


def test_methods_take_the_fields_of_a_group_as_keywords() -> None:
    assert Lamp().shine(colour="blue") == "blue False"
    with pytest.raises(TypeError, match=r"shine\(\) has no option `color`; did you mean `colour`\?"):
        Lamp().shine(color="blue")  # type: ignore[call-arg]  # that is the point
    assert str(inspect.signature(Lamp.shine)) == "(self, *, colour: str = 'red', bright: bool = False) -> str"
    assert "colour: Its colour." in str(Lamp.shine.__doc__)


@pytest.mark.parametrize("function", ["summary", "shapes", "params", "flops", "memory"])
def test_functions_have_the_options_of_methods(function: str) -> None:
    ours, method = getattr(cnnscope, function), getattr(cnnscope.Model, function)
    names = list(inspect.signature(ours).parameters)
    assert names == [
        "source",
        "input",
        "set",
        "example",
        "trace_batch",
        *list(inspect.signature(method).parameters)[1:],
    ]
    assert ours.__doc__ == method.__doc__
    with pytest.raises(TypeError, match="did you mean `level`"):
        ours("lenet5", levl="op")


def test_former_keywords_still_work_and_warn() -> None:
    with pytest.warns(FutureWarning, match=r"`batch` of memory\(\) is now `batch_size`"):
        old = cnnscope.load("lenet5").memory(batch=4)  # type: ignore[call-arg]  # that is the point
    assert old.to_dict() == cnnscope.memory("lenet5", batch_size=4).to_dict()


@pytest.mark.parametrize("one", RENAMED, ids=lambda one: one.old)
def test_former_options_still_work_and_say_so_once(one, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    end = "/" * one.folder
    for verb in one.verbs:
        assert renamed([verb, "x", one.old, "2", f"{one.old}=3"]) == [
            verb,
            "x",
            one.new,
            f"2{end}",
            f"{one.new}=3{end}",
        ]
        assert capsys.readouterr().err == f"note: `{one.old}` is now called `{one.new}`\n"
    assert renamed(["other", one.old, "2"]) == ["other", one.old, "2"]
    assert renamed([one.verbs[0], "--", one.old]) == [one.verbs[0], "--", one.old]
    assert capsys.readouterr().err == ""


def test_groups_are_frozen() -> None:
    assert [one.name for one in fields(Light)] == ["colour", "bright"]
    with pytest.raises(AttributeError):
        Light().colour = "blue"  # type: ignore[misc]  # that is the point


def verbs() -> dict[str, list[str]]:
    """The parameters of every command, those of the groups of commands too."""
    import typer

    from cnnscope.cli.commands import COMMANDS

    found = {}
    for name, verb in COMMANDS.items():
        functions = [one.callback for one in verb.registered_commands] if isinstance(verb, typer.Typer) else [verb]
        for function in functions:
            assert function is not None
            found[f"{name} {function.__name__}"] = list(inspect.signature(function).parameters)
    return found


def test_all_verbs_have_one_vocabulary() -> None:
    without_source = ("kernels", "report", "compare", "zoo", "ops", "schema")
    for verb, options in verbs().items():
        assert "output" in options, verb
        if verb.split()[0] not in without_source:
            assert {"input", "set"} <= set(options), verb
        former = {one.old[2:] for one in RENAMED if verb.split()[0] in one.verbs}
        assert not {"batch", "out", "layers", "plot"} & set(options), verb
        assert not former & set(options), verb
    for one in RENAMED:
        for verb in one.verbs:
            assert one.new[2:].replace("-", "_") in verbs()[f"{verb} {verb}"]


def test_names_are_repeated_or_separated_by_commas() -> None:
    from cnnscope.options.running import names

    assert names("c1") == names(["c1"]) == ("c1",)
    assert names("c1, c3") == names(["c1", "c3"]) == names(["c1,c3", "c1"]) == ("c1", "c3")
    assert names(()) == ()


def test_an_option_under_both_names_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(cnnscope.CnnscopeError, match="`--batch` and `--batch-size` are the same option"):
        renamed(["summary", "lenet5", "--batch", "2", "--batch-size=3"])


@pytest.mark.slow
def test_type_checkers_know_the_options(tmp_path: Path) -> None:
    file = tmp_path / "asked.py"
    file.write_text(
        "import cnnscope\n"
        "reveal_type(cnnscope.audit('lenet5-digits', limit=3, layer='c1').exit_code)\n"
        "reveal_type(cnnscope.load('lenet5').summary(level='op'))\n"
        "cnnscope.audit('lenet5-digits', limit='three')\n"
        "cnnscope.attribute('lenet5-digits', input=(1, 32, 32), methdo='lrp')\n"
    )
    words = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(file)]
    said = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT).stdout
    assert 'asked.py:2: note: Revealed type is "int"' in said
    assert 'asked.py:3: note: Revealed type is "cnnscope.render.layers.LayerReport"' in said
    assert 'asked.py:4: error: Argument "limit" to "__call__"' in said
    assert 'asked.py:5: error: Unexpected keyword argument "methdo"' in said


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (lambda: cnnscope.summary("lenet5", level="blok"), "`level` is 'blok', not layer or op", None),
        (lambda: cnnscope.memory("lenet5", dtype="flot16"), "`dtype` is 'flot16', not float32, float16, bfloat16 or "
         "float64", "did you mean `float16`?"),
        (lambda: cnnscope.diagram("lenet5", heat="mac"), "`heat` is 'mac', not macs, params or none",
         "did you mean `macs`?"),
        (lambda: cnnscope.memory("lenet5", batch_size=0), "`batch_size` is 0, not a number of at least 1", None),
        (lambda: cnnscope.memory("lenet5", batch_size="4"), "`batch_size` is '4', not a number of at least 1", None),
        (lambda: cnnscope.kernels(size=40), "`size` is 40, not a number from 2 to 31", None),
        (lambda: cnnscope.audit("lenet5-digits", limit=0), "`limit` is 0, not a number of at least 1", None),
        (lambda: cnnscope.export("lenet5", to="onx"), "no export is called `onx`", "did you mean `onnx`?"),
        (lambda: cnnscope.export("lenet5", to="tflite"), "no export is called `tflite`",
         "there are pytorch, onnx, spec, json"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(call: Callable[[], object], message: str, hint: str | None) -> None:
    with pytest.raises(cnnscope.CnnscopeError) as caught:
        call()
    (found,) = caught.value.diagnostics
    assert (found.code, found.message, found.hint) == ("E400", message, hint)


def test_a_text_alone_is_a_list_of_one() -> None:
    with pytest.raises(cnnscope.CnnscopeError, match="no metric is called `kapa`"):
        cnnscope.audit("lenet5-digits", limit=4, fail_under="translation.kapa=0.5")


def test_a_warning_names_the_line_of_the_caller() -> None:
    for old in (lambda: cnnscope.memory("lenet5", batch=4), lambda: cnnscope.load("lenet5").memory(batch=4)):  # type: ignore[call-arg]  # that is the point
        with pytest.warns(FutureWarning) as caught:
            old()
        assert {warning.filename for warning in caught} == {__file__}


def test_help_is_aligned() -> None:
    lines = str(cnnscope.audit.__doc__).splitlines()
    assert not [line for line in lines if line.startswith(" ")]


def test_results_are_one_short_line() -> None:
    found = (cnnscope.export("lenet5", to="pytorch"), cnnscope.page("lenet5"), cnnscope.audit("lenet5-digits", limit=4))
    assert [repr(one) for one in found] == [
        "<Text of lenet-5 (pytorch): print it, or write(path)>",
        "<Page of lenet-5 (html): print it, or write(path)>",
        "<Audit of LeNet-5 on digits: print it, or write(path)>",
    ]
