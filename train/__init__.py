"""Training side: differentiable filters, networks, data, losses, fitting and evaluation."""
