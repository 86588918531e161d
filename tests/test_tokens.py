"The law of the encoding over fixtures, options and transpositions; decoding of noise; the grammar."
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclm.encoders import make_encoder, add_composer_tokens
from musiclm.grammar import n_at_once
from musiclm.notes import note_table, transpose
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import BOS, EOS, EncodingConfig, PAD, composer_slug, composer_slugs
from musiclm.chordwise import ChordwiseEncoder

CONFIGS = {
    'default': EncodingConfig(),
    'end tokens': EncodingConfig(durations=False),
    'piano first': EncodingConfig(part_order=('p', 'v')),
    'uncapped': EncodingConfig(max_wait=None),
    'short waits, coarse grid': EncodingConfig(max_wait=1, steps_per_beat=4),
    '62 notes, violin folded': EncodingConfig(pitch_range=(33, 94), fold_violin=True),
    'one octave': EncodingConfig(pitch_range=(60, 71)),
    'piano alone': EncodingConfig(parts=('p',)),
    'trio': EncodingConfig(parts=('v', 'p', 'b'), part_order=('b', 'v', 'p'), max_wait=24, steps_per_beat=24),
    'loudness': EncodingConfig(velocity_bins=8),
    'loudness and tempo': EncodingConfig(velocity_bins=32, tempo_bins=24, part_order=('p', 'v')),
    'trio in full': EncodingConfig(parts=('v', 'p', 'b'), velocity_bins=127, tempo_bins=64),
    'composers': EncodingConfig(composers=('bach', 'robert_schumann')),
    'loudness and composers': EncodingConfig(velocity_bins=8, composers=('bach',)),
    'tempo and composers': EncodingConfig(tempo_bins=8, composers=('robert_schumann', 'bach', 'haydn')),
    'durations': EncodingConfig(durations=True),
    'durations, uncapped': EncodingConfig(durations=True, max_wait=None, part_order=('p', 'v'), steps_per_beat=4),
    'durations in full': EncodingConfig(durations=True, parts=('v', 'p', 'b'), velocity_bins=32, tempo_bins=24,
                                        composers=('bach', 'robert_schumann')),
    'all options': EncodingConfig(parts=('v', 'p', 'b'), velocity_bins=32, tempo_bins=24, composers=('bach', 'robert_schumann')),
}
CASES = pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS.keys())


@st.composite
def note_tables(draw, config):
    "Any note table that fits `config`: overlaps, unisons, long silences, notes of no length and any pitch included."
    note = st.tuples(st.integers(-50, 3000), st.integers(-3, 400), st.integers(0, 127), st.integers(-9, 300),
                     st.integers(0, len(config.parts) - 1))
    rows = draw(st.lists(note, max_size=40) | st.lists(note, max_size=40).map(lambda r: [(a%7, *b) for a, *b in r]))
    table = note_table(*np.array(rows, np.int64).reshape(-1, 5).T, steps_per_beat=config.steps_per_beat)
    if config.tempo_bins: table.attrs['tempos'] = draw(st.lists(st.tuples(st.integers(-90, 3000), st.floats(4, 1000)), max_size=8))
    table.attrs['composer'] = draw(st.sampled_from([None, 'Bach', 'robert_schumann', 'Clara Schumann']))
    return table


def same(a, b):
    "Are two note tables equal, column by column, and in their tempos and composers?"
    return (list(a.columns) == list(b.columns) and (a.values.shape == b.values.shape) and (a.values == b.values).all()
            and all(a.attrs.get(k) == b.attrs.get(k) for k in ('tempos', 'composer')))


@CASES
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_law(config, data):
    enc, notes = NotewiseEncoder(config), data.draw(note_tables(config))
    ids = enc.encode(notes)
    back = enc.decode(ids)
    assert ids.dtype == np.uint16 and ids[0] == BOS and ids[-1] == EOS
    assert same(back, enc.normalise(notes)) and back.attrs['dropped'] == 0
    assert (enc.encode(back) == ids).all()
    assert (enc.from_text(enc.to_text(ids)) == ids).all()


