"""`python -m openmcp`: the same as the command `openmcp`."""

import sys

from openmcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
