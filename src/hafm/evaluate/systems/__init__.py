"""What is compared: the true instrumental, the model, and what a number means without either."""
