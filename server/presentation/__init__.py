"""Names, numbers, sentences and charts that report and dashboard share.

In: frozen values. Out: text and SVG.
"""
