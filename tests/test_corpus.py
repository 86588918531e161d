"Corpora: splits by work, stores, clips, folders, resumed builds. Scores are made here from the toy corpus."
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import musiclm.build as builder
from musiclm.corpus import Corpus, clips, encode_file, toy_corpus
from musiclm.build import build_corpus, folder_corpus, music21_corpus
from musiclm.encoders import make_encoder
from musiclm.jobs import describe_build
from musiclm.notes import seal, transpose, write_midi
from musiclm.scores import read_score
from musiclm.sources import SPLITS
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig, composer_slug
from musiclm.chordwise import ChordwiseEncoder


@pytest.fixture(scope='module')
def toy(): return toy_corpus(n=24, beats=48)


@pytest.fixture
def folder(toy, tmp_path):
    "Two composers, three works of two movements each, a duplicate in another key, and a file that is no music."
    for i in range(12):
        write_midi(toy.notes(i), tmp_path/'scores'/toy.manifest.composer[i]/f'op. {i//4} sonata-{i//2 % 2 + 1}.mid')
    write_midi(transpose(toy.notes(0), -3), tmp_path/'scores'/'alto'/'transposed.mid')
    (tmp_path/'scores'/'basso'/'words.mid').write_text('no music')
    return tmp_path/'scores'


# ---- the store

def test_store_round_trip(toy, tmp_path):
    back = Corpus.load(toy.save(tmp_path/'deep'/'store'))
    assert [p.name for p in (tmp_path/'deep').iterdir()] == ['store']
    pd.testing.assert_frame_equal(back.manifest, toy.manifest)
    assert isinstance(back.store, np.memmap) and back.store.dtype == np.uint16
    assert all((back.tokens(i) == toy.tokens(i)).all() for i in range(len(toy)))
    assert back.vocab == toy.vocab and back.encoder.config == toy.encoder.config
    assert back.indices('train') == toy.indices('train')


def test_other_encodings_are_stored(tmp_path):
    config = EncodingConfig(part_order=('p', 'v'), max_wait=24)
    back = Corpus.load(toy_corpus(4, 16, encoder=NotewiseEncoder(config)).save(tmp_path/'s'))
    assert back.encoder.config == config and back.vocab == NotewiseEncoder(config).vocab


def test_store_replaces_a_corpus_but_nothing_else(toy, tmp_path):
    toy.save(tmp_path/'s')
    toy.select([0, 1]).save(tmp_path/'s')
    assert len(Corpus.load(tmp_path/'s')) == 2
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'thesis.txt').write_text('dear')
    with pytest.raises(ValueError, match='something else'): toy.save(tmp_path/'mine')
    assert (tmp_path/'mine'/'thesis.txt').read_text() == 'dear'
    assert sorted(os.listdir(tmp_path)) == ['mine', 's']


