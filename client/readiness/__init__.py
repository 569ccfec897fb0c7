"""`rounds-site check`: what is to be repaired before a site takes part, line by line.

In: `site.yaml`, keys, ledger, data and the hub's certificate. Out: findings on this terminal; nothing leaves but the
greeting that any client of the hub sends.
"""
