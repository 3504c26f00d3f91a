"""Training the codec: what `recipes.builtin.train_codec` is made of."""