def test_a_save_that_fails_leaves_the_old_store(toy, tmp_path, monkeypatch):
    toy.select([0]).save(tmp_path/'s')
    def full(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr('musiclm.corpus.write_tokens', full)
    with pytest.raises(ValueError, match='No space'): toy.save(tmp_path/'s')
    assert len(Corpus.load(tmp_path/'s')) == 1 and os.listdir(tmp_path) == ['s']


@pytest.mark.parametrize('breakage', ['missing', 'vocab', 'short', 'pickle', 'option'])
def test_broken_stores_are_refused(toy, tmp_path, breakage):
    store = toy.save(tmp_path/'s')
    if breakage == 'missing': (store/'tokens.npy').unlink()
    if breakage == 'vocab': (store/'vocab.json').write_text(json.dumps(['xxpad', 'xxbos', 'xxeos', 'a']))
    if breakage == 'short': np.save(store/'tokens.npy', np.zeros(5, np.uint16))
    if breakage == 'pickle': np.save(store/'tokens.npy', np.array([{'a': 1}], dtype=object), allow_pickle=True)
    if breakage == 'option': (store/'encoding.json').write_text('{"colour": "red"}')
    with pytest.raises(ValueError, match=str(store)): Corpus.load(store)


# ---- clips

def test_clips_have_one_length_and_no_marks(toy):
    cut, where = clips(toy, 100, per_piece=3)
    assert cut.shape == (len(where), 100) and cut.dtype == np.uint16 and cut.min() > 2
    assert (where.composer == toy.manifest.composer[where.piece].to_numpy()).all()
    assert where.groupby('piece').size().max() <= 3
    for (i, start), ids in zip(where[['piece', 'start']].to_numpy(), cut):
        assert (ids == toy.encoder.clip(toy.tokens(i), start, 100)).all()


def test_clips_of_a_piece_do_not_depend_on_the_split_asked_for(toy):
    every, where = clips(toy, 64, per_piece=2, seed=5)
    test, in_test = clips(toy, 64, split='test', per_piece=2, seed=5)
    assert (every[where.piece.isin(in_test.piece)] == test).all()
    assert set(in_test.piece) == set(toy.indices('test'))


def test_short_pieces_give_no_clips(toy):
    lengths = toy.manifest.n_tokens
    cut, where = clips(toy, int(lengths.median()), per_piece=1)
    assert 0 < len(where) < len(toy)
    assert (lengths[where.piece] >= lengths.median() + 2).all()
    assert clips(toy, 10**6)[0].shape == (0, 10**6)


def test_clip_starts_are_spread(toy):
    long = toy_corpus(2, beats=600)
    _, where = clips(long, 50, per_piece=8)
    for i, starts in where.groupby('piece').start:
        assert len(starts) == 8 and np.diff(starts).min() > 0
        assert starts.max() - starts.min() > .6*len(long.tokens(i))


# ---- the toy corpus

def test_toy_styles_differ_and_repeat_under_a_seed():
    a, b, c = toy_corpus(8, seed=1), toy_corpus(8, seed=1), toy_corpus(8, seed=2)
    assert (a.store == b.store).all() and not np.array_equal(a.store, c.store)
    per_beat = a.manifest.n_notes.groupby(a.manifest.composer).mean()/64
    assert per_beat['basso'] > per_beat['alto']
    assert set(a.notes(0).part) == {0, 1}


def test_toy_pieces_encode_without_loss(toy):
    for i in range(4):
        notes = toy.notes(i)
        assert len(notes) == toy.manifest.n_notes[i] and notes.attrs['dropped'] == 0


# ---- reading

@pytest.mark.parametrize('part_map', ['auto', 'piano', 'top'])
def test_encode_file_is_encoding_what_is_read(toy, tmp_path, part_map):
    path, encoder = write_midi(toy.notes(2), tmp_path/'t.mid'), NotewiseEncoder()
    assert (encode_file(path, encoder, part_map) == encoder.encode(read_score(path, part_map=part_map))).all()


def test_folder_corpus(folder, tmp_path):
    corpus = folder_corpus(folder, workers=1, cache=tmp_path/'c', progress=False)
    assert len(corpus) == 12 and corpus.manifest.work.nunique() == 6
    assert (corpus.manifest.groupby('work').split.nunique() == 1).all()
    assert set(corpus.manifest.composer) == {'alto', 'basso'}
    assert corpus.errors.path.tolist() == ['alto/transposed.mid', 'basso/words.mid']
    assert 'the same music as alto/op. 0' in corpus.errors.reason[0] and 'not a MIDI' in corpus.errors.reason[1]
    back = Corpus.load(corpus.save(tmp_path/'s'))
    pd.testing.assert_frame_equal(back.errors, corpus.errors)


def test_workers_change_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr('musiclm.build.MIN_PARALLEL_COST', 0)
    one, two = (folder_corpus(folder, workers=n, cache=tmp_path/f'c{n}', progress=False) for n in (1, 2))
    assert (one.store == two.store).all()
    pd.testing.assert_frame_equal(one.manifest, two.manifest)
    pd.testing.assert_frame_equal(one.errors, two.errors)


@pytest.fixture
def reads(monkeypatch):
    "The names of the scores that are read, in their order; reading stops where the list's `stop` says."
    class Reads(list): stop = None
    from musiclm import corpus
    found, real = Reads(), corpus.read_tracks
    def read(path, *args, **kwargs):
        if len(found) == found.stop: raise KeyboardInterrupt
        found.append(os.path.basename(path))
        return real(path, *args, **kwargs)
    monkeypatch.setattr(corpus, 'read_tracks', read)
    return found


def store_bytes(folder): return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_stopped_build_resumes(folder, tmp_path, reads, monkeypatch):
    monkeypatch.setattr('musiclm.build.in_batches', lambda jobs: [(1, [job]) for job in jobs])
    build = lambda out: folder_corpus(folder, out=tmp_path/out, workers=1, cache=tmp_path/'c', progress=False)
    reads.stop = 5
    with pytest.raises(KeyboardInterrupt): build('s')
    assert not (tmp_path/'s').exists()
    with open(tmp_path/'.s.building'/'answers.jsonl', 'a') as f: f.write('["half a li') # as if the power had failed
    with open(tmp_path/'.s.building'/'tokens.bin', 'ab') as f: f.write(b'and half a piece')
    reads.stop = None
    assert len(build('s')) == 12 and len(reads) == len(set(zip(reads, range(14)))) == 14 # every score once in all
    build('other')
    assert store_bytes(tmp_path/'s') == store_bytes(tmp_path/'other')
    assert sorted(os.listdir(tmp_path)) == ['other', 's', 'scores'] # no journal is left


def test_only_what_is_new_is_encoded(folder, toy, tmp_path, reads):
    build = lambda out: folder_corpus(folder, out=tmp_path/out, workers=1, cache=tmp_path/'c', progress=False)
    build('s')
    write_midi(toy.notes(20), folder/'alto'/'a new one.mid')
    (folder/'alto'/'op. 0 sonata-1.mid').rename(folder/'alto'/'op. 0 sonata-3.mid') # the same content under another name
    reads.clear()
    assert len(build('s')) == 13
    assert sorted(reads) == ['a new one.mid', 'transposed.mid', 'words.mid'] # what was left out is tried again
    afresh, grown = build('afresh'), Corpus.load(tmp_path/'s')
    assert afresh.manifest.key.tolist() == grown.manifest.key.tolist() and (np.array(grown.store) == np.array(afresh.store)).all()
    reads.clear()
    folder_corpus(folder, NotewiseEncoder(EncodingConfig(max_wait=24)), out=tmp_path/'s', workers=1, progress=False)
    assert len(reads) == 15 # another encoding


def test_works_keep_their_split_when_files_are_added(toy, tmp_path):
    def scores(rows):
        for i in rows: write_midi(toy.notes(i), tmp_path/'scores'/toy.manifest.composer[i]/f'sonata {i//4}-{i//2 % 2}.mid')
    build = lambda: folder_corpus(tmp_path/'scores', out=tmp_path/'s', workers=1, progress=False)
    scores(range(4, 24))
    before = build().manifest.groupby('work').split.first()
    scores(range(4))
    after = build().manifest.groupby('work').split.first()
    assert len(after) == len(before) + 2 and (after[before.index] == before).all() and set(after) <= set(SPLITS)


# ---- composers

@pytest.fixture
def build(folder, tmp_path):
    "Build a store of the folder, with composers unless told otherwise."
    def build(encoder=None, out='s', composer_tokens=True, **options):
        return folder_corpus(folder, encoder, out=tmp_path/out, workers=1, cache=tmp_path/'c', progress=False,
                             composer_tokens=composer_tokens, **options)
    return build


def as_read(corpus, folder):
    "What `encode` makes of every score of a corpus and its composer."
    for i, row in enumerate(corpus.manifest.itertuples()):
        notes = read_score(folder/row.piece, corpus.encoder.config.steps_per_beat)
        notes.attrs['composer'] = row.composer
        yield corpus.tokens(i), corpus.encoder.encode(notes)


NAMED = pytest.mark.parametrize('config', [EncodingConfig(), EncodingConfig(velocity_bins=8, tempo_bins=8),
                                           EncodingConfig(scheme='chordwise', steps_per_beat=4)], ids=['notewise', 'loud', 'chordwise'])


@NAMED
def test_every_piece_of_a_corpus_names_its_composer(build, folder, config):
    built, plain = build(make_encoder(config)), build(make_encoder(config), out='plain', composer_tokens=False)
    assert built.encoder.config.composers == ('alto', 'basso') and plain.encoder.config == config
    for i, (found, expected) in enumerate(as_read(built, folder)):
        assert (found == expected).all() and (found[:2] == built.encoder.opening(built.manifest.composer[i])).all()
        assert built.notes(i).attrs['composer'] == built.manifest.composer[i] and built.notes(i).attrs['dropped'] == 0
        words = plain.encoder.to_text(plain.tokens(i)).split()
        assert built.encoder.to_text(found).split() == ['xxbos', f'xxcomposer_{built.manifest.composer[i]}', *words[1:]]
    assert (built.manifest.n_tokens == plain.manifest.n_tokens + 1).all()
    assert (built.manifest.drop(columns=['n_tokens', 'offset']) == plain.manifest.drop(columns=['n_tokens', 'offset'])).all().all()


@NAMED
def test_a_new_composer_gives_all_pieces_their_right_tokens(build, folder, toy, reads, config):
    first = build(make_encoder(config))
    for i in range(12, 16): write_midi(toy.notes(i), folder/'Aaron B.'/f'song {i}.mid') # sorted before the others
    reads.clear()
    grown, afresh = build(make_encoder(config)), build(make_encoder(config), out='other')
    assert grown.encoder.config.composers == ('aaron_b', 'alto', 'basso') and len(grown) == len(first) + 4
    for corpus in (grown, afresh):
        assert all((found == expected).all() for found, expected in as_read(corpus, folder))
        assert [corpus.notes(i).attrs['composer'] for i in range(len(corpus))] == [
            {'Aaron B.': 'aaron_b'}.get(c, c) for c in corpus.manifest.composer]
    assert grown.manifest.key.tolist() == afresh.manifest.key.tolist()


def test_composers_come_and_go_without_reading_again(build, folder, toy, reads):
    build(composer_tokens=False)
    whole, left_out = store_bytes(folder.parent/'s'), ['transposed.mid', 'words.mid'] # these are tried again each time
    alto, carlo = (folder/who/'op. 1 sonata-1.mid' for who in ('alto', 'carlo'))
    carlo.parent.mkdir()
    for here, there, composers in ((alto, alto, ('alto', 'basso')), (alto, carlo, ('alto', 'basso', 'carlo')), (carlo, alto, ('alto', 'basso'))):
        here.rename(there)
        reads.clear()
        built = build()
        assert built.encoder.config.composers == composers and sorted(reads) == left_out
        assert all((found == expected).all() for found, expected in as_read(built, folder))
    reads.clear()
    build(composer_tokens=False)
    assert sorted(reads) == left_out and store_bytes(folder.parent/'s') == whole


def test_a_stopped_build_resumes_with_composers(build, reads, monkeypatch):
    monkeypatch.setattr('musiclm.build.in_batches', lambda jobs: [(1, [job]) for job in jobs])
    reads.stop = 5
    with pytest.raises(KeyboardInterrupt): build()
    reads.stop = None
    build()
    assert len(reads) == 14 # every score once in all
    assert (np.array(build().store) == np.array(build(out='other').store)).all()


def test_composers_of_whom_nothing_can_be_read_have_no_token(build, folder):
    (folder/'zeno').mkdir()
    (folder/'zeno'/'words.mid').write_text('no music')
    assert build().encoder.config.composers == ('alto', 'basso')


def test_composers_that_the_encoding_names_itself(build, folder):
    built = build(NotewiseEncoder(EncodingConfig(composers=('zeno', 'basso'))), composer_tokens=False)
    assert built.encoder.config.composers == ('zeno', 'basso')
    for i, (found, expected) in enumerate(as_read(built, folder)):
        assert (found == expected).all() and built.notes(i).attrs.get('composer') == {'basso': 'basso'}.get(built.manifest.composer[i])
    assert build(built.encoder, out='t').encoder.config.composers == ('alto', 'basso')


def test_composers_who_cannot_be_told_apart_are_refused_before_the_work(build, folder, toy, reads):
    write_midi(toy.notes(20), folder/'Alto'/'x.mid')
    with pytest.raises(ValueError, match="^the composers 'Alto' and 'alto' would have one token, xxcomposer_alto: rename one$"): build()
    with pytest.raises(ValueError, match='would have one token'):
        build(NotewiseEncoder(EncodingConfig(composers=('alto',))), composer_tokens=False)
    assert not reads and len(build(NotewiseEncoder(EncodingConfig(composers=('basso',))), composer_tokens=False)) == 13


def test_the_fast_path_names_a_composer_too(toy, tmp_path):
    path = write_midi(toy.notes(2), tmp_path/'t.mid')
    for config in (EncodingConfig(composers=('bach',)), EncodingConfig(scheme='chordwise', steps_per_beat=4, composers=('bach',))):
        encoder, notes = make_encoder(config), read_score(path, config.steps_per_beat)
        if config.scheme == 'chordwise': encoder.fit([notes])
        for composer in ('Bach', 'Haydn', None):
            notes.attrs['composer'] = composer
            assert (encode_file(path, encoder, composer=composer) == encoder.encode(notes)).all()
        assert (encode_file(path, encoder) == encoder.encode(read_score(path, config.steps_per_beat))).all()


def test_clips_of_pieces_that_name_a_composer_do_not(toy):
    named = toy_corpus(n=24, beats=48, encoder=NotewiseEncoder(EncodingConfig(composers=('alto', 'basso'))))
    assert np.isin(named.store, [named.encoder.composers.start, named.encoder.composers.start + 1]).sum() == 24
    for length in (20, 100):
        cut, where = clips(named, length, per_piece=20)
        assert len(cut) > 24 and cut.max() < named.encoder.composers.start
        assert (where.start == 1).any() # right behind xxbos, where the composer stands


def test_composers_of_music21(tmp_path):
    corpus = music21_corpus(('bach', 'monteverdi'), max_pieces=2, cache=tmp_path/'c', progress=False, workers=1, composer_tokens=True)
    assert corpus.encoder.config.composers == tuple(sorted(map(composer_slug, corpus.manifest.composer.unique())))
    for i in range(len(corpus)): assert (corpus.tokens(i)[:2] == corpus.encoder.opening(corpus.manifest.composer[i])).all()


def test_a_place_that_cannot_be_written_is_one_error(folder):
    with pytest.raises(ValueError, match='cannot be written'): folder_corpus(folder, out='/proc/x/y', progress=False)


def test_two_builds_do_not_meet(folder, tmp_path):
    from musiclm.build import open_journal
    with open_journal(tmp_path/'s'):
        with pytest.raises(ValueError, match='another build'): folder_corpus(folder, out=tmp_path/'s', progress=False)


def test_a_store_is_refused_before_the_work(folder, tmp_path, reads):
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'thesis.txt').write_text('dear')
    with pytest.raises(ValueError, match='something else'): folder_corpus(folder, out=tmp_path/'mine')
    assert not reads


