"""Head pose, blinks and gaze: moved by speech, alive in silence (EmoGene 3.5, pose sampling)."""
