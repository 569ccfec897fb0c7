"""What the page of explanations shows: maps, regions, sites' maps, reference images.

In: records of audits in the store. Out: values for the templates.
"""
