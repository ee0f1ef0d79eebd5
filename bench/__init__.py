"""One benchmark harness, schema-checked results."""