@CASES
@given(data=st.data(), semitones=st.integers(-12, 12))
@settings(max_examples=40, deadline=None)
def test_transposing_tokens_is_transposing_notes(config, data, semitones):
    enc = NotewiseEncoder(config)
    notes = enc.normalise(data.draw(note_tables(config)))
    assert (enc.transpose(enc.encode(notes), semitones) == enc.encode(transpose(notes, semitones))).all()


def test_normalise_by_hand():
    enc = NotewiseEncoder()
    notes = note_table(onset=[5, 5, 8, 20, 30], duration=[10, 30, 4, 0, 3], pitch=[60, 60, 60, 9, 120],
                       velocity=[1, 2, 3, 4, 5], part=[0, 0, 0, 1, 1])
    expected = note_table(onset=[0, 3, 15, 25], duration=[3, 4, 1, 3], pitch=[60, 60, 21, 108], part=[0, 0, 1, 1])
    assert same(enc.normalise(notes), expected)


def test_text_by_hand():
    notes = note_table(onset=[0, 0, 0], duration=[25, 1, 25], pitch=[67, 60, 48], part=[0, 1, 1])
    ends = NotewiseEncoder(EncodingConfig(durations=False))
    assert ends.to_text(ends.encode(notes)) == (
        'xxbos v67 p48 p60 wait1 endp60 wait12 wait12 endv67 endp48 xxeos')
    piano_first = NotewiseEncoder(EncodingConfig(part_order=('p', 'v'), max_wait=None, durations=False))
    assert piano_first.to_text(piano_first.encode(notes)) == (
        'xxbos p48 p60 v67 wait1 endp60 wait24 endp48 endv67 xxeos')


@CASES
@given(ids=st.lists(st.integers(-10, 2000), max_size=300))
@settings(max_examples=60, deadline=None)
def test_decode_never_raises(config, ids):
    enc = NotewiseEncoder(config)
    notes = enc.decode(ids)
    assert 0 <= notes.attrs['dropped'] <= len(ids)
    assert (notes['duration'] > 0).all() and (notes['onset'] >= 0).all()
    assert same(enc.decode(enc.encode(notes)), enc.normalise(notes))


def test_dropped_counts_what_has_no_meaning():
    enc = NotewiseEncoder(EncodingConfig(durations=False))
    dropped = lambda text: enc.decode(enc.from_text(text)).attrs['dropped']
    assert dropped('xxbos v60 wait3 endv60 xxeos') == 0
    assert dropped('endv60 wait2 p50 wait1') == 1 # an end without its onset
    assert dropped('v60 endv60 wait1') == 2 # a note of no length
    assert dropped('v60 v60 wait1') == 1
    assert dropped('v60 wait1 xxbos endv60') == 1
    assert dropped('v60 wait1 endv60 xxeos p60 wait1') == 2
    assert dropped('xxpad xxpad') == 0


def test_dropped_loudness_and_tempo():
    enc = NotewiseEncoder(EncodingConfig(velocity_bins=2, tempo_bins=4, durations=False))
    dropped = lambda text: enc.decode(enc.from_text(text)).attrs['dropped']
    assert dropped('tempo60 vvel0 v60 wait3 endv60 xxeos') == 0
    assert dropped('vvel1 pvel0 v60 wait3 endv60') == 1 # the piano is silent
    assert dropped('vvel0 vvel1 v60 wait3 endv60') == 1 # told twice before it counts
    assert dropped('tempo60 tempo30 v60 wait3 endv60 wait1 tempo60') == 2 # the last of a step counts, and nothing after the last end


def test_loudness_and_tempo_by_hand():
    notes = note_table([0, 0, 12, 24], [12, 24, 12, 12], [67, 48, 69, 71], [100, 64, 100, 20], [0, 1, 0, 0])
    notes.attrs['tempos'] = [(0, 118.), (12, 61.), (18, 240.)]
    enc = NotewiseEncoder(EncodingConfig(velocity_bins=4, tempo_bins=4, durations=False))
    ids = enc.encode(notes)
    assert enc.to_text(ids) == ('xxbos vvel3 v67 p48 wait12 tempo60 endv67 v69 wait6 tempo240 wait6 endv69 vvel0 v71 endp48 '
                                'wait12 endv71 xxeos')
    back = enc.decode(ids)
    assert back.attrs['tempos'] == [(0, 120), (12, 60), (18, 240)] and back['velocity'].tolist() == [112, 64, 112, 17]


