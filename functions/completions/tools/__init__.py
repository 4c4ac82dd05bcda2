"""Tool calls: collected until whole, checked against their schemas, put right."""
