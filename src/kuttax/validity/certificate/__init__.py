"""The certificate: whether predictions depend on the solver."""
