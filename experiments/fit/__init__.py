"""What each lever of `kx.fit` is worth: alone, in pairs, all together."""
