"Law 2: real and generated clips under equal conditions; and the critic's choice among pieces; the score in a training table."
import numpy as np
import pytest
import torch

from musiclm import critic
from musiclm.callbacks import MusicalInceptionScore
from musiclm.corpus import toy_corpus
from musiclm.critic import (baseline_realness, best_of, clips_of, critic_clips, critic_figures, critic_learner, generated_clips,
                            load_clips, piece_realness, rank, real_clips, realness, save_clips)
from musiclm.composer import histograms
from musiclm.data import classifier_dataloaders, lm_dataloaders
from musiclm.generator import generator_learner
from musiclm.ngram import NGram
from musiclm.sampling import Piece, sample
from musiclm.tokens import EOS, EncodingConfig, NotewiseEncoder

LENGTH, PROMPT = 48, 24


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=40, beats=40)


class Whistle:
    "Goes on from whatever it hears with one high note again and again, which the corpus never has, and ends if it may."
    def __init__(self, encoder):
        self.vocab, self.encoding = encoder.vocab, encoder.config
        self.logits = torch.full((len(encoder.vocab),), -20.)
        for name, w in {'xxeos': 12., 'endv108': 10., 'v108': 9., 'wait6': 5.}.items(): self.logits[encoder.vocab.stoi[name]] = w
    def init_state(self, batch): return None
    def step(self, tokens, state): return self.logits.repeat(len(tokens), 1), None


class HandCritic(torch.nn.Module):
    "Finds a clip the more real, the higher it lies."
    def __init__(self, encoder, length=LENGTH):
        super().__init__()
        self.vocab, self.encoding, self.labels, self.temperature, self.clip_length = encoder.vocab, encoder.config, ['fake', 'real'], 1., length
        self.register_buffer('pitch', torch.tensor(np.maximum(encoder.pitch_of, 0), dtype=torch.float32))
        self.weight = torch.nn.Parameter(torch.ones(1))
    def reset(self): pass
    def forward(self, x):
        p = self.pitch[x]
        z = (p.sum(1)/(p > 0).sum(1).clamp(min=1) - 64)/4*self.weight
        return torch.stack([-z, z], 1)


@pytest.fixture(scope='module')
def whistle(corpus): return Whistle(corpus.encoder)


@pytest.fixture(scope='module')
def ngram(corpus):
    return NGram.fit([corpus.tokens(i) for i in corpus.indices('train')], corpus.vocab, corpus.encoder.config, order=3, transpositions=(0,))


@pytest.fixture(scope='module')
def made(corpus, ngram, whistle):
    return critic_clips(corpus, {'three': ngram, 'whistle': whistle}, {'greedy': dict(random_freq=0.), 'drawn': dict(top_k=None)},
                        dict(train=10, valid=6, test=7), LENGTH, PROMPT, seed=2)


def test_no_token_of_a_prompt_is_in_a_generated_clip(corpus, whistle):
    whistled = {i for i, w in enumerate(corpus.vocab.itos) if w in ('v108', 'endv108') or w.startswith('wait')}
    high = corpus.vocab.stoi['v108']
    assert not np.isin(corpus.store, [high]).any()
    for random_freq in (0., 1.):
        x, _ = generated_clips(whistle, corpus, 'train', 12, LENGTH, PROMPT, random_freq=random_freq)
        assert set(np.unique(x)) <= whistled and (x == high).sum(1).min() >= LENGTH//4


def test_real_and_generated_clips_have_one_length_and_no_ends(made):
    x, info = made
    assert x.shape == (46, LENGTH) and x.dtype == np.uint16 and x.min() > EOS
    counts = info.groupby(['split', 'label']).size()
    assert counts.to_dict() == {(s, k): n for s, n in dict(train=10, valid=6, test=7).items() for k in ('real', 'fake')}


def test_fakes_come_from_every_generator_and_rule_in_equal_shares(made):
    info = made[1]
    shares = info[info['label'] == 'fake'].groupby(['split', 'generator', 'rule']).size().unstack([1, 2])
    assert shares.loc['train'].tolist() == [2, 2, 3, 3] or sorted(shares.loc['train']) == [2, 2, 3, 3]
    assert (info[info['label'] == 'real'][['generator', 'rule']] == '').all().all()


class Announcer(Whistle):
    "Writes the tokens of composers wherever it is let, between notes that it draws."
    def __init__(self, encoder, weight):
        super().__init__(encoder)
        self.logits[:] = 0.
        self.logits[encoder.composers] = weight


