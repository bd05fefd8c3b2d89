"""A picture-to-picture translator: photo to infrared, learned from aligned pairs."""
