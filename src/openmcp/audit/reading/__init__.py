"""Reads the audit log back: files to lines, lines to flows, flows to what a person can follow; and proves the log.

Pure: nothing is written but to an unnamed spool, nothing is asked of a running gateway.
Used by the `flow` and `mock` commands, by rehearsal and by the console. Everything here
streams, so that a log of many gigabytes needs no more memory than its flows.
"""
