"""Small facts with a lifetime, shared by all workers and nodes: sessions today, reviews and grants later.

`store.Store` is the interface, `memory` and `sqlite` implement it, `opening` makes one
from a URL. `keys` spells the namespaces; `sealing` makes and opens values that travel
outside. Used by routing and approvals; knows nothing of what its values mean.
"""
