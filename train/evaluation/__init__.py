"""What an evaluation is made of: image sets, models, metrics, reports."""
