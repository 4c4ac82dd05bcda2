"""What each model refuses, and how a request is mended for it."""
