"Curated manifests of the music21 corpus: which pieces, whose, of which work, in which split. See data/README.md."
