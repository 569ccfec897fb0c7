"""The audit dashboard: pages, a read-only API and export over the audit store; no torch, no Flower."""
