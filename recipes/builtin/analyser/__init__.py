"""Training and measuring the analysers: from sound to lead sheet."""