@pytest.mark.parametrize('constrain', [True, False])
@pytest.mark.parametrize('prompt_tokens', [1, 2, 24])
def test_no_clip_names_a_composer(prompt_tokens, constrain):
    named = toy_corpus(n=40, beats=40, encoder=NotewiseEncoder(EncodingConfig(composers=('alto', 'basso'), velocity_bins=2)))
    enc, announcer = named.encoder, Announcer(named.encoder, 8. if constrain else 3.)
    fakes, _ = generated_clips(announcer, named, 'train', 6, LENGTH, prompt_tokens, constrain=constrain, random_freq=1., top_k=None)
    reals, _ = real_clips(named, 'train', None, LENGTH, prompt_tokens - 1, per_piece=40) # from the first token behind xxbos on
    pieces = sample(announcer, 6, 300, constrain=constrain, random_freq=1., top_k=None, min_tokens=300)
    assert sum((p.ids >= enc.composers.start).sum() for p in pieces) >= 4 # it does write them
    judged, _ = clips_of(pieces, LENGTH)
    for found in (fakes, reals, judged): assert found.max() < enc.composers.start and found.shape[1] == LENGTH
    counts = histograms(np.r_[fakes, reals], enc)
    assert (counts[:, enc.composers] == 0).all() and counts.shape[1] == len(enc.vocab) + 4*49


def test_a_grammar_goes_on_from_prompts_that_name_a_composer():
    named = toy_corpus(n=12, beats=40, encoder=NotewiseEncoder(EncodingConfig(composers=('alto', 'basso'))))
    enc, ngram = named.encoder, NGram.fit([named.tokens(i) for i in range(12)], named.vocab, named.encoder.config, order=4, transpositions=(0, 1))
    prompts = [enc.opening('alto'), enc.opening('basso'), enc.opening(), named.tokens(0)[:30]]
    for p, prompt in zip(sample(ngram, 4, 200, prompts, top_k=None, random_freq=1., min_tokens=200), prompts):
        assert (p.ids[:len(prompt)] == prompt).all() and (p.ids[2:] < enc.composers.start).all()
        assert p.notes.attrs['dropped'] == 0 and p.notes.attrs.get('composer') == enc.decode(p.ids[:2]).attrs.get('composer')
        assert len(prompt) == 1 or p.notes.attrs['composer'] in ('alto', 'basso')


def test_clips_of_a_split_are_of_its_works(corpus, made):
    works = {s: set(corpus.manifest['work'][corpus.manifest['split'] == s]) for s in ('train', 'valid', 'test')}
    assert not works['train'] & works['test']
    for (split, label), rows in made[1].groupby(['split', 'label']):
        assert set(rows['work']) <= works[split]
        assert set(rows['composer']) == {w.split('/')[0] for w in rows['work']} == {'alto', 'basso'}


def test_prompts_are_openings_of_works_of_the_split(corpus, whistle, monkeypatch):
    seen, whole = [], critic.sample
    def spy(model, n, n_tokens, prompts, **kwargs):
        seen.append((prompts, n_tokens, kwargs))
        return whole(model, n, n_tokens, prompts, **kwargs)
    monkeypatch.setattr(critic, 'sample', spy)
    for split in ('train', 'valid', 'test'):
        seen.clear()
        _, info = generated_clips(whistle, corpus, split, 6, LENGTH, PROMPT)
        openings = {tuple(corpus.tokens(i)[:PROMPT]): corpus.manifest['work'][i] for i in corpus.indices(split)}
        for prompts, n_tokens, kwargs in seen:
            assert all(tuple(p) in openings for p in prompts) and kwargs['min_tokens'] == n_tokens > LENGTH
        assert info['work'].tolist() == [openings[tuple(p)] for p in seen[0][0]][:len(info)]


def test_both_are_cut_by_the_rule_of_the_encoder(corpus, made):
    enc = corpus.encoder
    for c in made[0]: # decoding and encoding again changes nothing but what sounds at the end
        again = enc.encode(enc.decode(c))[1:]
        same = np.flatnonzero(again[:LENGTH] != c[:len(again)][:LENGTH])
        assert (same[0] if len(same) else LENGTH) >= LENGTH - 12


def test_clips_repeat_under_a_seed(corpus, ngram):
    make = lambda seed: generated_clips(ngram, corpus, 'valid', 5, LENGTH, PROMPT, seed)[0]
    assert np.array_equal(make(0), make(0)) and not np.array_equal(make(0), make(1))
    real = lambda seed: real_clips(corpus, 'valid', 5, LENGTH, PROMPT, seed=seed)[0]
    assert np.array_equal(real(0), real(0)) and not np.array_equal(real(0), real(1))


