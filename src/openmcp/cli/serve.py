"""`openmcp serve`: the configuration of a file, given to the node that runs it."""

import os
from importlib import import_module
from pathlib import Path

from openmcp.cli.report import print_warnings
from openmcp.config.sources.file import FileSource


def run(config: Path) -> int:
    """Run the gateway until it is asked to stop.

    Raises: Misconfigured if the configuration cannot be used.
    """
    source = FileSource([config], env=os.environ)
    loaded = source.load()
    print_warnings(loaded.warnings)
    node = import_module("openmcp.server.node")
    node.run(source, loaded)
    return 0
