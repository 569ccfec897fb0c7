"""Flower's SuperNode kept running, and what is put in order at its start.

In: `site.yaml` and the hub's certificate. Out: a process that dials the hub; nothing leaves here that
`client.rounds.egress` did not let out.
"""