def test_of_unisons_the_longest_stays_and_of_equals_the_loudest():
    notes = note_table([0, 0, 0], [6, 12, 12], [60, 60, 60], [127, 20, 90])
    assert NotewiseEncoder(EncodingConfig(velocity_bins=127)).normalise(notes)[['duration', 'velocity']].values.tolist() == [[12, 90]]


def random_text(grammar, n_tokens, enc, seed, eos=True):
    "Tokens drawn evenly from what the grammar allows, waits and closes often enough to be music of a kind."
    gen, rows = torch.Generator().manual_seed(seed), []
    weight = torch.ones(len(enc.vocab))
    weight[EOS] = 1000. if eos else 0.
    if eos: weight[torch.as_tensor(enc.kind == enc.END)] = 200.
    for _ in range(n_tokens):
        rows.append(torch.multinomial(grammar.legal()*weight, 1, generator=gen)[:, 0])
        grammar.advance(rows[-1])
    return torch.stack(rows, 1).numpy()


@CASES
def test_grammar_writes_normal_form(config):
    enc, closed = NotewiseEncoder(config), 0
    for row in random_text(enc.grammar(64), 60, enc, seed=0):
        stops = np.flatnonzero(row == EOS)
        ids = np.r_[BOS, row[:stops[0] + 1] if len(stops) else row]
        notes = enc.decode(ids)
        if len(stops) or not (config.velocity_bins or config.tempo_bins): # at a cut, what was told last may wait for its note
            assert notes.attrs['dropped'] == 0
        if len(stops): assert (enc.encode(notes) == ids).all()
        closed += len(stops) > 0
    assert closed


@CASES
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_grammar_allows_every_piece(config, data):
    enc = NotewiseEncoder(config)
    notes = data.draw(note_tables(config))
    ids = torch.as_tensor(enc.encode(notes).astype(np.int64))
    grammar = enc.grammar(1)
    for token in ids[1:] if len(notes) else []:
        assert grammar.legal()[0, token]
        grammar.advance(token[None])


def test_clip_has_its_length_and_no_ends():
    enc = NotewiseEncoder()
    rng = np.random.default_rng(0)
    ids = enc.encode(note_table(np.arange(300)*4, rng.integers(1, 20, 300), rng.integers(40, 80, 300), part=rng.integers(0, 2, 300)))
    for start in range(1, len(ids), 37):
        clip = enc.clip(ids, start, 100)
        if clip is None: assert len(ids) - start < 200
        else:
            assert len(clip) == 100 and clip.min() > EOS
            assert (enc.encode(enc.decode(clip))[1:60] == clip[:59]).all()
    assert enc.clip(ids, 1, len(ids)) is None


def test_a_clip_is_as_loud_and_as_fast_as_its_piece():
    enc = NotewiseEncoder(EncodingConfig(velocity_bins=8, tempo_bins=16))
    notes = note_table(np.arange(200)*6, 6, 60 + np.arange(200)%12, 120, np.arange(200)%2)
    notes.attrs['tempos'] = [(0, 60.)]
    ids = enc.encode(notes)
    clip = enc.decode(enc.clip(ids, 300, 100))
    assert (clip['velocity'] == enc.decode(ids)['velocity'][0]).all() and clip.attrs['tempos'] == enc.decode(ids).attrs['tempos']


def test_foreign_grid_and_parts_are_refused():
    enc = NotewiseEncoder()
    with pytest.raises(ValueError, match='steps_per_beat=12'): enc.encode(note_table([0], [1], [60], steps_per_beat=4))
    with pytest.raises(ValueError, match='part 2'): enc.encode(note_table([0], [1], [60], part=2))


