"""When a neural ODE is not one: experiments on the step that a model was trained with."""
