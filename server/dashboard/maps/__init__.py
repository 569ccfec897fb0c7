"""Pictures of mean maps, and what may be said of them: pure functions, numpy and Pillow alone."""
