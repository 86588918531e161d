"Copies: the suffix array against brute force, what must be found whatever its key and tempo, and what must not."
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from musiclm.copying import (COPY, CopyIndex, copied_share, enough_distinct, human_copying, line_pairs, lines_of, longest_copies,
                             plot_copy, prompt_echoes, suffix_ranks)
from musiclm.corpus import clips, toy_corpus
from musiclm.notes import note_table, transpose
from musiclm.pieces import Piece
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig


def random_table(chance, n, pitches=3, gaps=3, parts=2):
    "Notes of few pitches and times, so that passages come again; some are struck together."
    return note_table(chance.integers(0, gaps, n).cumsum()*3, np.full(n, 3), 60 + chance.integers(0, pitches, n),
                      part=chance.integers(0, parts, n)).sort_values(['onset', 'part', 'pitch'], ignore_index=True)


def pairs_of(table, part):
    "Pairs of (interval, ratio) of one part, by definition: floats and a loop."
    t = table[table['part'] == part].sort_values(['onset', 'pitch'])
    found, before = [], None
    for (a, p), (b, q) in zip(t[['onset', 'pitch']].to_numpy(), t[['onset', 'pitch']].to_numpy()[1:]):
        found.append((q - p, 0 if a == b else -1 if before is None else round((b - a)/before, 9)))
        if b > a: before = b - a
    return found


def longest_common(a, b, distinct):
    "Longest common substring with so many different members, by brute force."
    best = 0
    for i in range(len(a)):
        for j in range(len(b)):
            n = 0
            while i + n < len(a) and j + n < len(b) and a[i + n] == b[j + n]: n += 1
            if n > best and len(set(a[i:i + n])) >= distinct: best = n
    return best


def notes_of(found, tables, index, side):
    "(onset, pitch) of the notes of the passage of a row, by itself and in its source."
    if side == 'piece': table, at = tables[found['piece']], found[['part', 'onset', 'end']]
    else:
        table, at = index.tables[found['source']], found[['source_part', 'source_onset', 'source_end']]
        at = at.set_axis(['part', 'onset', 'end'])
    t = table[(table['part'] == at['part']) & (table['onset'] >= at['onset'])].sort_values(['onset', 'pitch'])
    return t[['onset', 'pitch']].to_numpy()


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=32, beats=32, encoder=NotewiseEncoder(EncodingConfig(durations=False)))


@pytest.fixture(scope='module')
def index(corpus): return CopyIndex.of(corpus)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 60))
@settings(max_examples=60)
def test_suffixes_are_sorted(seed, letters, n):
    s = np.random.default_rng(seed).integers(0, letters, n)
    suffixes, ranks = suffix_ranks(s)
    assert suffixes.tolist() == sorted(range(n), key=lambda i: s[i:].tolist())
    for k, rank in enumerate(ranks):
        blocks = [s[i:i + 2**k].tolist() for i in range(n)]
        assert rank[:-1].tolist() == [sum(b < a for b in blocks) for a in blocks]


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=60)
def test_the_longest_passage_is_that_of_brute_force(seed, distinct):
    chance = np.random.default_rng(seed)
    works, pieces = ([random_table(chance, chance.integers(1, 40)) for _ in range(3)] for _ in 'ab')
    index = CopyIndex(works, pd.DataFrame({'piece': list('abc')}))
    lines = lines_of(pieces)
    pairs = line_pairs(lines)
    length = index.search(pairs)[0]
    length = np.where(enough_distinct(pairs, length, distinct), length, 0)
    lines_there = [pairs_of(w, part) for w in works for part in (0, 1)]
    for i, piece in enumerate(pieces):
        want = max(longest_common(pairs_of(piece, part), line, distinct) for part in (0, 1) for line in lines_there)
        assert length[lines.owner == i].max(initial=0) == want


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_what_is_reported_is_there(seed):
    "Both passages have the same intervals, and times that differ by one factor: that of the tempo."
    chance = np.random.default_rng(seed)
    works, pieces = ([random_table(chance, chance.integers(20, 40), 2, 2) for _ in range(3)] for _ in 'ab')
    index = CopyIndex(works, pd.DataFrame({'piece': list('abc')}))
    table = longest_copies(pieces, index, distinct=2)
    for _, found in table[table['length'] > 2].iterrows():
        one, other = (notes_of(found, pieces, index, side) for side in ('piece', 'source'))
        ways = [(one[i:i + found['length']], other[j:j + found['length']]) # a chord may begin before its first shared note
                for i in range(20) for j in range(20)]
        assert any(len(a) == len(b) == found['length'] and (a[:, 1] - b[:, 1] == found['semitones']).all() and
                   np.allclose((a[:, 0] - a[0, 0])*found['tempo'], b[:, 0] - b[0, 0]) for a, b in ways)


