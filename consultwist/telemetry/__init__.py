"""What an agent tells about itself: metrics and log lines."""
