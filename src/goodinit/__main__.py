"""``python -m goodinit``: the command line."""

import sys

from goodinit.cli import main

if __name__ == "__main__":
    sys.exit(main())
