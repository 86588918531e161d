"Every encoding through the whole pipeline; MidiTok's tokenizers as encoders: round trips, noise, grammar, files."
import json
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclm.compare import leaderboard
from musiclm.composer import baseline_probabilities, composer_learner, histogram_features, probabilities
from musiclm.corpus import Corpus, clips, toy_corpus
from musiclm.critic import baseline_critic_scores, clips_of_pieces, generated_clips
from musiclm.data import RandomTranspose, classifier_dataloaders, lm_dataloaders
from musiclm.encoders import (TOKENIZERS, MidiTokEncoder, make_encoder, miditok_encoder, read_tokenizer, tokenizer_text,
                              train_bpe)
from musiclm.generator import generator_learner
from musiclm.compare import evaluate_lm
from musiclm.metrics import inception_score
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram
from musiclm.notes import note_table, transpose
from musiclm.sampling import sample
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import BOS, EOS, EncodingConfig, OWN_ENCODERS, PAD

ENDS = NotewiseEncoder(EncodingConfig(durations=False))
from musiclm.chordwise import ChordwiseEncoder

OPTIONS = { # of MidiTok's tokenizers, each with what it says of a note
    'velocities': dict(use_velocities=True), 'programs changed': dict(program_changes=True),
    'meters, tempos, rests': dict(use_time_signatures=True, use_tempos=True, use_rests=True),
    'no programs': dict(use_programs=False), 'intervals': dict(use_pitch_intervals=True)}
NAMES = ['notewise', 'chordwise', *TOKENIZERS, *(f'{n} BPE' for n in TOKENIZERS)]


@cache
def tables(): # of a made-up corpus, training split
    corpus = toy_corpus(n=16, beats=32)
    return [corpus.notes(i) for i in corpus.indices('train')]


@cache
def encoder(name):
    if name == 'notewise': return NotewiseEncoder()
    if name == 'chordwise':
        return ChordwiseEncoder(EncodingConfig(scheme='chordwise', steps_per_beat=12)).fit(tables(), semitones=(-2, 2))
    made = miditok_encoder(name.split()[0])
    return train_bpe(made, tables(), len(made.vocab) + 60) if 'BPE' in name else made


def same(a, b): return a.values.shape == b.values.shape and (a.values == b.values).all()


@pytest.mark.parametrize('name', NAMES)
def test_a_store_gives_its_encoder_back(name, tmp_path):
    enc = encoder(name)
    corpus = toy_corpus(n=4, beats=16, encoder=enc)
    back = Corpus.load(corpus.save(tmp_path/'store'))
    assert back.encoder.config == enc.config and back.vocab == enc.vocab
    for i in range(4):
        assert np.array_equal(back.tokens(i), corpus.tokens(i))
        assert same(back.notes(i), corpus.notes(i)) and back.notes(i).attrs['dropped'] == 0
        assert np.array_equal(back.encoder.encode(back.notes(i)), corpus.tokens(i))


@pytest.mark.parametrize('name', [n for n in NAMES if n != 'chordwise'])
def test_all_encodings_of_short_notes_keep_the_same(name):
    enc, plain = encoder(name), ENDS
    for notes in tables():
        kept = plain.normalise(notes)
        assert same(enc.decode(enc.encode(notes)), kept) and same(enc.normalise(notes), kept)


