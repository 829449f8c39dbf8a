"""What a file is at one moment, cheap to compare: how changes are noticed without reading.

Taken by the loader just before it reads, compared by the sources that watch.
"""

import os
from pathlib import Path

Stamp = tuple[int, ...]
"""Device, inode, size and times; empty for what does not exist."""


def stamp(path: Path) -> Stamp:
    """Return the stamp of the file behind the path, following symbolic links."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
