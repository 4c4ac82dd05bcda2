"""Tool calls: held until complete, checked against their schemas, coerced to fit."""
