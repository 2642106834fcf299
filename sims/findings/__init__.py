"""The findings of theory as measurements on trained toy models, each with an error probability."""
