"""The nouns that all stages speak: frozen, poor in behaviour, free of I/O.

A stage takes some of these values and returns others; that is all it knows of its
neighbours. May import `mcp` (a message is a noun too) and nothing above.
"""
