"""What was found: typed results, as records hold them and as views draw them."""
