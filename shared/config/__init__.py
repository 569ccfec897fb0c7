"""Settings that people type: the study and `site.yaml`, with one meaning for each value.

In: YAML, JSON and `--set`. Out: frozen values, or one sentence with field, value, what is allowed and what to do.
"""
