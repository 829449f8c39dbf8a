"""The Model Context Protocol as pure functions over bytes and values.

Used by every stage. Holds no socket, no policy and no configuration, and imports
nothing of the house but `errors`.
"""
