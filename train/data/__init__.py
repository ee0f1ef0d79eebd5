"""Where training images come from: photographs, iHarmony4, synthesis, batches by step."""
