"""What a person looks at before approving code or a study, and how a patient is withdrawn.

In: parcels, app bundles and studies of the hub. Out: text for people here, kept copies, and one answer file that the
hub may read.
"""
