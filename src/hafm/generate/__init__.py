"""From a vocal to an accompaniment: sampling, decoding, windows, and the pipeline that joins them."""
