"""What one shape is in another: pure, one folder a source."""