def test_real_clips_begin_behind_a_prompt(corpus):
    piece = corpus.select(corpus.indices('test')[:1])
    x, _ = real_clips(piece, 'test', None, LENGTH, PROMPT, per_piece=50)
    late = real_clips(piece, 'test', None, LENGTH, len(piece.tokens(0)) - 120)[0]
    assert len(late) < len(x)
    with pytest.raises(ValueError, match='shorter clips'): real_clips(piece, 'test', 3, LENGTH, len(piece.tokens(0)) - 20)


def test_a_generator_without_music_is_named(corpus):
    silent = Whistle(corpus.encoder)
    silent.logits[:] = -20
    silent.logits[corpus.vocab.stoi['v108']] = silent.logits[corpus.vocab.stoi['wait12']] = 9.
    with pytest.raises(ValueError, match='only 0 of 8 pieces gave a clip'):
        generated_clips(silent, corpus, 'test', 2, LENGTH, PROMPT, max_note=None)


def test_clips_are_stored_by_split_and_label(made, tmp_path):
    x, info = made
    save_clips(tmp_path/'clips', x, info)
    files = sorted(p.relative_to(tmp_path/'clips').as_posix() for p in (tmp_path/'clips').rglob('*') if p.is_file())
    assert files == sorted(f'{s}/{k}/clips.{e}' for s in ('train', 'valid', 'test') for k in ('real', 'fake') for e in ('npy', 'csv'))
    back, table = load_clips(tmp_path/'clips')
    row = lambda c, i: (*c.tolist(), *i[['label', 'split', 'composer', 'work', 'generator', 'rule']])
    assert sorted(row(c, i) for c, (_, i) in zip(back, table.iterrows())) == sorted(row(c, i) for c, (_, i) in zip(x, info.iterrows()))
    with pytest.raises(ValueError, match='holds no clips'): load_clips(tmp_path)


@pytest.fixture(scope='module')
def learn(corpus, whistle):
    x, info = critic_clips(corpus, {'whistle': whistle}, {'greedy': dict(random_freq=0.)}, dict(train=32, valid=8, test=12), LENGTH, PROMPT)
    use = info['split'] != 'test'
    dls = classifier_dataloaders(x[use], info['label'][use], (info['split'] == 'valid')[use], corpus.encoder, ['fake', 'real'], bs=16, device='cpu')
    torch.manual_seed(0)
    learn = critic_learner(dls, size='tiny', lr=1e-2)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(3)
    return learn, x, info


def test_a_critic_tells_a_whistle_from_music(corpus, learn):
    learn, x, info = learn
    found, test = critic_figures(learn, x, info, corpus.encoder), (info['split'] == 'test').to_numpy()
    assert found['auc'].value > .95 and set(found['by_generator']) == {'whistle, greedy'} and found['auc'].n == 24
    assert found['baselines']['pairs of tokens'].value > .95
    p = realness(learn, x[test])
    assert p[info['label'][test] == 'real'].mean() > p[info['label'][test] == 'fake'].mean() + .3


def test_a_critic_has_two_labels(corpus, made):
    x, info = made
    dls = classifier_dataloaders(x, info['composer'], np.arange(len(x)) < 6, corpus.encoder, bs=8, device='cpu')
    with pytest.raises(ValueError, match='labels fake and real'): critic_learner(dls, size='tiny')


def test_baselines_learn_from_training_clips_alone(corpus, made):
    x, info = made
    train, y = (info['split'] == 'train').to_numpy(), (info['label'] == 'real').to_numpy()
    scores = baseline_realness(x, y, train, corpus.encoder)
    assert all(s.shape == ((~train).sum(),) for s in scores.values())
    flipped = np.where(train, y, ~y)
    for k, s in baseline_realness(x, flipped, train, corpus.encoder).items(): assert np.array_equal(s, scores[k])


