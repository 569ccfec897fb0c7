"""What the hub makes of public images: the cohort, the teacher, the warm start, the baselines.

In: public images. Out: a workspace of named weights; no hospital's data is here.
"""
