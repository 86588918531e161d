"Loaders of tokens: nothing lost or read twice, one key a piece and epoch, the same under the same seed."
import numpy as np
import pytest
import torch
from fastai.data.all import DataBlock

from musiclm.corpus import clips, toy_corpus
from musiclm.data import LMLoader, RandomTranspose, TokenBlock, classifier_dataloaders, lm_dataloaders
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import BOS, EncodingConfig

BS, SEQ = 4, 25


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=16, beats=24)


def read(dl):
    "The `bs` rows of one epoch, as one array of inputs and one of targets."
    x, y = zip(*dl)
    return torch.cat(x, 1).numpy(), torch.cat(y, 1).numpy()


def pieces_of(corpus, split): return [corpus.tokens(i).astype(int) for i in corpus.indices(split)]


def cut_at_bos(x):
    "The pieces in the rows of an epoch, the last one shortened where the rows end."
    text = x.ravel()
    return np.split(text, np.flatnonzero(text == BOS)[1:])


@pytest.mark.parametrize('bs,seq_len', [(1, 7), (4, 25), (5, 1000), (16, 1)])
def test_an_epoch_reads_every_token_once(corpus, bs, seq_len):
    dl = lm_dataloaders(corpus, bs=bs, seq_len=seq_len, semitones=None).valid
    text = np.concatenate(pieces_of(corpus, 'valid'))
    shapes = [tuple(x.shape) for x, y in dl]
    x, y = read(dl)
    assert len(dl) == len(shapes) and all(s == (bs, seq_len) for s in shapes[:-1]) and shapes[-1][1] <= seq_len
    assert np.array_equal(x.ravel(), text[:x.size]) and np.array_equal(y.ravel(), text[1:x.size + 1])
    assert 0 < len(text) - x.size <= bs # what does not fill the rows, and the last token, which nothing follows


def test_targets_are_inputs_one_later_in_training_too(corpus):
    dl = lm_dataloaders(corpus, bs=BS, seq_len=SEQ).train
    x, y = read(dl)
    assert np.array_equal(x[:, 1:], y[:, :-1]) and np.array_equal(y[:-1, -1], x[1:, 0])


def test_the_order_of_pieces_changes_by_epoch_and_repeats_under_a_seed(corpus):
    dl, same, other = (lm_dataloaders(corpus, bs=1, seq_len=SEQ, semitones=None, seed=s).train for s in (3, 3, 4))
    first, second, again, different = read(dl)[0], read(dl)[0], read(same)[0], read(other)[0]
    assert np.array_equal(first, again) and np.array_equal(second, read(same)[0])
    assert not np.array_equal(first, second) and not np.array_equal(first, different)
    whole = sorted(map(tuple, pieces_of(corpus, 'train')))
    for x in (first, second, different):
        found = cut_at_bos(x)
        assert len(found) == len(whole)
        assert sum(tuple(p) in whole for p in found) >= len(whole) - 1 # the last lacks its `xxeos`, which nothing follows


def test_a_piece_has_one_key_an_epoch_and_keys_change(corpus):
    enc, keys = corpus.encoder, []
    originals = {len(p): [q for q in pieces_of(corpus, 'train') if len(q) == len(p)] for p in pieces_of(corpus, 'train')}
    dl = lm_dataloaders(corpus, bs=1, seq_len=SEQ, semitones=(-5, 6), seed=1).train
    for _ in range(3):
        for piece in cut_at_bos(read(dl)[0])[:-1]:
            moves = [s for s in range(-5, 7) for p in originals[len(piece)] if np.array_equal(enc.transpose(p, s), piece)]
            assert moves, 'a piece of which some notes were moved by another number than the rest'
            keys.append(moves[0])
    assert len(set(keys)) > 6 and min(keys) >= -5 and max(keys) <= 6


def test_items_that_validate_keep_their_key(corpus):
    dls = lm_dataloaders(corpus, bs=1, seq_len=SEQ, semitones=(5, 5))
    assert np.array_equal(read(dls.valid)[0].ravel(), np.concatenate(pieces_of(corpus, 'valid'))[:-1])
    moved = {tuple(corpus.encoder.transpose(p, 5)) for p in pieces_of(corpus, 'train')}
    assert all(tuple(p) in moved for p in cut_at_bos(read(dls.train)[0])[:-1])


