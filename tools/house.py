"""Checks what must never be in a file of this repository.

A clone must build anywhere: no file names the host of a package registry (each
machine has its own), and none names a folder of the machine it was written on.
Generated files stay out, and the root stays short enough to be read.

Called by `make check`. Looks at what git would commit: tracked files, and new
ones that are not ignored.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT_ENTRIES_CAP = 20

# Written in pieces, so that this file does not find itself.
REGISTRIES = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("yarnpkg", "com"),
    ("crates", "io"),
    ("rubygems", "org"),
    ("anaconda", "org"),
    ("maven", "org"),
    ("proxy.golang", "org"),
    ("sum.golang", "org"),
]
FOLDERS = ["work", "root"]

FORBIDDEN = {
    "names a package registry": re.compile(
        r"\b(?:" + "|".join(re.escape(".".join(parts)) for parts in REGISTRIES) + r")\b", re.IGNORECASE
    ),
    "names a folder of one machine": re.compile(r"(?<![\w.*}-])/(?:" + "|".join(FOLDERS) + r")/|\.\./" + "shared"),
}

GENERATED = re.compile(
    r"(?:^|/)(?:__pycache__|node_modules|\.venv|\.cache|dist|build|[^/]+\.egg-info|\.\w+_cache)/|\.(?:pyc|so|whl)$"
)


def faults(root: Path) -> list[str]:
    """One line for each rule that a file under the repository's root breaks."""
    paths = _candidates(root)
    entries = sorted({PurePosixPath(path).parts[0] for path in paths})
    found = [fault for path in paths for fault in _file_faults(root, path)]
    if len(entries) > ROOT_ENTRIES_CAP:
        found.append(f"{len(entries)} entries in the root, at most {ROOT_ENTRIES_CAP}: {' '.join(entries)}")
    return found


def _candidates(root: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in listing.split("\0") if path and (root / path).is_file())


def _file_faults(root: Path, path: str) -> Iterator[str]:
    if GENERATED.search(path):
        yield f"{path}: is generated"
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in FORBIDDEN.items():
            if pattern.search(line):
                yield f"{path}:{number}: {what}"


def main() -> int:
    """Print what was found; exit 1 if there is anything."""
    found = faults(Path(__file__).resolve().parent.parent)
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
