"Models that come with musiclm, trained on the free part of the built-in corpus by data/make_models.py. Each folder has its card."
