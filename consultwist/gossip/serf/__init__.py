"""Tags, intents, user events, queries and coordinates, on top of memberlist."""
