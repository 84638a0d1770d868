"""What the server says of its own paths: an OpenAPI document, and a page for people."""
