"""Layout and drawing by Graphviz, in a child process with a time limit.

pygraphviz's wheels carry Graphviz with pango and cairo, so pip alone is enough; a system ``dot`` serves on request.
Graphviz in-process can hang or crash, hence the child. Fonts are matplotlib's DejaVu, found by a fontconfig file of
our own, so every machine draws the same; the PDF's creation date is taken out, so the bytes are the same every time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cnnscope.errors import CnnscopeError, missing

Engine = Literal["wheel", "dot"]
FONT = "DejaVu Sans"
LIMIT_SECONDS = 30.0
"""What one call of Graphviz may take where the caller names no other limit; read at each call."""

_CHILD = """
import json, sys, pygraphviz
for source in json.load(sys.stdin):
    picture = pygraphviz.AGraph(string=source).draw(format=sys.argv[1], prog="dot")
    sys.stdout.buffer.write(len(picture).to_bytes(8) + picture)
"""


class LayoutTimeout(Exception):  # noqa: N818 - the standard library says Timeout too
    """Graphviz took longer than the limit; the caller may try a simpler figure."""


def draw(dot: str, form: str, *, engine: Engine | None = None, limit: float | None = None) -> bytes:
    """The picture of a DOT source as ``svg``, ``png``, ``pdf`` or Graphviz's ``json``.

    Raises `LayoutTimeout` past ``limit`` seconds (`LIMIT_SECONDS` if None) and `CnnscopeError` where no engine is
    installed or it fails.
    """
    (picture,) = draw_all([dot], form, engine=engine, limit=limit)
    return picture


def draw_all(
    dots: Sequence[str], form: str, *, engine: Engine | None = None, limit: float | None = None
) -> list[bytes]:
    """`draw` for several sources: with the wheel in one child, whose start costs more than most figures."""
    used = engine or _default_engine()
    command = _command(used, form)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FONTCONFIG_FILE": str(_font_configuration(Path(folder)))}
        if used == "wheel":
            pictures = list(_split(_run(command, json.dumps(dots), environment, limit)))
        else:
            pictures = [_run(command, dot, environment, limit) for dot in dots]
    return [_scrubbed(picture) if form == "pdf" else picture for picture in pictures]


def _run(command: Sequence[str], source: str, environment: Mapping[str, str], limit: float | None) -> bytes:
    seconds = LIMIT_SECONDS if limit is None else limit
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        raise LayoutTimeout from None
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise CnnscopeError.of("E601", f"Graphviz could not draw the figure: {reason[0]}")
    return done.stdout


def _split(output: bytes) -> Iterator[bytes]:
    """What the child wrote: each picture behind its length."""
    while output:
        end = 8 + int.from_bytes(output[:8])
        yield output[8:end]
        output = output[end:]


def _default_engine() -> Engine:
    if find_spec("pygraphviz"):
        return "wheel"
    if shutil.which("dot"):
        return "dot"
    raise missing("pygraphviz")


def _command(engine: Engine, form: str) -> list[str]:
    if engine == "dot":
        program = shutil.which("dot")
        if program is None:
            raise CnnscopeError.of("E602", "no `dot` on the PATH", hint="leave out `--engine dot` to use pygraphviz")
        return [program, f"-T{form}"]
    return [sys.executable, "-c", _CHILD, form]


def fonts() -> Path:
    """The folder of matplotlib's DejaVu fonts; E414 where matplotlib is not installed."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise missing("matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def _font_configuration(folder: Path) -> Path:
    path = folder / "fonts.conf"
    path.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
        f"<fontconfig><dir>{fonts()}</dir><cachedir>{folder}</cachedir></fontconfig>"
    )
    return path


def _scrubbed(pdf: bytes) -> bytes:
    """The PDF without its creation time; its length does not change, so the offsets inside stay right."""
    return re.sub(rb"(/CreationDate \(D:)[^)]*", lambda m: m[1] + b"0" * (len(m[0]) - len(m[1])), pdf)
