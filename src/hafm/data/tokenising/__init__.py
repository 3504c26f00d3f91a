"""From stems to tokens: levels and the filter, views of a vocal, ids; and the k-means behind them."""