@pytest.mark.parametrize('options,message', [
    ({'pitch_range': (60, 70)}, 'under an octave'), ({'pitch_range': (0, 128)}, 'within 0..127'),
    ({'fold_violin': True, 'pitch_range': (21, 65)}, 'under an octave'), ({'max_wait': 0}, 'max_wait'),
    ({'part_order': ('v', 'x')}, 'part_order'), ({'parts': ('v', 'v')}, 'once'), ({'parts': ('V1',)}, 'lower-case'),
    ({'steps_per_beat': 0}, 'steps_per_beat'), ({'scheme': 'remi'}, 'remi'), ({'composers': 'bach'}, 'several names'),
    ({'composers': ('J.S. Bach',)}, "'j_s_bach'"), ({'composers': ('bach', 'bach')}, 'unique'), ({'composers': ('',)}, 'not spelled'),
    ({'composers': (3,)}, 'not spelled'), ({'composers': [f'c{i}' for i in range(5000)]}, 'at most 4096'),
    ({'composers': ('bach',), 'scheme': 'miditok', 'tokenizer': '{}'}, 'MidiTok has none')])
def test_contradicting_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message): EncodingConfig(**options)


@pytest.mark.parametrize('composers', [(), ('bach', 'robert_schumann')], ids=['plain', 'composers'])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_chordwise_law(composers, data):
    config = EncodingConfig(scheme='chordwise', steps_per_beat=4, part_order=('p', 'v'), composers=composers)
    notes = data.draw(note_tables(config))
    enc = ChordwiseEncoder(config).fit([notes])
    ids = enc.encode(notes)
    assert same(enc.decode(ids), enc.normalise(notes)) and enc.n_replaced == 0
    assert (make_encoder(config, enc.vocab.itos).encode(notes) == ids).all()
    assert enc.decode(enc.transpose(ids, 1)).attrs.get('composer') == enc.decode(ids).attrs.get('composer')
    assert enc.decode(data.draw(st.lists(st.integers(-5, 5000), max_size=60))).attrs['dropped'] >= 0


def test_chordwise_replaces_unknown_chords_by_the_nearest():
    known = note_table([0, 0, 4], [4, 4, 4], [60, 64, 67], part=1, steps_per_beat=4)
    enc = ChordwiseEncoder().fit([known])
    back = enc.decode(enc.encode(note_table([0, 0, 0], [1, 1, 1], [60, 64, 71], part=1, steps_per_beat=4)))
    assert enc.n_replaced == 1 and list(back['pitch']) == [60, 64]


def test_chordwise_turns():
    known = note_table([0, 0, 4], [4, 4, 4], [60, 64, 67], part=[0, 1, 1], steps_per_beat=4)
    enc = ChordwiseEncoder().fit([known])
    row = random_text(enc.grammar(1), 41, enc, seed=1, eos=False)[0]
    assert enc.part_of[row[:40]].tolist() == [0, 1]*20
    assert PAD not in row


@pytest.mark.parametrize('config', [CONFIGS[k] for k in ('default', 'trio', 'piano first')], ids=['default', 'trio', 'piano first'])
def test_no_note_outlasts_its_limit(config):
    config = replace(config, durations=False)
    enc = NotewiseEncoder(config)
    rows = random_text(enc.grammar(32, limits={p: dict(longest=30/config.steps_per_beat) for p in config.parts}), 300, enc, seed=3, eos=False)
    free = random_text(enc.grammar(32), 300, enc, seed=3, eos=False)
    longest = lambda texts: max(enc.decode(np.r_[BOS, row])['duration'].max() for row in texts)
    assert longest(rows) < 30 + config.wait_cap < longest(free)
    for row in rows:
        notes = enc.decode(np.r_[BOS, row])
        assert notes.attrs['dropped'] == 0
        again = enc.encode(notes)[1:]
        closed = np.flatnonzero(enc.kind[row] == enc.WAIT)[-1]
        assert (again[:closed] == row[:closed]).all()


