"""The audit dashboard: pages, a read-only API and the people who may use them, over the audit store.

It reads the store and nothing else of a study, and imports neither torch nor Flower.
"""
