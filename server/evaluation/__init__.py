"""After the last round: the student measured, audited, judged, reported and put on record.

In: a run's folder and its workspace. Out: summary, audit, report and records.
"""
