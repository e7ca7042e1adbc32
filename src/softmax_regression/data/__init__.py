"""What the stages read from files, checked: parameters, image sets, the model's weights."""
