"""The drop-in front: WooCommerce's own refund APIs, for the clients that people already have, made safe.

Under /stores/{store}/wp-json/wc/v3/ and /stores/{store}/wc-api/v3/ it answers as WooCommerce does, refunds first. What
WooCommerce lets through and should not is refused in its own shape; behind it are the same flows as behind /v1.
"""

from app.front.routes import attach

__all__ = ["attach"]
