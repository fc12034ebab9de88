"""A package, so that its tests find one another, and its fixtures end with them."""
