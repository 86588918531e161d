"Corruptions: they do what they say, by as much as they say, and at the same places."
import numpy as np
import pytest

from musiclm.corpus import toy_corpus
from musiclm.corruptions import (HELDOUT_CORRUPTIONS, LADDERS, TRAIN_CORRUPTIONS, NO_COMPOSER, corrupt_clips, onset_jitter, passages, pitch_noise,
                                 real_clips, roll_chords, shift_voice, shuffle_bars, splice, corrupted_clips, stutter, upper, warp)
from musiclm.show import example_notes

ALL = {**LADDERS, **TRAIN_CORRUPTIONS, **HELDOUT_CORRUPTIONS}


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=40, beats=48)


@pytest.fixture
def notes(corpus): return corpus.notes(0)


def seeded(k=0): return np.random.default_rng(k)


def test_no_family_is_of_two_sorts():
    assert len(ALL) == len(LADDERS) + len(TRAIN_CORRUPTIONS) + len(HELDOUT_CORRUPTIONS)
    assert len({f.__name__ for f in ALL.values()}) == len(ALL)


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('level', [.05, .5, 1.])
def test_all_give_notes_that_can_be_encoded(corpus, name, level):
    for i in range(4):
        notes, other = corpus.notes(i), corpus.notes(i + 8)
        before = notes.copy()
        bad = ALL[name](notes, level, seeded(i), other)
        assert notes.equals(before) and (bad['duration'] > 0).all() and (bad['onset'] >= 0).all()
        again = corpus.encoder.decode(corpus.encoder.encode(bad))
        assert len(again) > .3*len(notes) # what lies on another note is merged
        assert bad.equals(ALL[name](notes, level, seeded(i), other))


@pytest.mark.parametrize('name', ALL)
def test_more_is_farther_from_what_it_was(corpus, name):
    def far(level):
        gone = 0
        for i in range(8):
            notes = corpus.notes(i)
            had = set(zip(notes['onset'], notes['pitch'], notes['part'], notes['duration']))
            bad = ALL[name](notes, level, seeded(i), corpus.notes(i + 8))
            gone += len(had ^ set(zip(bad['onset'], bad['pitch'], bad['part'], bad['duration'])))/len(had)
        return gone/8
    low, high = far(.1), far(.9)
    if name in ('onset_jitter', 'shift_voice', 'roll_chords', 'warp'): assert 0 < low <= high + .2 # a small move moves all
    else: assert 0 < low < high


def test_pitch_noise_touches_as_many_notes_as_it_says():
    notes = example_notes()
    many = notes.iloc[np.resize(range(len(notes)), 4000)]
    moved = pitch_noise(many, .3, seeded())['pitch'].to_numpy() - many['pitch'].to_numpy()
    assert np.mean(moved != 0) == pytest.approx(.3, abs=.03) and abs(moved).max() == 6


def test_jitter_moves_by_up_to_its_level(notes):
    moved = onset_jitter(notes, .5, seeded())['onset'] - notes['onset']
    assert abs(moved).max() <= 6 and moved.nunique() > 6
    twice = onset_jitter(notes, 1, seeded())['onset'] - notes['onset']
    free = notes['onset'] >= 12 # what would begin before the first step begins on it
    assert abs(twice - 2*moved)[free].max() <= 1


def test_bars_are_shuffled_whole(notes):
    mixed = shuffle_bars(notes, 1, seeded())
    assert (mixed['onset'] % 48 == notes['onset'] % 48).all()
    place = mixed['onset']//48
    assert place.groupby(notes['onset']//48).nunique().max() == 1 and place.nunique() == (notes['onset']//48).nunique()
    some = shuffle_bars(notes, .4, seeded())['onset'] != notes['onset']
    assert not (some & ~(mixed['onset'].notna())).any() and some.mean() < .6


def test_lessons_by_hand(notes):
    late = shift_voice(notes, .5, seeded())['onset'] - notes['onset']
    assert set(late[upper(notes)]) == {12} and set(late[~upper(notes)]) == {0}
    rolled = roll_chords(notes, 1/6, seeded())
    assert (rolled['onset'] - notes['onset']).max() >= 2 and (rolled.groupby(notes['onset'])['onset'].nunique() == notes.groupby('onset').size()).all()
    assert warp(notes, 1, seeded())['onset'].is_monotonic_increasing
    other = notes.assign(part=1 - notes['part'])
    assert splice(notes, 1, seeded(), other)['part'].mean() == pytest.approx(other['part'].mean(), abs=.1)
    looped = stutter(notes, 1, seeded())
    assert looped['pitch'].nunique() < notes['pitch'].nunique() and looped['onset'].max() > .8*notes['onset'].max()
    alone = notes.assign(part=1)
    assert 0 < upper(alone).mean() < 1 # one part is parted by pitch


def test_clips_of_all_rungs_begin_at_one_place(corpus):
    places = passages(corpus, 'test', 30, 64, 16)
    rungs = {x: corrupt_clips(corpus, places, pitch_noise, x, 64) for x in (0, .2, 1)}
    assert all(len(c) == 64 for r in rungs.values() for c in r if c is not None)
    for place, clip in zip(places.itertuples(), rungs[0]):
        later = corpus.notes(place.piece)
        later = later[later['onset'] >= place.step]
        found = corpus.encoder.decode(clip)
        assert np.array_equal(found['pitch'][:8], later['pitch'][:8]) # the very passage
    a, b, c = ([x for x in rungs[k]] for k in rungs)
    differ = lambda p, q: np.mean([(i != j).mean() for i, j in zip(p, q)])
    assert 0 < differ(a, b) < differ(a, c)
    test_works = set(corpus.manifest['work'][corpus.indices('test')])
    assert set(places['work']) <= test_works


def test_real_clips_and_spoilt_ones(corpus):
    x, info = real_clips(corpus, 'train', 40, 64, 16)
    assert x.shape == (40, 64) and x.dtype == np.uint16 and (x > 2).all() and info['composer'].value_counts().tolist() == [20, 20]
    assert (corpus.manifest['work'].to_numpy()[info['piece']] == info['work']).all()
    y, bad = corrupted_clips(corpus, 'train', 400, 64, 16)
    assert (y > 2).all() and set(bad['corruption']) == set(TRAIN_CORRUPTIONS)
    assert bad['level'].between(0, 1).all() and np.mean(bad['label'] == NO_COMPOSER) == pytest.approx(bad['level'].mean(), abs=.06)
    assert np.array_equal(y, corrupted_clips(corpus, 'train', 400, 64, 16)[0])
    with pytest.raises(ValueError, match='no piece of split'): passages(corpus, 'nowhere', 3)


@pytest.mark.parametrize('split', ['train', 'valid', 'test'])
def test_what_is_spliced_in_comes_from_works_of_the_same_split(corpus, split):
    heard, tables = [], [corpus.notes(i) for i in range(len(corpus))]
    def listen(notes, level, chance, other):
        heard.append(next(i for i, t in enumerate(tables) if other.equals(t)))
        return notes
    corrupt_clips(corpus, passages(corpus, split, 60, 64, 16), listen, 1., 64)
    assert len(set(heard)) > 3 and set(corpus.manifest['split'][heard]) == {split}
