"""What an exchange costs: OpenMCP beside nginx, haproxy and Envoy, measured in one run.

`python -m bench` runs everything and writes `docs/performance.md`; `python -m bench --quick` takes less than a minute.
"""
