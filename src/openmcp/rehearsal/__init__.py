"""The stages run on recorded or written input: policies on trial, and recordings that answer clients.

There is no second implementation of anything here. Nothing is sent to a server but, where a
command is told to probe, what the gateway itself asks of it.
"""
