"""What each page shows, as frozen values: pure functions over one connection, at most ten statements a page."""
