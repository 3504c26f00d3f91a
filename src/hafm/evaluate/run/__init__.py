"""One evaluation: a folder of sounds, scores and results, and the steps that fill it."""