def test_a_file_that_kills_its_process_is_found(folder, tmp_path, monkeypatch):
    import musiclm.build as corpus
    def job(job, encoder, reading):
        if 'words' in job.path: os._exit(1)
        return encode_job(job, encoder, reading)
    encode_job = corpus.encode_job
    def batch(jobs, encoder, reading): return [job(j, encoder, reading) for j in jobs]
    monkeypatch.setattr(corpus, 'MIN_PARALLEL_COST', 0)
    monkeypatch.setattr(corpus, 'encode_batch', batch) # travels to the processes by value
    built = folder_corpus(folder, out=tmp_path/'s', workers=2, cache=tmp_path/'c', progress=False)
    assert len(built) == 12
    assert dict(built.errors.values.tolist())['basso/words.mid'] == 'the process that read it died (out of memory?)'


def test_chords_are_learnt_from_the_training_split(folder, tmp_path):
    config = EncodingConfig(scheme='chordwise', steps_per_beat=4)
    built = folder_corpus(folder, ChordwiseEncoder(config), out=tmp_path/'s', workers=1, progress=False)
    train = [read_score(folder/p, 4) for p in built.manifest.piece[built.manifest.split == 'train']]
    learnt = ChordwiseEncoder(config).fit(train)
    assert built.vocab == learnt.vocab and Corpus.load(tmp_path/'s').vocab == learnt.vocab
    for i in range(len(built)): assert (built.tokens(i) == learnt.encode(read_score(folder/built.manifest.piece[i], 4))).all()
    again = folder_corpus(folder, ChordwiseEncoder(config), out=tmp_path/'s', workers=1, progress=False) # over itself
    assert again.vocab == learnt.vocab and (np.array(again.store) == np.array(built.store)).all()
    given = folder_corpus(folder, learnt, workers=1, progress=False) # a vocabulary that was learnt before
    assert (given.store == built.store).all() and given.manifest.n_replaced.sum() == built.manifest.n_replaced.sum()
    over = folder_corpus(folder, NotewiseEncoder(EncodingConfig(steps_per_beat=4)), out=tmp_path/'s', workers=1, progress=False)
    assert (over.tokens(0) == over.encoder.encode(read_score(folder/over.manifest.piece[0], 4))).all()
    assert built.manifest.n_replaced.sum() > 0
    assert (built.manifest.n_replaced[built.manifest.split == 'train'] == 0).all()


