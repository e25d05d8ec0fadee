"""Files of data: archives, downloads, NPZ."""
