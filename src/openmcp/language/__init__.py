"""The small languages in which people write rules: globs, regular expressions, CEL.

Each is compiled here, once, and run on what strangers send: nothing in this folder can be
kept busy by a hostile text. Configuration checks with it what it loads, so that a fault
has its place; policy and inspection run it.
"""
