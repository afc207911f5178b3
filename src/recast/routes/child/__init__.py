"""What runs in a tool's interpreter. Never imported by Recast itself (but for types)."""