def test_transposition_repeats_under_a_seed(corpus):
    a, b, c = (read(lm_dataloaders(corpus, bs=BS, seq_len=SEQ, seed=s).train)[0] for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_no_note_leaves_the_range(corpus):
    enc = corpus.encoder
    low, high = enc.vocab.stoi['p21'], enc.vocab.stoi['p108']
    x = torch.tensor([BOS, low, high])
    assert RandomTranspose(enc, (-5, 6)).encodes(x).tolist() == [BOS, low, high]
    up = {RandomTranspose(enc, (-5, 6), seed=s).encodes(torch.tensor([BOS, low, low + 2]))[1].item() - low for s in range(60)}
    assert up == set(range(7)) # never down


def test_the_validation_split_is_a_choice(corpus):
    x, _ = read(lm_dataloaders(corpus, bs=1, seq_len=SEQ, valid='test').valid)
    assert np.array_equal(x.ravel(), np.concatenate(pieces_of(corpus, 'test'))[:-1])


def test_bad_language_model_data_is_one_line(corpus):
    with pytest.raises(ValueError, match="no piece in its split 'nowhere'"): lm_dataloaders(corpus, valid='nowhere')
    with pytest.raises(ValueError, match='do not fill 5000 rows'): lm_dataloaders(corpus, bs=5000)


def test_a_data_block_of_its_own(corpus):
    block = DataBlock(blocks=TokenBlock(corpus.encoder, is_lm=True, seq_len=SEQ, seed=2), get_x=lambda i: corpus.tokens(i),
                      splitter=lambda items: (items[:3], items[3:]))
    dls = block.dataloaders(list(range(5)), bs=2, device='cpu')
    assert isinstance(dls.train, LMLoader) and dls.train.seq_len == SEQ and dls.train.seed == 2
    x, y = dls.one_batch()
    assert x.shape == y.shape == (2, SEQ) and x.dtype == torch.long
    text = np.concatenate([corpus.tokens(i) for i in (3, 4)])
    rows = read(dls.valid)[0]
    assert np.array_equal(rows.ravel(), text[:rows.size])


@pytest.fixture(scope='module')
def named(): return toy_corpus(n=16, beats=24, encoder=NotewiseEncoder(EncodingConfig(composers=('alto', 'basso'))))


def test_the_text_of_a_language_model_names_composers_in_every_key(named):
    enc, who = named.encoder, {tuple(named.tokens(i)): named.manifest.composer[i] for i in named.indices('train')}
    pieces = cut_at_bos(read(lm_dataloaders(named, bs=1, seq_len=SEQ, semitones=(2, 2)).train)[0])
    assert len(pieces) == len(who)
    for piece in pieces[:-1]:
        composer = who[tuple(enc.transpose(piece, -2))]
        assert (piece[:2] == enc.opening(composer)).all() and (piece[2:] < enc.composers.start).all()


def test_pieces_moved_by_their_notes_keep_their_composer_and_clips_have_none(named):
    enc, move = named.encoder, RandomTranspose(named.encoder, (3, 3))
    move.tables = None # as in an encoding that has no tables
    for i in range(4):
        whole, clip = (torch.from_numpy(x.astype(np.int64)) for x in (named.tokens(i), enc.clip(named.tokens(i), 1, 60)))
        assert np.array_equal(move.encodes(whole).numpy(), enc.transpose(named.tokens(i), 3))
        assert move.encodes(whole)[1] == whole[1] >= enc.composers.start
        moved = move.encodes(clip)
        assert len(moved) == 60 and moved.max() < enc.composers.start and not torch.equal(moved, clip)


@pytest.fixture(scope='module')
def cut(corpus): return clips(corpus, 40)


def test_clips_and_their_labels(corpus, cut):
    x, info = cut
    valid = np.arange(len(x)) % 3 == 0
    dls = classifier_dataloaders(x, info['composer'], valid, corpus.encoder, classes=['basso', 'alto'], bs=8, semitones=None)
    assert dls.labels == ['basso', 'alto']
    rows, names = (torch.cat(o).numpy() for o in zip(*dls.valid))
    assert np.array_equal(rows, x[valid])
    assert [dls.labels[i] for i in names] == info['composer'][valid].tolist()
    rows, names = (torch.cat(o).numpy() for o in zip(*dls.train))
    label = {tuple(c): n for c, n in zip(x[~valid].tolist(), info['composer'][~valid])}
    assert len({tuple(r) for r in rows}) > .8*len(label)
    assert all(label[tuple(r)] == dls.labels[i] for r, i in zip(rows.tolist(), names))


def test_only_training_clips_are_transposed_and_seeds_repeat(corpus, cut):
    x, info = cut
    valid = np.arange(len(x)) % 3 == 0
    make = lambda seed: classifier_dataloaders(x, info['composer'], valid, corpus.encoder, bs=8, semitones=(3, 3), seed=seed)
    a, b, c = make(0), make(0), make(1)
    assert np.array_equal(torch.cat([o[0] for o in a.valid]).numpy(), x[valid])
    epochs = [[torch.cat([o[0] for o in d.train]).numpy() for _ in range(2)] for d in (a, b, c)]
    moved = {tuple(corpus.encoder.transpose(o, 3)) for o in x[~valid]}
    assert all(tuple(r) in moved for r in epochs[0][0])
    assert all(np.array_equal(p, q) for p, q in zip(epochs[0], epochs[1]))
    assert not np.array_equal(epochs[0][0], epochs[0][1]) and not np.array_equal(epochs[0][0], epochs[2][0])


def test_few_clips_still_make_a_batch(corpus, cut):
    x, info = cut
    few = [info.index[info['composer'] == c][0] for c in ('alto', 'basso')]
    dls = classifier_dataloaders(x[few], info['composer'][few], [False, False], corpus.encoder, bs=64)
    assert dls.train.one_batch()[0].shape == (2, 40)


def test_a_class_without_a_training_clip_is_refused(corpus, cut):
    x, info = cut
    with pytest.raises(ValueError, match=r"no clip to train on of \['alto'\]"):
        classifier_dataloaders(x, info['composer'], info['composer'] == 'alto', corpus.encoder)
    with pytest.raises(ValueError, match='carlo'):
        classifier_dataloaders(x, info['composer'], np.zeros(len(x)), corpus.encoder, classes=['alto', 'basso', 'carlo'])
