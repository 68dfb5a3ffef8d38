"""Independent speech recognisers and naturalness predictors."""
