"""What of WooCommerce's refund APIs works by which door on which store, tried for real; the README shows the table."""
