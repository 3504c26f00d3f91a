"""The built-in stages and how each is trained: what `recipes.builtin.train_stages` is made of."""
