"""The identity classifier: its rows on one rank or split over all, its loss, and negatives by sampling."""
