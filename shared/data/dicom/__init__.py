"""DICOM files as a reader at a light box sees them, and their labels.

In: files and the hospital's rules. Out: grey pixels and rows; headers never leave the hospital.
"""
