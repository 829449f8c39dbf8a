"""Allow, deny or needs approval, and why; list filtering.

Pure: a decision input in, a decision out. No clock, no I/O, no state of its own, so
that recorded inputs can be decided again later.
"""
