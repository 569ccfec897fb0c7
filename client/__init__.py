"""The hospital's side: everything here runs at a site, next to images that never leave."""
