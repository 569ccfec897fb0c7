"""`rounds-hub store`, `feed`, `dashboard`, `people` and `tokens`: the audit store and who may read it.

In: what a person types at the hub. Out: text on that terminal, and changes in the audit store.
"""
