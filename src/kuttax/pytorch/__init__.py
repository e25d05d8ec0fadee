"""Vector fields in PyTorch as fields of kuttax. PyTorch is an optional dependency, imported when a field is made."""
