"""The bodies of records: in the line, beside the log, or made again from the line that they differ from."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from openmcp.audit.reading.changes import changed
from openmcp.audit.record import BodyRef, Line
from openmcp.mcp.message import Json

FOLDER: Final = "bodies"


class BodyMissing(Exception):
    """A body that the log names is not there, or is not what it was."""


class Bodies:
    """The bodies of a log."""

    def __init__(self, files: Iterable[Path]) -> None:
        """`files`: the log's files; long bodies lie beside them."""
        self._folders = tuple(dict.fromkeys(path.parent / FOLDER for path in files))

    def raw(self, line: Line) -> bytes:
        """Return the body as it was kept; empty where none is. Raises: BodyMissing."""
        if line.body_ref is not None:
            return self.spilled(line.body_ref)
        return bytes(line.body)

    def of(self, line: Line, base: Line | None) -> bytes:
        """Return the body of a record that may only tell how it differs from `base`. Raises: BodyMissing."""
        if line.body or line.body_ref is not None or base is None:
            return self.raw(line)
        before = self.raw(base)
        if not before or not line.changes:
            return before
        try:
            value: Json = msgspec.json.decode(before)
            return msgspec.json.encode(changed(value, line.changes))
        except (ValueError, RecursionError) as error:
            raise BodyMissing(f"the changes of {line.id} cannot be made again: {error}") from error

    def spilled(self, ref: BodyRef) -> bytes:
        """Return a long body. Raises: BodyMissing."""
        name = ref.sha256
        if len(name) != 64 or not name.isalnum():
            raise BodyMissing("the name of the body is no digest")
        for folder in self._folders:
            path = folder / name[:2] / f"{name}.json"
            if path.is_file():
                body = path.read_bytes()
                if sha256(body).hexdigest() != name:
                    raise BodyMissing(f"{path}: the body was changed")
                return body
        raise BodyMissing(f"the body {name} is not beside the log")
