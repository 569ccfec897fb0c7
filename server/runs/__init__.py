"""One run's folder: its files, checkpoints, summary and journal.

In: what rounds and evaluation have to keep. Out: files that a run resumes from and reports read.
"""
