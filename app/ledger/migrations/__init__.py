"""The ledger's schema as one linear chain of Alembic migrations, additive first."""
