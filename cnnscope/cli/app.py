"""The program: its commands, its exit codes, and how it reports errors.

Exit codes: 0 ok, 1 findings or a failed gate, 2 usage or bad input, 3 unsupported op under ``--strict`` or unsupported
change, 4 a failed control of an audit, 5 an audit with pieces missing, 70 a bug, 129, 130 and 143 ended
by SIGHUP, SIGINT and SIGTERM, 141 the reader of a pipe went away.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cnnscope import plugins, registry
from cnnscope._version import __version__
from cnnscope.cli import signals, streams
from cnnscope.cli.commands import COMMANDS, Commands, Plugins
from cnnscope.cli.output import Color
from cnnscope.cli.renamed import renamed
from cnnscope.errors import CnnscopeError, Diagnostic, missing_for, out_of_memory
from cnnscope.user_code import strangers

_COMPLETION = "_CNNSCOPE_COMPLETE"
"""Set where the shell asks for completions of what is typed: that is no time to run a plugin."""
EXAMPLES = """
 cnnscope summary resnet50                      what every layer computes, costs and sees
 cnnscope rf alexnet --unit conv5:6,6           which pixels one unit sees
 cnnscope diagram resnet50 -o resnet50.svg      the architecture as a picture
 cnnscope audit lenet5-digits -o reports/audit  how invariant a trained network is
 cnnscope attribute -o attributions.png         which pixels a prediction is due to"""
BUG = 70
INTERRUPTED = 130

app = typer.Typer(
    name="cnnscope",
    cls=Commands,
    help="The instrument panel for convolutional networks: what every layer computes, costs and sees.",
    epilog="Exit codes: 0 ok, 1 findings or a failed gate, 2 usage or bad input, 3 unsupported op with --strict or "
    "unsupported change, 4 failed control, 5 incomplete audit, 70 bug, 130 interrupt.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnnscope {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version.")] = False,
    _plugins: Plugins = None,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(EXAMPLES)
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code. It raises no exception."""
    try:
        with signals.heard(), streams.guarded():
            given, files = plugins.named(sys.argv[1:] if arguments is None else arguments)
            return _run(given, files)
    except streams.ReaderGoneError:
        return streams.BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except signals.Terminated as signal:
        return signal.exit_code


def _run(given: Sequence[str], files: Sequence[Path]) -> int:
    """The exit code of a command, after its error was reported."""
    words = given
    try:
        words = renamed(given)
        with plugins.plugins(files if _COMPLETION in os.environ else [*plugins.configured(Path()), *files]):
            code = app(words, prog_name="cnnscope", standalone_mode=False)
        sys.stdout.flush()
    except CnnscopeError as error:
        return _failed(error, words)
    except typer.TyperException as error:
        return _failed(_usage(error, words), words)
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except streams.ReaderGoneError:
        raise
    except Exception as error:  # noqa: BLE001  # the one place where bugs end up
        known = plugins.failure(error) or (missing_for(error) if isinstance(error, ImportError) else None)
        known = known or out_of_memory(error)
        return _failed(known, words) if known else _bug(error, words)
    finally:
        _warn()
    return code if isinstance(code, int) else 0


def _warn() -> None:
    """Says on stderr which entries of installed packages were left out, and why."""
    if registry.problems:
        from cnnscope.render import diagnostics

        for problem in registry.problems:
            print(diagnostics.text(problem, _lines).replace("error[", "warning[", 1), file=sys.stderr)
        registry.problems.clear()


def _usage(error: typer.TyperException, words: Sequence[str]) -> CnnscopeError:
    """A wrong command line as an error of the form that all others have."""
    complaint = error.format_message().replace("'", "`").replace("Value error, ", "") or "missing command"
    message, _, guess = complaint.partition(". Did you mean ")
    context = getattr(error, "ctx", None)
    inner = context.command_path.split()[1:] if context else []
    verb = next((word for word in words if word in COMMANDS), None)
    path = " ".join(["cnnscope", *(inner or ([verb] if verb else []))])
    hint = f"did you mean {guess}" if guess else f"`{path} --help` shows what there is"
    unknown = re.fullmatch("No such command `(.+)`\\.?", message)
    first = next((word for word in words if not word.startswith("-")), "")
    source = _source(first, alike=not guess) if unknown and unknown[1] == first else None
    if source is not None:
        hint = f"did you mean `cnnscope summary {source}`?"
    return CnnscopeError(Diagnostic("E400", message[:1].lower() + message[1:].rstrip("."), hint=hint))


def _source(word: str, *, alike: bool) -> str | None:
    """The word if it is a SOURCE; with ``alike`` the model of the zoo with the nearest name; else None."""
    from cnnscope.sources import zoo
    from cnnscope.sources.resolve import resolve

    try:
        resolve(word)
    except CnnscopeError:
        near = difflib.get_close_matches(word.lower(), zoo.names(), n=1)
        return near[0] if near and alike else None
    return word


def _failed(error: CnnscopeError, words: Sequence[str]) -> int:
    from cnnscope.render import diagnostics

    if "--debug" in words:
        traceback.print_exception(error)
    if _option(words, "-f", "--format") == "json":
        import json

        print(json.dumps(diagnostics.document(error), indent=2, ensure_ascii=False), file=sys.stderr)
    elif _color(words).on(sys.stderr):
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True, force_terminal=True, soft_wrap=True)
        console.print(Text.assemble(*diagnostics.segments(error, _lines)), highlight=False, end="")
    else:
        print(diagnostics.text(error, _lines), file=sys.stderr)
    return error.exit_code


def _lines(name: str) -> Sequence[str]:
    """The lines of the file, or of standard input, that a diagnostic points into."""
    from cnnscope.render import diagnostics
    from cnnscope.sources import spec_file

    if name == spec_file.STDIN:
        return diagnostics.text_lines(spec_file.standard_input())
    return diagnostics.file_lines(name)


def _bug(error: Exception, words: Sequence[str]) -> int:
    if "--debug" in words:
        traceback.print_exception(error)
    others = list(dict.fromkeys(strangers.values()))
    cause = f"This is a bug in {' or '.join(others)}, or in cnnscope" if others else "This is a bug in cnnscope"
    print(
        f"internal error: {type(error).__name__}: {error}\n"
        f"{cause}. Please report it with the command and what it prints with --debug.",
        file=sys.stderr,
    )
    return BUG


def _color(words: Sequence[str]) -> Color:
    wanted = _option(words, "", "--color") or ""
    return Color(wanted) if wanted in Color.__members__ else Color.auto


def _option(words: Sequence[str], short: str, long: str) -> str | None:
    """The value of an option as written. It must be known even if the command line is wrong."""
    for word, following in zip(words, [*words[1:], None], strict=False):
        if word in (short, long):
            return following
        if word.startswith(f"{long}="):
            return word.removeprefix(f"{long}=")
        if short and word.startswith(short) and not word.startswith("--"):
            return word.removeprefix(short)
    return None
