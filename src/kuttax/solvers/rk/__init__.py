"""Explicit Runge-Kutta methods: tableaus, fixed and adaptive steps, learned schemes."""
