"""What the server says of itself: access lines and logs."""
