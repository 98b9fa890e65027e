"""The DNS interface: the catalog as a zone of the domain name system."""
