"""What both databases do alike: commands and lists as SQL, in the dialect of each."""
