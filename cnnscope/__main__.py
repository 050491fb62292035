"""The program: ``python -m cnnscope``, and the command ``cnnscope``."""

import signal
import sys


def main() -> int:
    """Runs the program and returns its exit code.

    Before and after the command itself an interruption simply ends the process: there is nothing to clean up, and a
    traceback of imports would tell nobody anything.
    """
    by_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else the caller ignores it
    if by_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cnnscope.cli.app import main as run

    if by_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run()
    finally:
        if by_default:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
