"""The port's errors for what adapters find out in more than one place."""

from app.stores.port import OrderNotFound, StoreError, StoreMisconfigured, StoreUnavailable
from app.stores.reading import Unreadable, is_id


def check_order_id(order_id: str) -> None:
    """Raise OrderNotFound for what cannot be an order's id; also keeps slashes and dots out of paths."""
    if not is_id(order_id):
        raise OrderNotFound("The store knows no such order: its ids are whole numbers.")


def order_not_found(error: StoreError) -> OrderNotFound:
    """Say that the store knows no such order, in whose words ever."""
    return OrderNotFound("The store knows no such order.", store_code=error.store_code, http_status=error.http_status)


def unreadable(error: Unreadable) -> StoreUnavailable:
    """Say that an answer has not the shape it should have."""
    return StoreUnavailable(f"The store's answer is not what WooCommerce sends: {error}.")


def leading(group: ExceptionGroup[Exception]) -> Exception:
    """Pick the failure that says most: an order that is not there, then what a person must mend."""
    for kind in (OrderNotFound, StoreMisconfigured):
        for error in group.exceptions:
            if isinstance(error, kind):
                return error
    return group.exceptions[0]