@pytest.mark.parametrize('name', NAMES)
def test_the_whole_pipeline(name, tmp_path):
    enc = encoder(name)
    corpus = toy_corpus(n=16, beats=32, encoder=enc)
    torch.manual_seed(0)
    learn = generator_learner(lm_dataloaders(corpus, bs=4, seq_len=64, semitones=(-2, 2), device='cpu'), size='tiny')
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    found = evaluate_lm(learn, corpus)
    test = corpus.indices('test')
    about = corpus.manifest.iloc[test]
    assert found['n_notes'] == about.n_notes.sum() and found['n_tokens'] == about.n_tokens.sum() - len(test)
    assert found['bits_per_note'].value == pytest.approx(
        found['nats_per_token'].value*found['n_tokens']/np.log(2)/found['n_notes'])
    assert (.8 if name == 'chordwise' else .98) < found['kept'] <= 1 # chords that it never saw lose notes
    model = load_model(save_model(learn, tmp_path/'model'))
    assert model.encoding == enc.config and model.vocab == enc.vocab
    prompts = [corpus.tokens(i)[:20] for i in test]
    pieces, again = (sample(m, 6, 60, prompts=prompts, min_tokens=60, top_k=None, seed=1) for m in (model, learn))
    assert all(np.array_equal(p.ids, q.ids) for p, q in zip(pieces, again))
    for p in pieces:
        assert len(p.ids) == 80 and np.array_equal(enc.from_text(p.text), p.ids)
        assert len(p.notes) and p.prompt_steps > 0
        if name != 'MIDILike BPE': assert p.notes.attrs['dropped'] < 6 # a note may be unfinished at the end

    cut, info = clips(corpus, 40)
    assert cut.shape[1] == 40 and (cut > EOS).all()
    valid = (corpus.manifest['split'].to_numpy()[info['piece']] != 'train')
    dls = classifier_dataloaders(cut, info['composer'], valid, enc, bs=8, semitones=(-2, 2), device='cpu')
    judge = composer_learner(dls, size='tiny')
    with judge.no_bar(), judge.no_logging(): judge.fit(1)
    fakes, _ = generated_clips(model, corpus, 'test', 6, length=40, prompt_tokens=16, random_freq=1., top_k=None)
    assert fakes.shape == (6, 40) and inception_score(probabilities(judge, fakes)).value >= 1
    grams = NGram.fit([corpus.tokens(i) for i in corpus.indices('train')], enc.vocab, enc.config, 2, transpositions=(0, 1))
    written = sample(grams, 4, 200, min_tokens=200, random_freq=1., top_k=None)
    assert probabilities(judge, clips_of_pieces(written, 40, 1)[0]).shape == (4, 2)
    if name in ('chordwise', 'TSD BPE'): # the longest way round
        board = leaderboard({'lstm': model, 'grams': grams}, judge, None, corpus, 6, prompt_tokens=16, progress=False, settings={'': dict(random_freq=1., top_k=None)})
        assert set(board.index) == {'lstm', 'grams'} and (board['n'] == 6).all()
    told = info.assign(split=np.where(~valid, 'train', np.where(np.arange(len(cut))%2, 'valid', 'test')))
    base = baseline_probabilities(cut, told, enc, ['alto', 'basso'])
    assert base.shape == ((told['split'] == 'test').sum(), 2)
    both, real = np.concatenate([cut, fakes]), np.arange(len(cut) + 6) < len(cut)
    scores = baseline_critic_scores(both, real, np.arange(len(both))%2 == 0, enc)
    assert all(np.isfinite(s).all() for s in scores.values())


@pytest.mark.parametrize('name', NAMES)
def test_an_item_is_moved_as_a_whole_and_a_clip_keeps_its_length(name):
    enc = encoder(name)
    move, notes = RandomTranspose(enc, (-2, 2), seed=1), enc.normalise(tables()[0])
    ids = enc.encode(notes)
    piece, cut = torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(enc.clip(ids, 5, 20).astype(np.int64))
    moved = {int(enc.decode(move.encodes(piece))['pitch'].iloc[0]) - int(notes['pitch'].iloc[0]) for _ in range(40)}
    assert moved == {-2, -1, 0, 1, 2}
    for _ in range(5):
        m = move.encodes(piece).numpy()
        steps = int(enc.decode(m)['pitch'].iloc[0]) - int(notes['pitch'].iloc[0])
        assert np.array_equal(m, enc.encode(transpose(notes, steps)))
        assert len(move.encodes(cut)) == 20 and (move.encodes(cut) > EOS).all()


def test_histograms_count_notes_of_any_encoding():
    found = [histogram_features(enc.encode(tables()[0])[None], enc)[:, len(enc.vocab):] for enc in map(encoder, NAMES)]
    assert all(np.array_equal(f, found[0]) for f in found)
    notes = ENDS.normalise(tables()[0])
    assert found[0].sum() == len(notes) - 2 + len(notes) + notes['onset'].nunique() - 1 # intervals, durations, gaps


@st.composite
def any_notes(draw): # overlaps, unisons, any pitch, silences
    note = st.tuples(st.integers(0, 1500), st.integers(1, 150), st.integers(0, 127), st.integers(1, 127), st.integers(0, 1))
    return note_table(*np.array(draw(st.lists(note, max_size=30)), np.int64).reshape(-1, 5).T)


