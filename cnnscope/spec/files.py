"""What comes with a spec from outside: the file itself, and input shapes that replace its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnscope.errors import CnnscopeError, Span
from cnnscope.ops.arguments import ArgumentError, Integers
from cnnscope.spec.marks import MAX_BYTES
from cnnscope.spec.problems import unknown
from cnnscope.spec.syntax import Document


def read_file(path: Path) -> bytes:
    """The bytes of a spec file, one more than are allowed at most; E109 if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file", "check the path") from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a folder", "name a file in it") from None
    except PermissionError:
        raise _unreadable(path, "you may not read this file", "check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise _unreadable(path, f"the file cannot be read: {error}", None) from None


def _unreadable(path: Path, message: str, hint: str | None) -> CnnscopeError:
    return CnnscopeError.of("E109", message, span=Span(str(path), 1, 1), hint=hint)


def input_shapes(
    document: Document, given: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> dict[str, tuple[int, ...]]:
    """Replacement shapes by input name; E205 for an unknown name, E203 for what is no shape."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(document.inputs) > 1:
            names = ", ".join(document.inputs)
            raise CnnscopeError.of("E203", f"the network has several inputs: {names}", hint="give each shape its name")
        given = {name: given for name in document.inputs}
    shapes = {}
    for name, shape in given.items():
        if name not in document.inputs:
            raise CnnscopeError(unknown("there is no input", name, document.inputs, None, code="E205"))
        try:
            shapes[name] = Integers(1).read(list(shape), None)
        except ArgumentError as error:
            raise CnnscopeError.of("E203", f"the shape of input `{name}`: {error.message}") from None
        if len(shapes[name]) > 4:
            message = f"the shape of input `{name}` has {len(shape)} numbers; leave the batch out"
            raise CnnscopeError.of("E203", message, hint="channels and at most three spatial sizes are read")
    return shapes
