"""From a checkpoint to ONNX files with proven parity, and on to engines."""
