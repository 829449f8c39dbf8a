"""Files to one immutable, fully validated `Snapshot`.

`snapshot.load` reads, validates and compiles; `sources/` watch for changes. Nothing
here acts on the outside: a stage that needs configuration gets it from the snapshot.
"""
