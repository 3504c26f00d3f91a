"""Sound to ids and back: semantic features, k-means, codecs, and the interleaving of codebooks.

Two Protocols, in ``hafm.tokens.base``, are all that the stages know of this layer:

    vocal, instrumental --SemanticFeatures--> [B, F, D] at 50 Hz --KMeans--> ids [B, F]
    instrumental        --Codec.encode-----> codes [B, K, F] at 75 Hz --Codec.decode--> waveform

Nothing is imported here, so that ``import hafm.tokens.base`` stays light.
"""
