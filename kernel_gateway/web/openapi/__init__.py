"""The description of all routes as an OpenAPI document, put together of tables."""
