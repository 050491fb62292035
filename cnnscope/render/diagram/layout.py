"""Layout and drawing by Graphviz, in a child process with a time limit.

pygraphviz's wheels carry Graphviz with pango and cairo, so pip alone is enough; a system ``dot`` serves on request.
Graphviz in-process can hang or crash, hence the child. Fonts are matplotlib's DejaVu, found by a fontconfig file of
our own, so every machine draws the same; the PDF's creation date is taken out, so the bytes are the same every time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cnnscope.errors import CnnscopeError

Engine = Literal["wheel", "dot"]
FONT = "DejaVu Sans"
LIMIT_SECONDS = 30.0

_CHILD = """
import sys, pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot"))
"""


class LayoutTimeout(Exception):  # noqa: N818 - the standard library says Timeout too
    """Graphviz took longer than the limit; the caller may try a simpler figure."""


def draw(dot: str, form: str, *, engine: Engine | None = None, limit: float = LIMIT_SECONDS) -> bytes:
    """The picture of a DOT source as ``svg``, ``png``, ``pdf`` or Graphviz's ``json``.

    Raises `LayoutTimeout` past ``limit`` seconds and `CnnscopeError` where no engine is installed or it fails.
    """
    command = _command(engine or _default_engine(), form)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FONTCONFIG_FILE": str(_font_configuration(Path(folder)))}
        try:
            done = subprocess.run(command, input=dot.encode(), capture_output=True, timeout=limit, env=environment)
        except subprocess.TimeoutExpired:
            raise LayoutTimeout from None
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise CnnscopeError.of("E601", f"Graphviz could not draw the figure: {reason[0]}")
    return _scrubbed(done.stdout) if form == "pdf" else done.stdout


def _default_engine() -> Engine:
    if find_spec("pygraphviz"):
        return "wheel"
    if shutil.which("dot"):
        return "dot"
    raise CnnscopeError.of("E602", "no Graphviz to lay the figure out", hint="pip install 'pygraphviz>=2.0.4'")


def _command(engine: Engine, form: str) -> list[str]:
    if engine == "dot":
        program = shutil.which("dot")
        if program is None:
            raise CnnscopeError.of("E602", "no `dot` on the PATH", hint="leave out `--engine dot` to use pygraphviz")
        return [program, f"-T{form}"]
    return [sys.executable, "-c", _CHILD, form]


def fonts() -> Path:
    """The folder of matplotlib's DejaVu fonts."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise CnnscopeError.of("E603", "no fonts to write with", hint="pip install matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def _font_configuration(folder: Path) -> Path:
    path = folder / "fonts.conf"
    path.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
        f"<fontconfig><dir>{fonts()}</dir><cachedir>{folder}</cachedir></fontconfig>"
    )
    return path


def _scrubbed(pdf: bytes) -> bytes:
    """Without the moment it was made; the length stays, so the offsets inside hold."""
    return re.sub(rb"(/CreationDate \(D:)[^)]*", lambda m: m[1] + b"0" * (len(m[0]) - len(m[1])), pdf)
