"""Refund Gateway: one truthful refund API over WooCommerce stores."""

__version__ = "0.1.0"
