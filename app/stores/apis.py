"""Where WooCommerce's APIs are, and in which codes they speak."""

from dataclasses import dataclass

from app.domain.refund import StoreApi
from app.stores.answers import Codes
from app.stores.woo_legacy_answers import LEGACY_CODES
from app.stores.woo_v3_answers import V3_CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One of a shop's APIs."""

    name: StoreApi
    root: str  #: below the shop's address, without slashes around it
    codes: Codes
    oauth_over_https: bool  #: it takes OAuth signatures over https as well


#: Only addresses with wp-json/wc/ in their path are authenticated; ?rest_route= is not (AUTH:69-84).
V3 = Api(name="v3", root="wp-json/wc/v3", codes=V3_CODES, oauth_over_https=True)
#: Over https it reads query credentials, then Basic, and never a signature (LA:75-101).
LEGACY = Api(name="legacy", root="wc-api/v3", codes=LEGACY_CODES, oauth_over_https=False)
