"""diffrax in kuttax, and kuttax in diffrax."""
