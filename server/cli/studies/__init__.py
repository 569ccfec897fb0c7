"""`rounds-hub study`, `runs`, `report` and `predict`: studies from the offer to the student.

In: what a person types at the hub. Out: parcels, submitted studies, reports and predictions in the hub's folder.
"""
