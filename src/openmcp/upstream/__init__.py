"""Sends a `Permitted` to a replica and yields what comes back.

Called by the gateway, and through it by everything the gateway itself sends. Knows
nothing of agents, policies or records: what may be sent was decided before.
"""
