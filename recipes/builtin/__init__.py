"""How the built-in model is made, one command per step, each resumable.

python -m recipes.builtin.render         scores           -> aligned (vocal, instrumental) pairs
python -m recipes.builtin.train_codec    pairs            -> codec
hafm fit-kmeans                          pairs            -> parts: features, k-means, codec
hafm prepare                             pairs            -> shards
python -m recipes.builtin.train_stages   shards           -> stages
python -m recipes.builtin.train_analyser pairs            -> analysers, from sound to lead sheet
python -m recipes.builtin.train_harmoniser scores        -> chords for a melody, in the analyser of vocals
python -m recipes.builtin.train_stems    pairs, stems     -> the net that parts a band; it is in no bundle
python -m recipes.builtin.bundle         all of the above -> a bundle folder
hafm evaluate                           bundle, pairs    -> tables; evaluation_card puts them into the card
"""