@pytest.mark.parametrize('semitones,tempo', [(0, 1), (7, 1), (-5, 1), (0, 2), (3, 3)])
def test_a_copy_is_found_in_any_key_and_tempo(index, semitones, tempo):
    work = index.tables[6]
    copy = transpose(work, semitones).assign(onset=work['onset']*tempo, duration=work['duration']*tempo)
    plain, found = longest_copies([work, copy], index).to_dict('records')
    assert found['length'] == plain['length'] == work['part'].value_counts().max()
    assert found['share'] == plain['share'] == 1
    assert (found['work'], found['semitones'], found['tempo']) == (index.about.work[6], semitones, 1/tempo)
    assert found['passage'] == f'bars 1–8 of {found["source_piece"]}'
    assert (found['first_bar'], found['last_bar']) == (1, found['source_last_bar']*tempo - (tempo - 1)) or tempo > 1


def test_training_clips_are_found_whole(corpus, index):
    cut, where = clips(corpus, 64, 'train', 2)
    found = longest_copies(cut, index, corpus.encoder, least=8, distinct=2)
    for clip, row in zip(cut, found.itertuples()):
        notes = corpus.encoder.decode(clip)
        own = (notes['part'] == row.part).sum()
        assert own - 2 <= row.length <= own # a note that its end would have told apart
    assert found['share'].mean() > .8 and (found['tempo'] == 1).all()


def test_a_passage_that_begins_another_work_stops_at_its_end(index):
    lone = note_table(np.arange(8)*12, np.full(8, 12), [60, 61, 65, 72, 60, 67, 69, 64])
    two = CopyIndex([lone, lone.assign(pitch=lone['pitch'] - 3)], pd.DataFrame({'piece': ['a', 'b']}))
    both = pd.concat([lone, lone.assign(onset=lone['onset'] + 96)], ignore_index=True)
    assert longest_copies([both], two, distinct=3)['length'].item() == 8


def test_tunes_of_nothing_are_no_copies(index):
    n = 60
    repeated, scale = (note_table(np.arange(n)*6, np.full(n, 6), p) for p in (np.full(n, 60), 40 + np.arange(n)))
    alberti = note_table(np.arange(n)*6, np.full(n, 6), np.resize([60, 67, 64, 67], n))
    own = CopyIndex([repeated, scale, alberti], pd.DataFrame({'piece': ['a', 'b', 'c']}))
    found = longest_copies([repeated, scale, alberti], own)
    assert found['length'].tolist() == [0, 0, 0] and found['share'].tolist() == [0, 0, 0]
    assert longest_copies([repeated, scale, alberti], own, distinct=1)['length'].tolist() == [n, n, n]


