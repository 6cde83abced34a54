"""Container stores, one module or folder each: where an engine keeps its containers, and what it says of them."""
