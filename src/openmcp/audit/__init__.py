"""The evidence: what every exchange was, who asked, what was decided and what came of it.

`recorder` is what the gateway uses; `record` is the schema of a line; `writer` numbers,
chains and writes the lines on a thread of its own; `sinks/` keep them. Knows no policy and
no configuration, and sends nothing to anybody.
"""
