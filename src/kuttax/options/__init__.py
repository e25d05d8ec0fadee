"""Options of any kind: bounds of numbers, options without effect, looks in plots."""
