"""What the user interface asks for: nodes and services with all about them."""