def piece_at(encoder, pitch, n=60, prompt=1, prompt_pitch=30):
    "Quarter notes at a pitch, behind a prompt at another."
    head = encoder.from_text('xxbos ' + ' '.join([f'v{prompt_pitch} wait12 endv{prompt_pitch}']*(prompt//3)))
    tail = encoder.from_text(' '.join([f'v{pitch} wait12 endv{pitch}']*n))
    return Piece(np.r_[head, tail].astype(np.uint16), encoder, len(head), {})


@pytest.fixture(scope='module')
def judge(corpus): return HandCritic(corpus.encoder).eval()


def test_clips_of_pieces_lie_behind_their_prompts(corpus):
    pieces = [piece_at(corpus.encoder, 70, n=80, prompt=30), piece_at(corpus.encoder, 72, n=3), piece_at(corpus.encoder, 74, n=24, prompt=9)]
    x, owner = clips_of(pieces, LENGTH, per_piece=3)
    assert owner.tolist() == sorted(owner) and set(owner) == {0, 2} and (owner == 0).sum() == 3
    pitch = corpus.encoder.pitch_of[x]
    assert set(np.unique(pitch[owner == 0])) == {-1, 70} and set(np.unique(pitch[owner == 2])) == {-1, 74}
    assert np.array_equal(x[0], corpus.encoder.clip(pieces[0].ids, pieces[0].prompt_len, LENGTH))


def test_the_best_come_first_and_the_short_last(corpus, judge):
    enc = corpus.encoder
    pieces = [piece_at(enc, p, prompt=30) for p in (60, 66, 58, 64)] + [piece_at(enc, 90, n=2)]
    order = rank(judge, pieces)
    assert [corpus.encoder.decode(p.ids)['pitch'].max() for p in order] == [66, 64, 60, 58, 90]
    found = [p.info['critic'] for p in order]
    assert found[4] is None and found[:4] == sorted(found[:4], reverse=True)
    assert found[0] == pytest.approx(1/(1 + np.exp(-1)), abs=1e-4) # two logits of ±.5
    assert [id(p) for p in best_of(judge, pieces, 2)] == [id(p) for p in order[:2]]
    assert [p.info['critic'] for p in rank(judge, pieces[::-1])] == found


def test_a_piece_is_the_mean_of_its_clips_in_logits(corpus, judge, ngram):
    from scipy.special import expit, logit

    from musiclm.sampling import sample
    pieces = sample(ngram, 5, 250, min_tokens=250, random_freq=1.)
    x, owner = clips_of(pieces, LENGTH)
    z = logit(realness(judge, x))
    assert piece_realness(judge, pieces) == pytest.approx([expit(z[owner == i].mean()) for i in range(5)])


def test_choices_that_cannot_be_made_are_refused(corpus, judge):
    pieces = [piece_at(corpus.encoder, 60)]
    for k in (0, 2, -1):
        with pytest.raises(ValueError, match=f'cannot pick {k} of 1'): best_of(judge, pieces, k)
    with pytest.raises(ValueError, match='goes on for 48 tokens'): best_of(judge, [piece_at(corpus.encoder, 60, n=2)], 1)
    with pytest.raises(ValueError): best_of(judge, [], 1)


def test_another_model_is_no_critic(corpus, ngram):
    class Composers(HandCritic):
        def __init__(self, encoder): super().__init__(encoder); self.labels = ['alto', 'basso']
    for model in (ngram, Composers(corpus.encoder).eval()):
        with pytest.raises(ValueError, match='critic'): best_of(model, [piece_at(corpus.encoder, 60)], 1)


@pytest.mark.parametrize('every', [1, 2])
def test_the_score_stands_in_the_table_of_a_training(corpus, every):
    class Judge(HandCritic):
        def __init__(self, encoder): super().__init__(encoder); self.labels = ['alto', 'basso']
    score = MusicalInceptionScore(Judge(corpus.encoder).eval(), corpus, n=8, every=every, prompt_tokens=PROMPT, seed=1)
    torch.manual_seed(0)
    learn = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny', cbs=score)
    with learn.no_bar(), learn.no_logging(): learn.fit(2)
    names, rows = learn.recorder.metric_names, learn.recorder.values
    assert list(names)[-3:] == ['inception', '±', 'time'] and len(rows) == 2
    column = {k: [float(r[list(names).index(k) - 1]) for r in rows] for k in ('inception', '±', 'valid_loss')}
    assert sorted(score.scores) == ([0, 1] if every == 1 else [1])
    assert np.isnan(column['inception']).tolist() == [every == 2, False]
    for epoch, s in score.scores.items():
        assert column['inception'][epoch] == s.value and column['±'][epoch] == pytest.approx((s.high - s.low)/2)
        assert 1 <= s.value <= 2 and s.n == 8
    x, info = generated_clips(learn, corpus, 'valid', 8, LENGTH, PROMPT, 1) # the score can be found again
    from musiclm.composer import probabilities
    from musiclm.metrics import inception_score
    assert inception_score(probabilities(score.judge, x), groups=info['work']).value == pytest.approx(score.scores[1].value)


def test_a_judge_of_other_tokens_or_too_few_clips_are_refused(corpus):
    other = HandCritic(NotewiseEncoder(EncodingConfig(max_wait=24)))
    dls = lm_dataloaders(corpus, bs=8, device='cpu')
    with pytest.raises(ValueError, match='another vocabulary'): generator_learner(dls, size='tiny', cbs=MusicalInceptionScore(other, corpus, n=8))
    with pytest.raises(ValueError, match='2 clips are too few for 2 composers'): MusicalInceptionScore(other, corpus, n=2)
