"""A package, so that the server of these tests ends with them and not with all tests."""
