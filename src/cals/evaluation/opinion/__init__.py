"""The human study: what people say of videos, as the mean opinion scores of the paper's Table 2."""
