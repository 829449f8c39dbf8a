"""`openmcp mock`: a recording answers a client, as the servers and the gateway once did.

`recording` is what was said, `matching` chooses the answer to a request, `dressing` makes
it fit this client (fresh ids, no promises that a recording cannot keep), `application`
speaks HTTP.
"""
