"""What the hospital has approved: app bundles and studies, decided by people, signed, and kept in order.

In: decisions of the hospital's people. Out: a chained record of decisions, and signatures; of it only signed
decisions on code and study reach the hub.
"""
