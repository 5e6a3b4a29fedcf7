"""A WooCommerce store to practise on, with faults on demand; it imports nothing of the gateway.

```
request ── main ── auth ── routes ── orders | refunds | resources ── store (SQLite)
             └── faults (before, at the provider, after)      └── gateways ── payouts: what was really paid
```
"""
