"""Scores and voices to aligned pairs of sound: what `recipes.builtin.render` is made of."""