def test_chords_need_pieces_to_learn_from(folder, tmp_path):
    table = pd.DataFrame(dict(path=[p.relative_to(folder).as_posix() for p in sorted(folder.rglob('op*.mid'))], split='test'))
    with pytest.raises(ValueError, match='no piece to train on'):
        folder_corpus(folder, ChordwiseEncoder(), table, workers=1, progress=False)


def test_a_damaged_journal_is_begun_anew_and_a_damaged_store_refuses(folder, tmp_path):
    build = lambda: folder_corpus(folder, out=tmp_path/'s', workers=1, progress=False)
    build()
    whole = store_bytes(tmp_path/'s')
    (tmp_path/'.s.building').mkdir()
    (tmp_path/'.s.building'/'answers.jsonl').write_text('no json\n')
    build()
    assert store_bytes(tmp_path/'s') == whole
    (tmp_path/'s'/'vocab.json').write_text('[]') # its splits would be forgotten
    with pytest.raises(ValueError, match='vocab.json is damaged'): build()
    assert (tmp_path/'s'/'vocab.json').read_text() == '[]'
    seal(tmp_path/'s')
    with pytest.raises(ValueError, match='broken corpus'): build()


def test_a_flipped_bit_of_a_store_is_noticed(tmp_path):
    store = toy_corpus(8).save(tmp_path/'s')
    for file in sorted(store.iterdir()):
        whole = file.read_bytes()
        for at in np.random.default_rng(0).integers(0, 8*len(whole), 20):
            data = bytearray(whole)
            data[at//8] ^= 1 << at % 8
            file.write_bytes(data)
            with pytest.raises(ValueError, match='is damaged' if file.name != 'sha256.json' else 'damaged|broken'): Corpus.load(store)
        file.write_bytes(whole)
    (store/'sha256.json').unlink() # as of version 0.1
    tokens = np.load(store/'tokens.npy')
    np.save(store/'tokens.npy', np.r_[tokens[:-1], np.uint16(9999)])
    with pytest.raises(ValueError, match='beyond its vocabulary'): Corpus.load(store)


def test_a_kill_between_the_two_renames_loses_nothing(folder, tmp_path):
    build = lambda: folder_corpus(folder, out=tmp_path/'s', workers=1, progress=False)
    build()
    whole, dead = store_bytes(tmp_path/'s'), subprocess.run([sys.executable, '-c', 'import os; print(os.getpid())'],
                                                           capture_output=True, text=True).stdout.strip()
    shutil.copytree(tmp_path/'s', tmp_path/f'.s.new{dead}')
    (tmp_path/'s').rename(tmp_path/f'.s.old{dead}') # as a kill leaves it
    old = pd.read_parquet(tmp_path/f'.s.old{dead}'/'manifest.parquet')
    assert folder_corpus(folder, out=tmp_path/'s', workers=1, seed=5, progress=False).manifest['split'].equals(old['split'])
    assert store_bytes(tmp_path/'s') == whole and not [*tmp_path.glob('.s.*')]


def test_a_store_behind_a_link_is_replaced_where_it_is(folder, tmp_path):
    (tmp_path/'disk').mkdir()
    folder_corpus(folder, out=tmp_path/'disk'/'s', workers=1, progress=False)
    (tmp_path/'link').symlink_to(tmp_path/'disk'/'s')
    folder_corpus(folder, NotewiseEncoder(EncodingConfig(max_wait=24)), out=tmp_path/'link', workers=1, progress=False)
    assert (tmp_path/'link').is_symlink() and Corpus.load(tmp_path/'disk'/'s').encoder.config.max_wait == 24


@pytest.mark.parametrize('options, reason', [(dict(max_gap=0), 'max_gap'), (dict(tempo_grid='beats'), 'tempo_grid'),
                                             (dict(part_map={'v': '('}), 'no pattern'), (dict(part_map='best'), 'part_map')])
def test_options_are_looked_at_before_the_files(folder, tmp_path, reads, options, reason):
    with pytest.raises(ValueError, match=reason): folder_corpus(folder, out=tmp_path/'s', progress=False, **options)
    assert not reads and not (tmp_path/'s').exists()


def test_an_empty_or_missing_folder(tmp_path):
    with pytest.raises(ValueError, match='no such folder'): folder_corpus(tmp_path/'none')
    with pytest.raises(ValueError, match='no scores in it'): folder_corpus(tmp_path)
    (tmp_path/'x').mkdir()
    (tmp_path/'x'/'a.mid').write_text('words')
    with pytest.raises(ValueError, match='no piece could be read'):
        folder_corpus(tmp_path, cache=tmp_path/'c', workers=1, progress=False)


def test_build_keeps_the_order_of_the_manifest(folder, tmp_path):
    paths = sorted(folder.rglob('*sonata*.mid'), reverse=True)
    table = pd.DataFrame(dict(path=paths, piece=[p.name + p.parent.name for p in paths], composer='x', work='x'))
    corpus = build_corpus(table, cache=tmp_path/'c', workers=1, progress=False)
    assert corpus.manifest.piece.tolist() == table.piece.tolist()
    assert (corpus.tokens(0) == encode_file(paths[0])).all()


def test_a_script_without_a_main_guard_can_build(folder, tmp_path):
    script = tmp_path/'script.py'
    script.write_text('import musiclm.corpus\nfrom musiclm.corpus import folder_corpus\nmusiclm.build.MIN_PARALLEL_COST = 0\n'
                      f'c = folder_corpus({str(folder)!r}, workers=2, cache={str(tmp_path/"c")!r}, progress=False)\n'
                      'print(len(c))\n')
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ('12\n', 0), done.stderr


def test_a_few_pieces_of_music21(tmp_path):
    corpus = music21_corpus('bach', max_pieces=6, cache=tmp_path/'c', progress=False, workers=1)
    assert 3 <= len(corpus) <= 7 and set(corpus.manifest.split) == set(SPLITS)
    assert {'title', 'licence', 'n_notes', 'n_tokens'} <= set(corpus.manifest)
    for i in range(len(corpus)):
        notes = corpus.notes(i)
        assert set(notes.part) == {0, 1}
        assert notes.pitch[notes.part == 0].mean() > notes.pitch[notes.part == 1].mean()


def test_a_score_that_takes_too_long_is_left_out(folder, tmp_path, monkeypatch):
    whole = folder_corpus(folder, workers=1, progress=False)
    slow, read_for = whole.manifest.piece[3], builder.read_for
    def stuck(encoder, path, *args, **kwargs):
        while str(path).endswith(slow):
            try: time.sleep(.01)
            except Exception: pass # as music21 does
        return read_for(encoder, path, *args, **kwargs)
    monkeypatch.setattr(builder, 'read_for', stuck)
    monkeypatch.setattr(builder, 'MAX_SECONDS', .3)
    found = folder_corpus(folder, workers=1, progress=False)
    assert dict(found.errors.values)[slow] == 'reading took over 0.3 seconds' and len(found) == len(whole) - 1


@pytest.mark.skipif(os.name != 'posix', reason='elsewhere a process does not learn who its parent is')
def test_a_worker_ends_with_its_parent():
    worker = 'import os, time; from musiclm.build import end_with; end_with(os.getppid()); print(os.getpid(), flush=True); time.sleep(99)'
    with subprocess.Popen([sys.executable, '-c', f'import subprocess, sys; subprocess.run([sys.executable, "-c", {worker!r}])'],
                          stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    def alive():
        try: return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z' if Path('/proc').is_dir() else not os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError): return False
    until = time.monotonic() + 20
    while alive() and time.monotonic() < until: time.sleep(.1)
    assert not alive()


def test_a_folder_may_be_a_work(toy, tmp_path):
    for i in range(24): write_midi(toy.notes(i), tmp_path/'schubert'/f'cycle {i//6}'/f'{chr(97 + i)} song.mid')
    by_name, by_folder = (folder_corpus(tmp_path, workers=1, progress=False, work_from=w) for w in ('name', 'folder'))
    assert by_name.manifest.work.nunique() == len(by_name) and by_folder.manifest.work.nunique() == 4
    assert (by_folder.manifest.groupby('work')['split'].nunique() == 1).all()
    assert 'with pieces in several splits, the largest schubert/cycle' in describe_build(by_name, 'out')[-1]
    assert not any('several splits' in line for line in describe_build(by_folder, 'out'))
    with pytest.raises(ValueError, match='work_from'): folder_corpus(tmp_path, work_from='title')


def test_pieces_of_some_composers():
    corpus = toy_corpus(n=24, beats=8, composers=('Alto, Anna', 'Basso, Bob', 'Alto, Zoe', 'Tenor'))
    assert set(corpus.of_composers(['bob basso', 'zoe alto']).manifest.composer) == {'Basso, Bob', 'Alto, Zoe'}
    assert corpus.of_composers(most=2).manifest.composer.nunique() == 2 and len(corpus.of_composers(min_works=3)) == 24
    for kwargs, message in ((dict(composers=['Alto']), 'may be'), (dict(composers=['Liszt']), 'no composer'), (dict(min_works=9), 'no composer has 9')):
        with pytest.raises(ValueError, match=message): corpus.of_composers(**kwargs)


def killed_at(k, build): # True if the build came to its end before the k-th event
    "Run a build in a process that is killed at its k-th rename, write or removal."
    import builtins
    import io
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # of the threads that a fork leaves behind
        pid = os.fork()
    if pid: return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    left = [k]
    def counted(f, counts=lambda *args, **kwargs: True):
        def g(*args, **kwargs):
            left[0] -= counts(*args, **kwargs)
            if not left[0]: os._exit(9) # as kill -9: nothing is cleaned up
            return f(*args, **kwargs)
        return g
    try:
        for name in ('rename', 'replace', 'unlink', 'rmdir', 'mkdir'): setattr(os, name, counted(getattr(os, name)))
        writing = lambda file, mode='r', *args, **kwargs: bool(set(mode) & set('wax+'))
        builtins.open = io.open = counted(open, writing)
        pd.DataFrame.to_parquet = counted(pd.DataFrame.to_parquet)
        build()
    except BaseException: os._exit(8)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_kill_at_any_rename_or_write_leaves_the_splits_as_they_were(folder, tmp_path):
    folder_corpus(folder, out=tmp_path/'before', workers=1, progress=False)
    splits = Corpus.load(tmp_path/'before').manifest.set_index('piece')['split']
    other = NotewiseEncoder(EncodingConfig(max_wait=6))
    build = lambda: folder_corpus(folder, other, out=tmp_path/'s', workers=1, seed=5, progress=False)
    for k in range(1, 500):
        shutil.copytree(tmp_path/'before', tmp_path/'s')
        done = killed_at(k, build)
        found = build()
        assert found.manifest.set_index('piece')['split'].equals(splits) and found.encoder.config == other.config
        assert sorted(p.name for p in tmp_path.iterdir()) == ['before', 's', 'scores'], k
        shutil.rmtree(tmp_path/'s')
        if done: break
    assert 15 < k < 499
