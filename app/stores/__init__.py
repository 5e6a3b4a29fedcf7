"""One shop, over HTTP. `port.py` is what the rest of the gateway sees of it."""
