"""Results of measurements: JSON documents that say what was measured how, and their plots."""
