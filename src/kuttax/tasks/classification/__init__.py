"""Classification of images and points."""