@pytest.mark.parametrize('name', ['REMI', 'TSD', 'MIDILike', 'REMI BPE', 'MIDILike BPE'])
@given(notes=any_notes(), ids=st.lists(st.integers(-5, 800), max_size=120))
@settings(max_examples=25)
def test_notes_come_back_and_noise_does_no_harm(name, notes, ids):
    enc = encoder(name)
    back = enc.decode(enc.encode(notes))
    assert same(back, ENDS.normalise(notes)) and back.attrs['dropped'] == 0
    noise = enc.decode(ids)
    assert 0 <= noise.attrs['dropped'] <= len(ids) and (noise['duration'] > 0).all() and (noise['onset'] >= 0).all()
    for s in (-7, 3):
        normal = enc.normalise(notes)
        if not len(normal) or 21 <= normal.pitch.min() + s and normal.pitch.max() + s <= 108:
            assert np.array_equal(enc.transpose(enc.encode(normal), s), enc.encode(transpose(normal, s)))


@pytest.mark.parametrize('name', TOKENIZERS)
@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS.keys())
def test_options_of_a_tokenizer(name, options):
    if name == 'MIDILike' and 'use_pitch_intervals' in options:
        with pytest.raises(ValueError, match='intervals'): miditok_encoder(name, **options)
        return
    enc = miditok_encoder(name, **options)
    assert make_encoder(EncodingConfig.from_json(enc.config.to_json()), enc.vocab.itos).tokenizer == enc.tokenizer
    for notes in tables()[:3]:
        notes = notes.assign(velocity=np.arange(len(notes))%127 + 1)
        back, plain = enc.decode(enc.encode(notes)), ENDS.normalise(notes)
        if not enc.has_parts: plain = ENDS.normalise(notes.assign(part=1))
        assert back.attrs['dropped'] == 0
        assert same(back.drop(columns='velocity'), plain.drop(columns='velocity'))
        loud = notes.sort_values(['onset', 'part', 'pitch'])['velocity'].to_numpy()
        if enc.tokenizer.config.use_velocities and len(loud) == len(back): assert abs(loud - back['velocity']).max() <= 2
    grammar = enc.grammar(1)
    for token in torch.from_numpy(enc.encode(tables()[0])[1:].astype(np.int64)):
        assert grammar.legal()[0, token]
        grammar.advance(token[None])


@pytest.mark.parametrize('name', [n for n in NAMES if n not in ('notewise', 'chordwise')])
def test_what_the_grammar_allows_is_music(name):
    enc, closed = encoder(name), 0
    grammar, gen, rows = enc.grammar(16, limits={p: dict(longest=2) for p in enc.config.parts}), torch.Generator().manual_seed(0), []
    weight = torch.ones(len(enc.vocab))
    weight[EOS] = 30.
    weight[[i for i, b in enumerate(enc.base) if b and 'NoteOff' in b[-1]]] = 60.
    for _ in range(80):
        mask = grammar.legal()
        assert mask.any(1).all() and not mask[:, [PAD, BOS]].any()
        rows.append(torch.multinomial(mask*weight, 1, generator=gen)[:, 0])
        grammar.advance(rows[-1])
    for row in torch.stack(rows, 1).numpy():
        stops = np.flatnonzero(row == EOS)
        notes = enc.decode(np.r_[BOS, row[:stops[0] + 1] if len(stops) else row])
        if 'BPE' not in name: assert notes.attrs['dropped'] == 0 if len(stops) else notes.attrs['dropped'] < 4
        if 'BPE' not in name and name != 'MIDILike' and len(notes): assert notes['duration'].max() <= 24
        closed += len(stops) > 0
    assert closed


def test_hanging_notes_end_at_the_close_and_places_outside_bars_are_dropped():
    like, remi = encoder('MIDILike'), encoder('REMI')
    cut = like.decode(like.from_text('xxbos Program_0 NoteOn_60 TimeShift_0.6.12 Program_40 NoteOn_70'))
    assert cut[['onset', 'duration', 'pitch']].values.tolist() == [[0, 7, 60], [6, 1, 70]]
    found = remi.decode(remi.from_text('Program_0 Pitch_50 Duration_1.0.12 Position_36 Program_0 Pitch_60 Duration_1.0.12 '
                                       'Bar_None Position_0 Program_0 Pitch_62 Duration_1.0.12'))
    assert found[['onset', 'pitch']].values.tolist() == [[36, 60], [48, 62]] and found.attrs['dropped'] == 3
    stray = like.decode(like.from_text('Program_0 NoteOff_60 Program_0 NoteOn_62 TimeShift_1.0.12 NoteOff_62'))
    assert stray.attrs['dropped'] == 2 and stray['pitch'].tolist() == [62]


