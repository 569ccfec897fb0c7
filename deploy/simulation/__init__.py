"""Hospitals made on one machine: phantoms or public images dealt to sites, run by Flower's simulation.

In: a study and a file of sites. Out: a workspace, a run and its report; no hospital's data is ever here.
"""
