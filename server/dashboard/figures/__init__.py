"""Figures of the dashboard: pure functions from numbers to SVG text, with the table that each was drawn from."""