def test_a_clip_keeps_its_place_in_the_bar():
    remi = encoder('REMI')
    ids = remi.encode(note_table(np.arange(100)*12, 12, 60 + np.arange(100)%4)) # the pitch tells the beat
    for start in range(40, 60):
        clip = remi.decode(remi.clip(ids, start, 50))
        assert len(clip) > 8 and (clip['pitch'] == 60 + clip['onset']//12%4).all()


@pytest.mark.parametrize('change,message', [
    (dict(tokenization='CPWord'), "'CPWord' is not supported"), (dict(tokenization='__builtins__'), 'not supported'),
    (dict(_tokens_to_score='x'), 'unknown keys'), (dict(config=3), 'not those of MidiTok'),
    (dict(_model='{}'), 'rejects these parameters'), (dict(_vocab_base={'A': 1}), 'rejects these parameters|no tokenizer')])
def test_broken_or_hostile_parameters_are_refused(change, message):
    about = {**json.loads(tokenizer_text(encoder('REMI BPE').tokenizer)), **change}
    with pytest.raises(ValueError, match=message): read_tokenizer(json.dumps(about))


def test_absurd_sizes_are_refused():
    about = json.loads(encoder('REMI').config.tokenizer)
    about['config']['beat_res'] = {'0_1000000': 480}
    with pytest.raises(ValueError, match='exceeds the largest token id'): read_tokenizer(json.dumps(about))
    with pytest.raises(ValueError, match='not JSON'): read_tokenizer('{')


def test_a_tokenizer_that_cannot_stand_for_an_encoding_is_refused():
    import miditok
    with pytest.raises(ValueError, match="'Octuple' is not supported"): MidiTokEncoder('Octuple')
    with pytest.raises(ValueError, match='programs'): miditok_encoder('TSD', programs=[0])
    with pytest.raises(ValueError, match='not supported'): MidiTokEncoder(miditok.CPWord())
    with pytest.raises(ValueError, match='another version'): make_encoder(encoder('TSD').config, encoder('REMI').vocab.itos)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'miditok', None)
    with pytest.raises(ValueError, match=r'pip install musiclm\[miditok\]$'): miditok_encoder('REMI')


def test_chords_beyond_the_size_wanted_are_the_rarest():
    config = EncodingConfig(scheme='chordwise', steps_per_beat=12)
    whole, small = ChordwiseEncoder(config).fit(tables()), ChordwiseEncoder(config).fit(tables(), max_size=40)
    assert small.vocab.itos == whole.vocab.itos[:40] < whole.vocab.itos
    assert small.encode(tables()[0]).max() < 40 and small.n_replaced > 0
    with pytest.raises(ValueError, match='65536'): ChordwiseEncoder(config).fit(tables(), max_size=70000)


def test_chords_of_transpositions_are_learnt_when_asked_for():
    config = EncodingConfig(scheme='chordwise', steps_per_beat=12)
    plain, wide = ChordwiseEncoder(config).fit(tables()), encoder('chordwise')
    learnt, moved = wide.encode(tables()[0]), wide.transposition(2)
    assert moved[learnt].all() and not plain.transposition(2)[plain.encode(tables()[0])].all()
    assert same(wide.decode(moved[learnt]), wide.normalise(transpose(tables()[0], 2)))
    assert np.array_equal(wide.transpose(learnt, 2), moved[learnt])


class Renamed(NotewiseEncoder):
    "An encoding of one's own: the notewise one under another name."
    def __init__(self, config=None):
        own = config or EncodingConfig(scheme='renamed')
        super().__init__(replace(own, scheme='notewise'))
        self.config = own


def test_an_encoding_of_ones_own_is_stored_and_opened_again(tmp_path, monkeypatch):
    monkeypatch.setitem(OWN_ENCODERS, 'renamed', Renamed)
    corpus = toy_corpus(n=12, beats=16, encoder=Renamed())
    back = Corpus.load(corpus.save(tmp_path/'store'))
    assert type(back.encoder) is Renamed and same(back.notes(3), corpus.notes(3))
    model = NGram.fit([corpus.tokens(i) for i in corpus.indices('train')], corpus.vocab, corpus.encoder.config, order=2)
    assert type(sample(model, n=1, n_tokens=20)[0].encoder) is Renamed
    with pytest.raises(ValueError, match='composers have tokens'): EncodingConfig(scheme='renamed', composers=('bach',))
    monkeypatch.delitem(OWN_ENCODERS, 'renamed')
    with pytest.raises(ValueError, match="unknown encoding scheme 'renamed'.*OWN_ENCODERS"): Corpus.load(tmp_path/'store')
