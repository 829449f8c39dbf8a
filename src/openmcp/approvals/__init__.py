"""Asks humans, and remembers the answer for a set time."""
