"""Plugins: Python files of the user that add ops, sources, methods and more to the registries.

A plugin is code, so it is run only where the user names it: with ``--plugin FILE.py``, with `cnnscope.plugin`, or in
the ``pyproject.toml`` of the folder that the command is run in:

    [tool.cnnscope]
    plugins = ["tools/my_ops.py"]

Paths are relative to that file. No other file is searched for plugins, and no network or spec can name one.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnscope import registry
from cnnscope.errors import CnnscopeError, Diagnostic, did_you_mean
from cnnscope.files import check_regular, os_reason
from cnnscope.registry import Addition
from cnnscope.user_code import broken, import_file, raised, shown, strangers, user_frames, whose

PYPROJECT = "pyproject.toml"
OPTION = "--plugin"

_loaded: dict[Path, tuple[str, list[Addition]]] = {}
"""The module of each plugin that is in force, and what it has added."""


def plugin(path: str | Path) -> None:
    """Runs a Python file that adds ops, sources, methods or other entries, as ``--plugin`` does on the command line.

    What the file adds can be used until Python ends. A file that was loaded before is run again, in place of what it
    added then.

    `CnnscopeError`: E415 where it is no Python file, E416 where it cannot be imported, E417 where it adds nothing, E412
    where it adds a name that is taken, E413 where it was written for another version of cnnscope.
    """
    file = Path(path)
    _forget(file.resolve())
    _loaded[file.resolve()] = _run(file)


@contextmanager
def plugins(paths: Sequence[str | Path]) -> Iterator[None]:
    """Inside, the entries of these plugins can be used, each file once; afterwards they are gone again."""
    for module in set(strangers) - set(sys.modules):  # plugins of an earlier command
        del strangers[module]
    new = list(dict.fromkeys(resolved for path in paths if (resolved := Path(path).resolve()) not in _loaded))
    try:
        for path in paths:
            if Path(path).resolve() in new and Path(path).resolve() not in _loaded:
                plugin(path)
        yield
    finally:
        for file in reversed(new):
            _forget(file)


def _forget(file: Path) -> None:
    module, added = _loaded.pop(file, ("", []))
    sys.modules.pop(module, None)
    for addition in reversed(added):
        addition.undo()


def _run(path: Path) -> tuple[str, list[Addition]]:
    what = f"the plugin `{path}`"
    _check_file(path, what)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # for the modules beside it, which hide no others
    try:
        with registry.recording() as added, redirect_stdout(sys.stderr):
            module = import_file(path)
    except CnnscopeError as error:
        raise _at_its_line(error) from error
    except (Exception, SystemExit) as error:
        raise broken(error, what, code="E416") from error
    if not added:
        del sys.modules[module.__name__]
        hint = "a plugin adds at least one entry, such as an op: see docs/plugins.md"
        raise CnnscopeError.of("E417", f"{what} adds nothing", hint=hint)
    strangers[module.__name__] = what
    return module.__name__, added


def _check_file(path: Path, what: str) -> None:
    if path.is_dir():
        raise CnnscopeError.of("E415", f"{what} is a folder", hint="name a Python file in it")
    if not path.exists():
        raise CnnscopeError.of("E415", f"{what} does not exist")
    try:
        check_regular(path)
    except OSError as error:
        raise CnnscopeError.of("E415", f"{what} cannot be read: {os_reason(error)}") from None
    if path.suffix != ".py" or not path.is_file():
        raise CnnscopeError.of("E415", f"{what} is not a Python file", hint="the name of a plugin ends in `.py`")
    try:
        path.read_bytes()
    except OSError as error:
        raise CnnscopeError.of("E415", f"{what} cannot be read: {os_reason(error)}") from None


def _at_its_line(error: CnnscopeError) -> CnnscopeError:
    """A refusal of cnnscope with the line of the plugin that led to it."""
    places = [span for span, _ in user_frames(error.__traceback__)]
    return CnnscopeError(*(replace(d, span=d.span or (places[-1] if places else None)) for d in error.diagnostics))


# -- where plugins are named ----------------------------------------------------------------------------------------


def named(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The words of a command line without its plugins, and the plugins; an option without a value stays."""
    end = words.index("--") if "--" in words else len(words)
    rest, found = list[str](), list[Path]()
    before = iter(words[:end])
    for word in before:
        option, equals, value = word.partition("=")
        if option != OPTION:
            rest.append(word)
        elif equals:
            found.append(Path(value))
        elif (following := next(before, None)) is None:
            rest.append(word)
        else:
            found.append(Path(following))
    return [*rest, *words[end:]], found


def configured(folder: Path) -> list[Path]:
    """The plugins that the ``pyproject.toml`` of a folder names, each said on stderr; none where there is no such file.

    E418 where its ``[tool.cnnscope]`` cannot be read.
    """
    file = folder / PYPROJECT
    try:
        content = file.read_bytes() if file.is_file() else b""
    except OSError as error:
        raise _refused(f"cannot be read: {os_reason(error)}") from None
    if b"cnnscope" not in content:
        return []
    try:
        settings = _settings(tomllib.loads(content.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        if b"tool.cnnscope" not in content:  # it is not for cnnscope, so it is no concern of this command
            return []
        raise _refused(f"is not TOML: {str(error)[:1].lower()}{str(error)[1:]}") from None
    for name in settings:
        print(f"note: {PYPROJECT} names the plugin {name}, which is run", file=sys.stderr)
    return [Path(shown(str((folder / name).resolve()))) for name in settings]


def _settings(document: dict[str, Any]) -> list[str]:
    tools = document.get("tool", {})
    table = tools.get("cnnscope", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise _refused("has a value `tool.cnnscope`, not a table `[tool.cnnscope]`")
    unknown = next((key for key in table if key != "plugins"), None)
    if unknown is not None:
        hint = did_you_mean(unknown, ["plugins"]) or "the only setting is `plugins`"
        raise _refused(f"sets `{unknown}` in `[tool.cnnscope]`, which does not exist", hint)
    names = table.get("plugins", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _refused("sets `plugins` to no list of files", 'write `plugins = ["tools/my_ops.py"]`')
    return names


def _refused(reason: str, hint: str | None = None) -> CnnscopeError:
    return CnnscopeError(Diagnostic("E418", f"`{PYPROJECT}` {reason}", hint=hint))


def failure(error: BaseException) -> CnnscopeError | None:
    """E419 for an error that code of others raised while cnnscope used it; None where it is cnnscope's own."""
    author, trace = whose(error)
    if author is None:
        return None
    hint = "this is no bug in cnnscope: `--debug` shows the traceback for its author"
    return raised(error.with_traceback(trace), f"{author} failed", code="E419", hint=hint)
