"""Times as people write and read them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

_AGE: Final = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_ns(when: str, *, now: datetime | None = None) -> int:
    """Return nanoseconds since 1970 of an ISO 8601 time (UTC unless it says otherwise) or of an age (`8h` ago).

    Raises: click.BadParameter.
    """
    age = _AGE.fullmatch(when)
    try:
        if age is not None:
            at = (now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        else:
            at = datetime.fromisoformat(when)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"`{when}` is no time: write 2026-11-23T09:00, or an age such as 8h") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * 10**9


def shown(ts_ns: int) -> str:
    """Return a moment in UTC, to the millisecond."""
    seconds, rest = divmod(ts_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 10**6:03d}Z"


def lasted(seconds: float) -> str:
    """Return a duration with about three digits."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
