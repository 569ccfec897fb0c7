"""A request answered: checked, charged, computed, let out, committed.

In: requests of the hub, and the site's patients. Out: releases of the declared kinds and fixed codes, by `egress`
alone.
"""
