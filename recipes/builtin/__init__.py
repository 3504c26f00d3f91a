"""How the built-in model is made, one command a step, each resumable.

python -m recipes.builtin.render         scores           -> aligned (vocal, instrumental) pairs
python -m recipes.builtin.train_codec    pairs            -> codec
python -m recipes.builtin.fit_kmeans     pairs            -> semantic vocabularies
python -m recipes.builtin.tokenise       pairs            -> tokens
python -m recipes.builtin.train_stages   tokens           -> stages
python -m recipes.builtin.bundle         all of the above -> a bundle folder
"""
