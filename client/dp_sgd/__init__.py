"""One private step: gradients of each patient, clipped, summed on a public grid, and noised.

In: models, patients' pixels and the study's public numbers. Out: noised sums, which alone may leave; a patient's own
gradient ends with the step.
"""
