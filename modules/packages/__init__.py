"""base: packages that extensions import beside ours, over our own modules; the folder is on the path."""
