"""The features of the HTTP API, one folder each."""
