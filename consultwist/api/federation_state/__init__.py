"""What each datacenter tells the others of its mesh gateways."""
