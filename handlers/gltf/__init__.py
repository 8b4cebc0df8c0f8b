"""What handlers that read glTF share; needs no library."""
