"""Registries: names, lazy entries, entry points of installed packages, and what is wrong with some of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnnscope import registry
from cnnscope.entries import entry_points
from cnnscope.errors import CnnscopeError
from cnnscope.registry import Registry

PATTERN = "re:Pattern"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package on the path: its code, and its entry points of the group ``cnnscope.colours``."""
    before = set(sys.modules)
    monkeypatch.setattr(registry, "problems", [])

    def put(package: str, code: str, **points: str) -> Path:
        folder = tmp_path / package
        info = folder / f"{package}-2.1.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.1\n")
        lines = [f"{name} = {place}" for name, place in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[cnnscope.colours]", *lines]) + "\n")
        monkeypatch.syspath_prepend(str(folder))
        return folder / f"{package}.py"

    yield put
    for name in {"paint", "tubes", "shop"} & (set(sys.modules) - before):
        del sys.modules[name]


def colours(**built_in: str) -> Registry[object]:
    return Registry(
        "cnnscope.colours", "colour", built_in or {"red": "math:pi", "green": "math:e"}, form="numbers:Real"
    )


def refused(ask: Callable[[], object]) -> str:
    """Code, message and hint of the error that ``ask`` raises."""
    with pytest.raises(CnnscopeError) as caught:
        ask()
    (found,) = caught.value.diagnostics
    return f"{found.code}: {found.message}; {found.hint}"


def test_names_are_in_order_and_values_are_imported_when_asked_for() -> None:
    several = colours(red="math:pi", green="no_such_module:x", blue="math:inf")
    assert several.names() == ("red", "green", "blue")
    assert "green" in several
    assert several.find("blue") == float("inf")
    with pytest.raises(ModuleNotFoundError):  # a built-in entry that does not work is a bug of cnnscope
        several.find("green")


def test_an_unknown_name_is_answered_with_the_nearest_ones() -> None:
    assert refused(lambda: colours().find("gren")) == "E401: no colour is called `gren`; did you mean `green`?"
    assert refused(lambda: colours().find("x")) == "E401: no colour is called `x`; there are red, green"
    assert colours().get("x") is None


def test_values_are_added_by_call_and_by_decorator() -> None:
    several = Registry[Callable[[], int]]("cnnscope.verbs", "verb")

    @several.add("one")
    def one() -> int:
        return 1

    assert several.add("two", lambda: 2)() == 2
    assert [(name, verb()) for name, verb in several.items()] == [("one", 1), ("two", 2)]


def test_a_taken_name_is_an_error_that_names_both() -> None:
    several = colours()
    hint = "a name is given once: rename one of them, or uninstall its package"
    message = f"E412: the colour `red` exists twice: `math:pi` and `{__name__}:float`"
    assert refused(lambda: several.add("red", 1.0)) == f"{message}; {hint}"
    assert several.find("red") != 1.0


def test_a_value_of_another_form_is_refused() -> None:
    several = colours()
    message = "E413: the colour `red2` is not a `Real` but a str; this version of cnnscope takes a `numbers.Real`"
    assert refused(lambda: several.add("red2", "red")) == message
    functions = Registry[object]("cnnscope.verbs", "verb")
    message = "E413: the verb `go` is not a function but an int; this version of cnnscope takes a function"
    assert refused(lambda: functions.add("go", 3)) == message


def test_entry_points_come_after_what_is_built_in(install: Install) -> None:
    install("paint", "MAUVE = 3.5", mauve="paint:MAUVE")
    several = colours()
    assert several.names() == ("red", "green", "mauve")
    assert "paint" not in sys.modules
    assert several.find("mauve") == 3.5


def test_a_package_may_add_what_it_announces(install: Install) -> None:
    install(
        "paint", "import shop\nMAUVE = shop.SHOP.add('mauve', type('Mauve', (float,), {})(3.5))", mauve="paint:MAUVE"
    )
    several = colours()
    sys.modules["shop"] = type(sys)("shop")
    sys.modules["shop"].SHOP = several  # type: ignore[attr-defined]  # a module made here
    assert several.find("mauve") == 3.5
    assert several.names().count("mauve") == 1


def test_a_package_that_fails_says_where_and_breaks_nothing_else(install: Install) -> None:
    path = install("paint", "x = 1\nMAUVE = x / 0\n", mauve="paint:MAUVE")
    several = colours()
    assert refused(lambda: several.find("mauve")) == (
        "E411: the colour `mauve` of the package paint 2.1 cannot be imported: "
        "ZeroDivisionError: division by zero; install a version of paint 2.1 that fits, or uninstall it"
    )
    with pytest.raises(CnnscopeError) as caught:
        several.find("mauve")
    span = caught.value.diagnostics[0].span
    assert span is not None
    assert (span.file, span.line, span.column) == (str(path), 2, 1)
    assert [name for name, _ in several.items()] == ["red", "green"]
    assert [problem.diagnostics[0].code for problem in registry.problems] == ["E411"]
    assert [name for name, _ in several.items()] == ["red", "green"]
    assert len(registry.problems) == 1  # said once


def test_a_package_that_fails_halfway_leaves_nothing_behind(install: Install) -> None:
    install("paint", "import shop\nshop.SHOP.add('half', 0.5)\nraise OSError('no tube')", mauve="paint:MAUVE")
    several = colours()
    sys.modules["shop"] = type(sys)("shop")
    sys.modules["shop"].SHOP = several  # type: ignore[attr-defined]  # a module made here
    assert "OSError: no tube" in refused(lambda: several.find("mauve"))
    assert several.names() == ("red", "green", "mauve")


@pytest.mark.parametrize("code", ["from cnnscope.probes import Colour", "from cnnscope.errors import Colour"])
def test_a_package_for_an_older_cnnscope_is_known_by_what_it_imports(install: Install, code: str) -> None:
    install("paint", code, mauve="paint:MAUVE")
    text = refused(lambda: colours().find("mauve"))
    assert text.startswith(
        "E413: the colour `mauve` of the package paint 2.1 was written for another version of cnnscope: "
    )
    assert text.endswith("; install a version of paint 2.1 that fits, or uninstall it")


def test_a_package_for_an_older_cnnscope_is_known_by_the_form_of_its_value(install: Install) -> None:
    install("paint", "MAUVE = 'mauve'", mauve="paint:MAUVE")
    assert refused(lambda: colours().find("mauve")) == (
        "E413: the colour `mauve` of the package paint 2.1 is not a `Real` but a str; this version of cnnscope takes a "
        "`numbers.Real`; install a version of paint 2.1 that fits, or uninstall it"
    )


def test_an_entry_point_that_takes_a_built_in_name_is_left_out_and_told(install: Install) -> None:
    install("paint", "RED = 1.0", red="paint:RED")
    several = colours()
    assert several.find("red") != 1.0
    assert [str(problem) for problem in registry.problems] == [
        "E412: the colour `red` exists twice: `math:pi` and `paint:RED` of the package paint 2.1"
    ]


def test_a_name_of_two_packages_is_an_error_where_it_is_used(install: Install) -> None:
    install("paint", "MAUVE = 1.0", mauve="paint:MAUVE")
    install("tubes", "MAUVE = 2.0", mauve="tubes:MAUVE")
    several = colours()
    assert several.find("green")
    assert refused(lambda: several.find("mauve")).startswith(
        "E412: the colour `mauve` exists twice: `paint:MAUVE` of the package paint 2.1 and `tubes:MAUVE` of the "
        "package tubes 2.1; "
    )


def test_packages_without_entry_points_for_cnnscope_cost_no_import(tmp_path: Path) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[console_scripts]\ncnnscope = x:y\n")
    assert entry_points((str(tmp_path), str(tmp_path / "nowhere"))) == {}
