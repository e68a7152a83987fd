"""Firmware that speaks the device protocol, made from any int8 `.tflite`, and emulated boards to run it."""
