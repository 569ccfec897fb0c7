"""Teacher, student, explainer and the compact model made of the last two."""