@pytest.mark.parametrize('durations', [False, True])
@pytest.mark.parametrize('loud', [None, 4])
def test_no_part_sounds_more_notes_than_it_may(durations, loud):
    config = EncodingConfig(durations=durations, velocity_bins=loud, tempo_bins=loud)
    enc = NotewiseEncoder(config)
    counts = lambda row, k: n_at_once((t := enc.decode(np.r_[BOS, row]))[t['part'] == k]).max()
    rows = random_text(enc.grammar(16, limits=dict(v=dict(at_once=1), p=dict(at_once=3, longest=3))), 400, enc, seed=3, eos=False)
    free = random_text(enc.grammar(16), 400, enc, seed=3, eos=False)
    assert max(counts(r, 0) for r in rows) == 1 and max(counts(r, 1) for r in rows) == 3
    assert max(counts(r, 0) for r in free) > 3 < max(counts(r, 1) for r in free)
    assert all(enc.decode(np.r_[BOS, r]).attrs['dropped'] <= 1 for r in rows) # a note that is cut at the end


# ---- composers

PIECE = note_table([0, 0, 12, 24], [12, 24, 12, 12], [67, 48, 69, 71], part=[0, 1, 0, 0])


def chordwise(composers):
    "An encoder that has learnt the chords of one piece."
    return ChordwiseEncoder(EncodingConfig(scheme='chordwise', composers=composers)).fit([PIECE])


MAKERS = pytest.mark.parametrize('make', [
    lambda names: NotewiseEncoder(EncodingConfig(composers=names)),
    lambda names: NotewiseEncoder(EncodingConfig(composers=names, velocity_bins=4, tempo_bins=4)), chordwise],
    ids=['notewise', 'loudness and tempo', 'chordwise'])


@pytest.mark.parametrize('config', [c for c in CONFIGS.values() if not c.composers])
def test_composers_leave_all_other_ids_and_stored_options_as_they_are(config):
    old, new = NotewiseEncoder(config), add_composer_tokens(NotewiseEncoder(config), ['Mozart', 'Bach'])
    assert new.vocab.itos == [*old.vocab.itos, 'xxcomposer_bach', 'xxcomposer_mozart']
    assert (new.tempo, new.loud) == (old.tempo, old.loud) and 'composers' not in old.config.to_json()
    for name in ('kind', 'part_of', 'pitch_of', 'wait_of', 'rank', 'level_of', 'voice_of'):
        assert (getattr(new, name)[:len(old.vocab)] == getattr(old, name)).all()
    assert EncodingConfig.from_json(new.config.to_json()) == new.config and isinstance(new.config.composers, tuple)
    assert EncodingConfig.from_json(old.config.to_json()) == old.config


@MAKERS
def test_a_composer_stands_behind_the_beginning_and_nowhere_else(make):
    enc, plain = make(('bach', 'mozart')), make(())
    notes = PIECE.copy()
    for given, told in (('Mozart', 'mozart'), ('mozart', 'mozart'), ('Haydn', None), (None, None), (float('nan'), None)):
        notes.attrs['composer'] = given
        text = plain.to_text(plain.encode(notes)).split()
        if told: text.insert(1, f'xxcomposer_{told}')
        ids = enc.encode(notes)
        assert enc.to_text(ids).split() == text and ids.dtype == np.uint16 and (enc.from_text(' '.join(text)) == ids).all()
        back = enc.decode(ids)
        assert back.attrs.get('composer') == told and back.attrs['dropped'] == 0 and same(back, enc.normalise(notes))
    bach, plain = enc.opening('bach')[1], enc.encode(PIECE.copy())
    kind = getattr(enc, 'kind', np.zeros(len(enc.vocab)))
    for at in range(len(plain)): # anywhere else it is dropped, and counted
        if kind[plain[at]] == NotewiseEncoder.DURATION: continue # which would lose its onset
        back = enc.decode(np.insert(plain, at, bach))
        expected = {0: (None, 2), 1: ('bach', 0)}.get(at, (None, 1)) # in front it takes the beginning its place as well
        assert (back.attrs.get('composer'), back.attrs['dropped']) == expected
        assert (back.values == enc.decode(plain).values).all()
        place = min(at, len(plain) - 2)
        if kind[plain[1 + place]] == NotewiseEncoder.DURATION: continue
        infix = enc.decode(np.insert(plain[1:], place, bach)) # nor has an infix a place for it
        assert (infix.attrs.get('composer'), infix.attrs['dropped']) == (None, 1)
    assert enc.decode(np.r_[plain, bach]).attrs['dropped'] == 1 # behind the end
    twice = enc.decode(np.r_[enc.opening('bach'), enc.opening('mozart')[1:], plain[1:]])
    assert (twice.attrs['composer'], twice.attrs['dropped']) == ('bach', 1)


