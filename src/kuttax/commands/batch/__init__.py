"""Many runs in one folder: which, where, recorded once each, and merged."""
