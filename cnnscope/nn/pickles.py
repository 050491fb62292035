"""What a pickle would call, found by reading its opcodes. Nothing is unpickled.

A pickle is a program for a small stack machine; `pickletools` of the standard library has its opcodes. Functions enter
by name, from the opcodes ``GLOBAL`` and ``INST`` or from two strings on the stack (``STACK_GLOBAL``), so the stack and
the memo are followed for strings and marks; every other object is a placeholder.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

MOST = 64_000_000
"""Bytes of a pickle that are read. Tensors are stored beside the pickle, not in it."""
_STANDARD = {*sys.stdlib_module_names, "__builtin__", "copy_reg", "posix", "nt"}
"""Modules of the standard library on any system, and two that have another name in Python 2."""
PICKLES = 5
"""Pickles that torch wrote one after the other before 1.6: magic number, version, system, the object, keys."""
_MARK, _OTHER = object(), object()
_PLAIN = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib\.\w+|datetime\.\w+|uuid\.UUID|decimal\.Decimal|fractions\.Fraction"
    r"|collections\.\w+|typing\.\w+|copy_?reg\._reconstructor|enum\.\w+"
    r"|builtins\.(object|bool|int|float|complex|str|bytes|bytearray|tuple|list|dict|set|frozenset|slice|range)"
    r"|numpy\.(_?core\.multiarray\.(scalar|_reconstruct)|dtype|ndarray|bool_?|u?int\d+|float\d+|complex\d+|str_|bytes_)"
    r"|numpy\._core\.numeric\._frombuffer|numpy\.core\.numeric\._frombuffer|numpy\.random\._pickle\.\w+"
)
"""Classes of the standard library that only hold data, and numpy's ways to make a number, an array, a random state."""


def calls(path: Path) -> list[str]:
    """The functions and classes, by full name, that the pickles in a file of any kind refer to, beyond those of plain
    tensors; [] for a file without a pickle.
    """
    found: dict[str, None] = {}
    for file in _pickles(path):
        for name in referred(file):
            found[name] = None
    return [name for name in found if name.replace("__builtin__.", "builtins.") not in _harmless()]


def is_quantised(path: Path) -> bool:
    """Whether a file has quantised tensors, which torch can only make with their values."""
    return any("torch._utils._rebuild_qtensor" in referred(file) for file in _pickles(path))


def commands(names: Iterable[str]) -> list[str]:
    """Those of the names that are more than classes which hold data: of the standard library all but a few, of other
    packages whatever is not spelled like a class.
    """
    return [name for name in names if not _holds_data(name.replace("__builtin__.", "builtins."))]


def _holds_data(name: str) -> bool:
    if _PLAIN.fullmatch(name):
        return True
    package, _, rest = name.partition(".")
    own = rest.rpartition(".")[2]
    # `__main__` is the training script itself, although the standard library has a module of this name
    foreign = package == "__main__" or package not in _STANDARD
    return foreign and "?" not in name and own.lstrip("_")[:1].isupper()


def referred(file: BinaryIO) -> list[str]:
    """The full names of all globals in up to `PICKLES` pickles, up to the first byte that is no opcode.

    The oldest pickles have no header, so a text may look like the start of one; those count only if they are complete.
    """
    whole, names = file.read(1) == b"\x80", []
    file.seek(0)
    for _ in range(PICKLES):
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        try:
            for opcode, argument, _ in pickletools.genops(file):
                name = _step(opcode, argument, stack, memo)
                names += [name] if name is not None else []
        except (ValueError, OverflowError, MemoryError, struct.error):  # what was found before it counts
            break
        whole = True
    return names if whole else []


def _step(opcode: pickletools.OpcodeInfo, argument: Any, stack: list[Any], memo: dict[Any, Any]) -> str | None:
    """Takes one opcode on the stack, and returns the name of a global that it refers to."""
    top = stack[-1] if stack else _OTHER
    match opcode.name:
        case "GLOBAL" | "INST":
            name: str | None = ".".join(argument.split(" ", 1))
        case "STACK_GLOBAL":
            parts = [part if isinstance(part, str) else "?" for part in stack[-2:]]
            name = ".".join(parts)
        case "EXT1" | "EXT2" | "EXT4":
            name = f"copyreg extension {argument}"
        case _:
            name = None
    match opcode.name:
        case "PUT" | "BINPUT" | "LONG_BINPUT":
            memo[int(argument)] = top
        case "MEMOIZE":
            memo[len(memo)] = top
        case "GET" | "BINGET" | "LONG_BINGET":
            stack.append(memo.get(int(argument), _OTHER))
        case "DUP":
            stack.append(top)
        case "MARK":
            stack.append(_MARK)
        case _:
            _moved(opcode, argument, stack)
    return name


def _moved(opcode: pickletools.OpcodeInfo, argument: Any, stack: list[Any]) -> None:
    """What any other opcode takes from the stack and leaves there."""
    before = opcode.stack_before
    if pickletools.markobject in before:
        while stack and stack.pop() is not _MARK:
            pass
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        if stack:
            stack.pop()
    stack += [argument if isinstance(argument, str) and opcode.stack_after == [kind] else _OTHER
              for kind in opcode.stack_after]  # fmt: skip


def _pickles(path: Path) -> Iterator[BinaryIO]:
    """The pickles in a file: members of a zip or of torch's oldest tar files, or the file itself."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith((".pkl", ".pickle")):
                    with archive.open(member) as file:
                        yield io.BytesIO(file.read(MOST))
    elif path.stat().st_size > 512 and tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            for entry in tar:
                inside = tar.extractfile(entry) if entry.isfile() else None
                if inside is not None and entry.name in ("pickle", "storages", "tensors", "./pickle"):
                    yield io.BytesIO(inside.read(MOST))
    else:
        with path.open("rb") as file:
            yield io.BytesIO(file.read(MOST))


def _harmless() -> set[str]:
    """What torch calls when it reads weights alone: tensors, storages, dtypes, ordered dicts."""
    from torch._weights_only_unpickler import _get_allowed_globals

    return set(_get_allowed_globals())