@MAKERS
def test_an_opening_names_a_composer_that_the_encoding_knows(make):
    enc = make(('bach', 'robert_schumann'))
    assert enc.opening().tolist() == [BOS] and enc.opening().dtype == enc.opening('bach').dtype == np.uint16
    assert enc.to_text(enc.opening('Robert Schumann')) == 'xxbos xxcomposer_robert_schumann'
    with pytest.raises(ValueError, match="^the encoding has no composer 'Haydn'; it has bach, robert_schumann$"): enc.opening('Haydn')
    with pytest.raises(ValueError, match='it has none'): make(()).opening('Haydn')


def after(enc, ids):
    "What may follow ids."
    grammar = enc.grammar(1)
    for token in ids: grammar.advance(torch.tensor([int(token)]))
    return grammar.legal()[0].numpy()


@MAKERS
def test_the_grammar_allows_a_composer_behind_the_beginning_only(make):
    enc, plain = make(('bach', 'mozart')), make(())
    mine, ids = np.zeros(len(enc.vocab), bool), enc.encode(PIECE)
    mine[enc.composers] = True
    assert after(enc, [BOS])[mine].all() and enc.grammar(1).legal()[0].numpy()[mine].all()
    named = enc.opening('mozart')
    assert not after(enc, named)[mine].any()
    assert (after(enc, named)[~mine] == after(plain, [BOS])).all()
    for n in range(2, len(ids)):
        assert after(enc, ids[:n - 1])[ids[n - 1]] and after(enc, np.r_[named, ids[1:n - 1]])[ids[n - 1]]
        assert not after(enc, ids[:n])[mine].any()
        for begin in (ids[:1], named): # named or not, it goes on as it would without composers
            assert (after(enc, np.r_[begin, ids[1:n]])[~mine] == after(plain, plain.encode(PIECE)[:n])).all()
        strayed = np.r_[ids[:n], named[1], ids[n:n]] # where it has no meaning it changes nothing
        assert (after(enc, strayed)[~mine] == after(enc, ids[:n])[~mine]).all()


@pytest.mark.parametrize('durations', [False, True])
def test_rows_with_and_without_a_composer_side_by_side(durations):
    enc = NotewiseEncoder(EncodingConfig(composers=('bach', 'mozart'), velocity_bins=4, tempo_bins=4, durations=durations))
    grammar, first = enc.grammar(3, limits={p: dict(longest=2) for p in 'vp'}), torch.tensor([BOS, BOS, BOS])
    grammar.advance(first)
    v60 = enc.vocab.stoi['v60']
    grammar.advance(torch.tensor([enc.composers.start, v60, enc.composers.start + 1]))
    assert grammar.legal()[:, v60].tolist() == [True, False, True]
    assert grammar.legal()[:, enc.durations.start if durations else 3].tolist() == [False, True, False] # no wait before the first note
    assert not grammar.legal()[:, enc.composers].any()


@MAKERS
def test_a_transposed_piece_keeps_its_composer(make):
    enc, notes = make(('bach', 'mozart')), PIECE.copy()
    notes.attrs['composer'] = 'mozart'
    for semitones in (-60, -1, 0, 1, 60): # by table, and by notes where they fold
        moved = enc.transpose(enc.encode(notes), semitones)
        assert (moved[:2] == enc.opening('mozart')).all()
        assert enc.decode(moved).attrs['composer'] == 'mozart' and enc.decode(moved).attrs['dropped'] == 0
    assert (enc.transposition(2)[enc.composers] == np.arange(len(enc.vocab))[enc.composers]).all()


