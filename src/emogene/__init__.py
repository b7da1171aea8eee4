"""Speech and an emotion in, a talking portrait of a particular person out."""

__version__ = "0.1.0"
