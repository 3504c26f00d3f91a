"""From a music collection to training batches. Data flows down:

collection/   which tracks there are, what is the same, splits by song, stems from files
tokenising/   stems to tokens; levels and the filter; the k-means behind the ids
preparing/    the run behind `hafm prepare`: scan, ledger, workers or Ray, assembly
shards/       token shards and their index, written and read
order.py      which unit each sample of a training run takes
crops.py      the batches: aligned crops, a pure function of (seed, epoch, step, rank)
result.py     the result of a track: its tokens, or the reason why it has none
"""
