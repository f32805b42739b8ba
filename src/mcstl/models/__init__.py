"""What is trained and what answers: networks, examples, training, the saved model."""
