"""What a released student tells of who trained it, measured on simulated hospitals.

In: a finished demo. Out: membership.json beside its report.
"""
