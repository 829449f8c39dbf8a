"""Counts the work of a function instead of its time: the same number on a busy machine and on an idle one."""

import sys
from collections.abc import Callable
from typing import Any


def calls_of(function: Callable[[], object], *, most: int = sys.maxsize) -> int:
    """Return how many functions were called while `function` ran, those of C included.

    Raises: AssertionError as soon as there are more than `most`, so that what would not end does end.
    """
    count = 0

    def profile(_: Any, event: str, __: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1
            assert count <= most, f"more than {most} calls"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count
