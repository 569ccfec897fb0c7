"""What was spent on this hospital's patients, append-only and chained, with its head kept apart.

In: the public parameters of each release, before data is sampled. Out: totals and refusals; a statement of spends may
leave where `site.yaml` allows it.
"""