@MAKERS
@pytest.mark.parametrize('start', [0, 1, 2, 3, 40])
def test_a_clip_never_holds_a_composer(make, start):
    enc, rng = make(('bach', 'mozart')), np.random.default_rng(0)
    notes = note_table(np.arange(300)*4, rng.integers(1, 20, 300), rng.integers(40, 80, 300), rng.integers(1, 128, 300), rng.integers(0, 2, 300))
    notes.attrs['composer'] = 'mozart'
    if enc.config.tempo_bins: notes.attrs['tempos'] = [(0, 60.), (400, 200.)]
    ids = enc.encode(notes)
    assert ids[1] == enc.opening('mozart')[1]
    clip = enc.clip(ids, start, 100)
    kind = getattr(enc, 'kind', np.zeros(len(enc.vocab)))
    at = start + 20 + (kind[ids[start + 20]] == NotewiseEncoder.DURATION) # not between an onset and its duration
    stray = enc.clip(np.insert(ids, at, ids[1]), start, 100) # a generator without its grammar may write it anywhere
    for found in (clip, stray):
        assert len(found) == 100 and not np.isin(found, np.arange(len(enc.vocab))[enc.composers]).any()
    assert (clip == stray).all()


def test_chords_learnt_before_take_composers_on():
    plain = chordwise(())
    named = add_composer_tokens(plain, ['Bach', 'Mozart', 'Bach'])
    assert named.vocab.itos == [*plain.vocab.itos[:3], 'xxcomposer_bach', 'xxcomposer_mozart', *plain.vocab.itos[3:]]
    assert named.is_fit and (named.encode(PIECE)[1:-1] == plain.encode(PIECE)[1:-1] + 2).all()
    assert add_composer_tokens(named, ['Haydn']).vocab.itos[3:5] == ['xxcomposer_haydn', plain.vocab.itos[3]]
    assert not add_composer_tokens(ChordwiseEncoder(), ['Bach']).is_fit and add_composer_tokens(plain, []) is plain
    for composers in ((), ('bach',), ('mozart', 'bach'), ('bach', 'mozart', 'haydn')):
        with pytest.raises(ValueError, match='not those of the encoding'):
            make_encoder(EncodingConfig(scheme='chordwise', composers=composers), named.vocab.itos)
    with pytest.raises(ValueError, match='max_size'): ChordwiseEncoder(named.config).fit([PIECE], max_size=6)
    assert len(ChordwiseEncoder(named.config).fit([PIECE], max_size=8).vocab) == 8


@given(name=st.text(max_size=20))
def test_a_spelling_is_its_own_spelling(name):
    slug = composer_slug(name)
    assert composer_slug(slug) == slug == slug.lower() and all(c.isalnum() or c in '_-' for c in slug)
    if slug: EncodingConfig(composers=(slug,))


def test_every_letter_is_spelled_once_and_for_all():
    for c in map(chr, [*range(0x3100), *range(0xa640, 0xab70), *range(0xac00, 0xd7a4, 7), *range(0xf900, 0x10000), *range(0x1d400, 0x1d800)]):
        slug = composer_slug(f'a{c}b')
        assert composer_slug(slug) == slug and not any(s.isspace() or s.isupper() for s in slug), hex(ord(c))


def test_names_that_would_have_one_token_are_refused():
    assert composer_slugs(['Dvořák', 'Bach', 'Dvořák', 'C. Ph. E. Bach']) == ('bach', 'c_ph_e_bach', 'dvorak')
    with pytest.raises(ValueError, match="'J. S. Bach' and 'j_s_bach' would have one token, xxcomposer_j_s_bach"):
        composer_slugs(['J. S. Bach', 'Mozart', 'j_s_bach'])
    with pytest.raises(ValueError, match='no letter'): composer_slugs(['Bach', '???'])
