"""User events: firing them and listing the recent ones."""