def test_prompts_are_left_out_unless_asked_for(corpus, index):
    row, chance = corpus.indices('train')[0], np.random.default_rng(0)
    odd = note_table(np.arange(30)*12, np.full(30, 12), chance.integers(40, 90, 30), part=np.arange(30) % 2)
    prompt = corpus.tokens(row)[:120]
    piece = Piece(np.r_[prompt, corpus.encoder.encode(odd)[1:]], corpus.encoder, 120)
    without, whole = (longest_copies([piece], index, with_prompt=w).iloc[0] for w in (False, True))
    assert without['length'] <= 8 and without['share'] == 0
    assert whole['length'] > 20 and whole['semitones'] == 0 and whole['onset'] == whole['source_onset'] == 0
    test = corpus.tokens(corpus.indices('test')[0])
    echo = Piece(np.r_[test[:80], test[1:80]], corpus.encoder, 80)
    assert prompt_echoes([echo])['share'].item() > .9 > .3 > prompt_echoes([piece])['share'].item()
    with pytest.raises(ValueError, match='no piece has a prompt'): prompt_echoes([Piece(test, corpus.encoder)])


def test_steps_are_those_of_the_whole_piece(corpus, index):
    row = corpus.indices('train')[0]
    piece = Piece(corpus.tokens(row), corpus.encoder, 60)
    found = longest_copies([piece], index).iloc[0]
    assert (found['onset'], found['end']) == (found['source_onset'], found['source_end']) and found['onset'] > 0


def test_empty_and_short_pieces_give_rows_without_gaps(index):
    tables = [note_table(*[np.arange(n)*12]*2, np.full(n, 60)).assign(duration=12) for n in (0, 1, 2, 3)]
    found = longest_copies(tables, index)
    assert list(found.columns) == list(COPY) and len(found) == 4 and not found.isna().any().any()
    assert found['length'].tolist() == [0]*4 and found['source'].tolist() == [-1]*4
    assert longest_copies([], index).empty and copied_share([], index).shape == (0,)
    chord = note_table([0]*9, [12]*9, np.arange(9)*5 + 40)
    assert not longest_copies([chord], CopyIndex([chord], pd.DataFrame({'piece': ['x']})), distinct=1).isna().any().any()


def test_a_share_counts_notes(index):
    work, chance = index.tables[0], np.random.default_rng(1)
    other = note_table(work['onset'].max() + 12 + np.arange(len(work))*5, np.full(len(work), 5), chance.integers(30, 100, len(work)))
    both = pd.concat([work, other], ignore_index=True)
    assert copied_share([work, other], index).tolist() == [1, 0]
    assert copied_share([both], index).item() == pytest.approx(.5, abs=.02)


def test_people_set_the_limit(corpus, index):
    human = human_copying(corpus, index, length=64, n=20, distinct=8)
    assert len(human) == 20 and set(human['of_work']) <= set(corpus.manifest.loc[corpus.manifest['split'] == 'test', 'work'])
    assert human.attrs['limit']['length'] == pytest.approx(np.quantile(human['length'], .95))
    by_heart = human_copying(corpus, index, 'train', length=64, n=20, distinct=8)
    assert by_heart['length'].mean() > human['length'].mean() and by_heart['share'].mean() > human['share'].mean()


def test_bad_input_is_one_line(corpus, index):
    test = corpus.select(corpus.indices('test'))
    with pytest.raises(ValueError, match="no split 'train'"): CopyIndex.of(test)
    with pytest.raises(ValueError, match='no notes'): CopyIndex([note_table([], [], [])], pd.DataFrame({'piece': ['a']}))
    with pytest.raises(ValueError, match='encoder'): longest_copies(np.zeros((2, 9), np.uint16), index)
    with pytest.raises(ValueError, match='shorter clips'): human_copying(corpus, index, length=9999)
    nothing = longest_copies([note_table([0], [1], [60])], index)
    with pytest.raises(ValueError, match='nothing to draw'): plot_copy([note_table([0], [1], [60])], nothing.iloc[0], index)


def test_both_rolls_are_drawn(corpus, index):
    import matplotlib.pyplot as plt
    pieces = [Piece(corpus.tokens(corpus.indices('train')[3]), corpus.encoder, 1)]
    figure = plot_copy(pieces, longest_copies(pieces, index).iloc[0], index)
    assert len(figure.axes) == 2 and all(len(ax.patches) > 40 for ax in figure.axes)
    plt.close(figure)
