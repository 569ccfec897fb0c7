"""What crosses between hub and site: requests, releases, their kinds, forms and sizes.

In: values of one side. Out: bytes of a declared form for the other; nothing else may leave a hospital.
"""
