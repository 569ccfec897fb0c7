"""One hospital: its data, partitions, teacher targets, device and rules.

In: `site.yaml` and the images it names. Out: patients for the computation at this site; nothing leaves from here.
"""
