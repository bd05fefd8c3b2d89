"""Numbers of a ranking: mAP, CMC, mINP, re-ranking, and histograms of similarity and colour."""
