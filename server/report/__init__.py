"""report.html and the model card of one run.

In: a run's summary, audit and gate. Out: one HTML file, and the card as JSON and Markdown.
"""
