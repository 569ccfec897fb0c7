"""Figures with intervals: AUC and calibration on the public test set, and membership inference.

In: predictions and labels of public images, or signals of simulated patients. Out: numbers with 95 percent intervals.
"""
