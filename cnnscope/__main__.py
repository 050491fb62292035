"""``python -m cnnscope``."""

import sys

from cnnscope.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
