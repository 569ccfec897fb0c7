"""Mechanisms, accountants and noise."""
