"""The verbs of the business. Only flows open write transactions, and never keep one open across a network call."""
