"""How the gateway itself is seen: metrics, the process log, and text that cannot forge a line.

Fed by everyone above, asked by the admin listener. Knows nothing of what it counts;
evidence about agents is written by `audit/`, not here.
"""
