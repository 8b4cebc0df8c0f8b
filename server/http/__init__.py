"""How requests are read and answered: declared once, validated and documented from that."""
