"""`fit`, phase after phase."""
