"""A WooCommerce store to practise on, with faults on demand; it imports nothing of the gateway.

```
                 ┌── wc/v3: auth ── routes ── orders | refunds | resources ──┐
request ── site ─┤                                                           ├── store (SQLite)
             │   └── wc-api/v3: legacy ── legacy_orders | legacy_refunds ────┤
             │                                                               └── gateways ── payouts: what was paid
             └── hosting, faults (before, at the provider, after)
```
"""
