"""What the `command` handler is made of: which programs, their progress, their files, their process."""
