"Evaluation and leaderboard, with a judge made by hand that tells composers by their pitch."
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import musiclm.compare
from musiclm.compare import (NOISE, copying_excess, evaluate, generator_hash, judge_clips, leaderboard, paired_apart, plot_leaderboard,
                             rank_with_ties, references, tied_runs)
from musiclm.copying import CopyIndex, longest_copies
from musiclm.corpus import clips, toy_corpus
from musiclm.critic import clips_of, real_clips
from musiclm.metrics import (compression_ratio, conditional_inception_score, describe_structure, descriptor_distances, frechet_distance,
                             inception_score, kernel_distance, normalised_score, unique_ratio)
from musiclm.models import make_model
from musiclm.ngram import NGram
from musiclm.report import write_leaderboard
from musiclm.sampling import Piece, sample
from musiclm.tokens import EncodingConfig, NotewiseEncoder

LENGTH = 48


class HandJudge(torch.nn.Module):
    "Embeds a clip as shares of its token kinds and says who it is by from its mean pitch."
    def __init__(self, encoder, labels=('alto', 'basso')):
        super().__init__()
        self.vocab, self.encoding, self.labels, self.encoder = encoder.vocab, encoder.config, list(labels), encoder
        self.temperature, self.clip_length = 1.5, LENGTH
        self.register_buffer('pitch', torch.tensor(np.maximum(encoder.pitch_of, 0), dtype=torch.float32))
        self.weight = torch.nn.Parameter(torch.ones(1))
    def reset(self): pass
    def embed(self, x):
        p = self.pitch[x]
        return torch.stack([p.sum(1)/(p > 0).sum(1).clamp(min=1)/12, p.std(1)/12, (p > 0).float().mean(1)*5], 1)
    def out(self, e):
        high = (e[:, 0] - 5.3)*3*self.weight
        return torch.stack([high, -high], 1)
    def forward(self, x): return self.out(self.embed(x))


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=48, beats=40)


@pytest.fixture(scope='module')
def judge(corpus): return HandJudge(corpus.encoder).eval()


@pytest.fixture(scope='module')
def ngram(corpus):
    return NGram.fit([corpus.tokens(i) for i in corpus.indices('train')], corpus.vocab, corpus.encoder.config, order=4, transpositions=(0,))


@pytest.fixture(scope='module')
def real(corpus, judge):
    cut, info = clips(corpus, LENGTH, 'test')
    return judge_clips(cut, judge, groups=info['work'])


@pytest.fixture(scope='module')
def pieces(corpus, ngram):
    prompts = [corpus.tokens(i)[:20] for i in corpus.indices('test')[:4]]
    return sample(ngram, n=12, n_tokens=LENGTH + 64, prompts=prompts, min_tokens=LENGTH + 64)


def test_clips_follow_the_prompt_by_the_rule_that_cuts_real_clips(corpus, pieces):
    cut, kept = clips_of(pieces, LENGTH, 1)
    assert cut.shape == (12, LENGTH) and kept.tolist() == list(range(12))
    for c, p in zip(cut, pieces): assert np.array_equal(c, corpus.encoder.clip(p.ids, p.prompt_len, LENGTH))


def test_short_pieces_are_counted(corpus, judge, pieces, real):
    short = [Piece(p.ids[:p.prompt_len + 10], p.encoder, p.prompt_len, p.info) for p in pieces[:3]]
    row = evaluate(short + pieces, real, judge).iloc[0]
    assert (row['n'], row['n_short']) == (12, 3)
    assert row['score'] == evaluate(pieces, real, judge)['score'].iloc[0]
    with pytest.raises(ValueError, match='no piece goes on for 48 tokens'): evaluate(short, real, judge)
    with pytest.raises(ValueError, match='no pieces'): evaluate([], real, judge)


def test_the_row_is_what_the_metrics_say(judge, pieces, real):
    works, who = np.arange(12) % 4, ['alto', 'basso']*6
    got = judge_clips(pieces, judge, groups=works, composers=who)
    floor = inception_score(np.random.default_rng(0).dirichlet([50, 50], 40))
    row = evaluate(pieces, real, judge, floor, groups=works, composers=who, name='x').loc['x']
    labels = np.arange(12) % 2
    s, c = inception_score(got.probs, works, strata=labels), conditional_inception_score(got.probs, labels, works, strata=labels)
    assert (row['score'], row['score_low'], row['score_high'], row['log_score']) == (s.value, s.low, s.high, s.log)
    assert (row['conditional'], row['conditional_low']) == (c.value, c.low)
    assert row['normalised'] == normalised_score(s, floor, inception_score(real.probs, real.groups)).value
    assert row['kernel_distance'] == pytest.approx(kernel_distance(got.embeddings, real.embeddings).value)
    assert row['frechet_distance'] == pytest.approx(frechet_distance(got.embeddings, real.embeddings))
    tables = [[judge.encoder.decode(c) for c in o.clips] for o in (got, real)]
    far = descriptor_distances(*map(describe_structure, tables))
    assert row['structure_distance'] == pytest.approx(far['wasserstein'].mean(), nan_ok=True)
    assert row['compression_ratio'] == pytest.approx(compression_ratio(got.clips).mean())
    assert row['real_compression_ratio'] == pytest.approx(compression_ratio(real.clips).mean())
    assert row['unique'] == unique_ratio(got.clips) and row['temperature'] == 1.5 and len(row['judge_hash']) == 12


def test_works_are_drawn_within_composers(corpus, judge):
    cut, info = clips(corpus, LENGTH, 'test')
    told = judge_clips(cut, judge, groups=info['work'], composers=info['composer'])
    row = evaluate(told, cut, judge, floor=inception_score(np.full((9, 2), .5)), reference_groups=info['work'],
                   reference_composers=info['composer']).iloc[0]
    s = inception_score(told.probs, info['work'].to_numpy(), strata=told.labels)
    assert (row['score_low'], row['score_high']) == (s.low, s.high) and row['normalised_low'] == row['normalised_high'] == 1
    plain = evaluate(cut, cut, judge, groups=info['work']).iloc[0]
    assert plain['score_high'] - plain['score_low'] > row['score_high'] - row['score_low']
    assert plain['score'] == pytest.approx(row['score'], abs=.02) # the same, but for what makes up for the bias


def test_copying_stands_beside_that_of_real_music(corpus, judge, pieces, real):
    index = CopyIndex.of(corpus)
    assert not [c for c in evaluate(pieces, real, judge) if 'cop' in c or 'echo' in c]
    row = evaluate(pieces, real, judge, copies=index).iloc[0]
    found, human = (longest_copies(c, index, corpus.encoder) for c in (judge_clips(pieces, judge).clips, real.clips))
    for name, table in (('', found), ('real_', human)):
        assert row[f'{name}copied_share'] == table['share'].mean() and row[f'{name}longest_copy_median'] == table['length'].median()
        assert row[f'{name}longest_copy_max'] == table['length'].max()
    learnt, _ = clips(corpus, LENGTH, 'train', 1)
    by_heart = evaluate(learnt, real, judge, copies=index).iloc[0]
    assert by_heart['real_longest_copy_median'] == human['length'].median()
    assert row['copying_pieces'] == (found['length'] > human['length'].quantile(.95)).mean()
    assert 'prompt_echo' in row and 'prompt_echo' not in by_heart
    ids = [corpus.tokens(i)[:90] for i in corpus.indices('test')[:4]]
    echoes = [Piece(np.r_[o, o[1:]], corpus.encoder, 90, {'prompt': i}) for i, o in enumerate(ids)]
    assert evaluate(echoes, real, judge, copies=index).iloc[0]['prompt_echo'] > row['prompt_echo'] + .3


def test_without_a_floor_nothing_is_normalised(judge, pieces, real):
    assert 'normalised' not in evaluate(pieces, real, judge) and 'conditional' not in evaluate(pieces, real, judge)


def test_prompts_cluster_the_interval_by_themselves(judge, pieces):
    assert judge_clips(pieces, judge).groups.tolist() == [0, 1, 2, 3]*3
    assert judge_clips(pieces[:1], judge).groups is None


def test_bad_judges_are_one_clear_line(judge, pieces, real):
    other = HandJudge(NotewiseEncoder(EncodingConfig(max_wait=24)))
    with pytest.raises(ValueError, match='another vocabulary'): evaluate(pieces, real, other)
    with pytest.raises(ValueError, match='does not know bach'): evaluate(pieces, real, judge, composers=['bach']*12)
    with pytest.raises(ValueError, match='clips of 20 tokens'): evaluate(real.clips[:, :20], real, judge)
    with pytest.raises(ValueError, match='1 clips for 2 composers'): evaluate(pieces[:1], real, judge)


def test_a_judge_that_fails_gives_no_score(corpus, pieces, real):
    broken = HandJudge(corpus.encoder).eval()
    torch.nn.init.constant_(broken.weight, float('nan'))
    with pytest.raises(ValueError, match='NaN'): evaluate(pieces, real, broken)


def test_a_corpus_that_does_not_fit_is_one_clear_line(corpus, judge, ngram):
    other = HandJudge(NotewiseEncoder(EncodingConfig(max_wait=24)))
    with pytest.raises(ValueError, match='another vocabulary than the corpus'): references(other, corpus, 8)
    untaught = corpus.select(corpus.indices('test'))
    with pytest.raises(ValueError, match="no split 'train'"): leaderboard({'a': ngram}, judge, None, untaught, n=4, progress=False)
    with pytest.raises(ValueError, match='is longer than 9999'): leaderboard({'a': ngram}, judge, None, corpus, n=4, prompt_tokens=9999)


def test_real_clips_take_composers_and_works_in_turn(corpus):
    cut, info = real_clips(corpus, 'test', 8, LENGTH, prompt_tokens=20)
    assert cut.shape == (8, LENGTH) and (info['composer'].value_counts() == 4).all()
    works = corpus.manifest[corpus.manifest['split'] == 'test'].groupby('composer')['work'].nunique()
    assert (info.groupby('composer')['work'].nunique() >= np.minimum(works, 4)).all()
    with pytest.raises(ValueError, match='shorter clips'): real_clips(corpus, 'test', 8, 5000)


def test_ranks_and_ties():
    t = pd.DataFrame(dict(score=[1., 2., 3.], score_low=[.5, 1.4, 2.9], score_high=[1.5, 2.6, 3.1]), index=list('abc'))
    ranked = rank_with_ties(t)
    assert ranked.index.tolist() == list('cba') and ranked['rank'].tolist() == [1, 2, 2] and ranked['ties'].tolist() == ['', 'a', 'b']


@pytest.fixture(scope='module')
def critic(corpus):
    "Takes for real what is high."
    model = HandJudge(corpus.encoder, labels=('real', 'fake')).eval()
    model.temperature = 1.
    return model


SMALL = dict(n=16, prompt_tokens=16, progress=False, settings={'temperature 1': NOISE})


@pytest.fixture(scope='module')
def board(corpus, judge, critic, ngram):
    unigram = NGram(ngram.vocab, ngram.encoding, ngram.keys[:1], ngram.counts[:1])
    return leaderboard({'four': ngram, 'one': unigram}, judge, critic, corpus, **SMALL)


def test_leaderboard(corpus, judge, critic, ngram, board):
    assert board.index[-2:].tolist() == ['held-out music', 'noise'] or board.index[-2:].tolist() == ['noise', 'held-out music']
    assert set(board.index) == {'four', 'one', 'noise', 'held-out music'} and (board['n'] == 16).all()
    assert board.loc['four', 'bits_per_note'] < board.loc['one', 'bits_per_note']
    assert board.loc['one', 'parameters'] == len(ngram.vocab) and (board['tokens_per_second'].dropna() > 0).all()
    assert board.loc['four', 'real_copied_95'] == board.loc['held-out music', 'copied_95']
    assert board['fooling_rate'].between(0, 1).all() and (board['fooling_rate_low'] <= board['fooling_rate']).all()
    assert board['rank'].isna().tolist() == (board['standing'] != 'ranked').tolist()
    assert np.isnan(board.loc['four', 'training_seconds']) and board['commit'].str.len().gt(0).all()
    again = leaderboard({'four': ngram}, judge, critic, corpus, **SMALL)
    same = [c for c in board if c not in ('rank', 'ties', 'tokens_per_second', 'training_seconds', 'sample')]
    pd.testing.assert_frame_equal(again.loc[['four'], same], board.loc[['four'], same])
    with pytest.raises(ValueError, match='no generators'): leaderboard({}, judge, None, corpus)
    with pytest.raises(ValueError, match="'noise' names a row of reference"): leaderboard({'noise': ngram}, judge, None, corpus, **SMALL)


def test_the_conditional_score_stands_between_noise_and_what_the_composers_wrote(board, judge, corpus):
    real, floor, ceiling = (board.loc[o] for o in ('held-out music', 'noise', 'held-out music'))
    assert (floor['conditional_normalised'], ceiling['conditional_normalised']) == (0, 1)
    for _, r in board.iterrows():
        place = (np.log(r['conditional']) - np.log(floor['conditional']))/(np.log(ceiling['conditional']) - np.log(floor['conditional']))
        assert r['conditional_normalised'] == pytest.approx(place)
    cut, info = real_clips(corpus, 'test', 16, LENGTH, prompt_tokens=16)
    got = judge_clips(cut, judge, groups=info['work'], composers=info['composer'])
    assert real['conditional'] == pytest.approx(conditional_inception_score(got.probs, got.labels).value)


def test_every_row_is_heard_with_the_same_opening(board, corpus):
    openings = {tuple(p.ids[:p.prompt_len]) for p in board['sample']}
    assert len(openings) == 1 and all(len(p) == 16 + LENGTH for p in board['sample'])
    ids, i = board.loc['held-out music', 'sample'].ids, [tuple(corpus.tokens(i)[:16 + LENGTH]) for i in corpus.indices('test')]
    assert tuple(ids) in i


def test_without_an_ngram_one_stands_among_the_references(corpus, judge):
    torch.manual_seed(0)
    model = make_model(len(corpus.vocab), size='tiny').eval()
    model.vocab, model.encoding = corpus.vocab, corpus.encoder.config
    table = leaderboard({'net': model}, judge, None, corpus, n=8, prompt_tokens=16, progress=False, grams=2)
    assert table.loc['2-gram', 'standing'] == 'reference' and table['standing'].eq('ranked').sum() <= 1
    assert 'fooling_rate' not in table and table.loc['net', 'setting'] == 'usual'
    assert '2-gram' not in leaderboard({'net': model}, judge, None, corpus, n=8, prompt_tokens=16, progress=False, grams=None).index


@pytest.fixture
def counted(monkeypatch):
    "Counts how often generators write."
    calls, real = [], musiclm.compare.sample
    monkeypatch.setattr(musiclm.compare, 'sample', lambda model, *args, **kwargs: calls.append(model) or real(model, *args, **kwargs))
    return calls


def test_results_are_kept_and_a_new_row_costs_only_itself(tmp_path, corpus, judge, critic, ngram, counted):
    go = lambda generators, critic=None, **more: leaderboard(generators, judge, critic, corpus, **{**SMALL, 'cache': tmp_path/'kept', **more})
    first = go({'a': ngram})
    assert len(counted) == 2 # and noise
    again = go({'a': ngram})
    assert len(counted) == 2
    pd.testing.assert_frame_equal(first.drop(columns='sample'), again.drop(columns='sample'))
    assert [p.ids.tolist() for p in first['sample']] == [p.ids.tolist() for p in again['sample']]
    other = NGram(ngram.vocab, ngram.encoding, ngram.keys[:2], ngram.counts[:2])
    assert 'b' in go({'a': ngram, 'b': other}).index and counted[2:] == [other]
    go({'another name': ngram})
    assert len(counted) == 3 # known by its counts, not by its name
    for more in (dict(settings={'cold': dict(NOISE, temperature=.5)}), dict(seed=1), dict(n=12), dict(prompt_tokens=12)):
        before = len(counted)
        go({'a': ngram}, **more)
        assert len(counted) > before, more
    before = len(counted)
    go({'a': ngram}, critic)
    assert len(counted) == before + 2


def test_another_weight_is_another_generator(ngram, corpus):
    counts = [c.copy() for c in ngram.counts]
    counts[2][5] += 1
    assert generator_hash(ngram) != generator_hash(NGram(ngram.vocab, ngram.encoding, ngram.keys, counts))
    assert generator_hash(ngram) != generator_hash(NGram(ngram.vocab, ngram.encoding, ngram.keys, ngram.counts, order=2))
    torch.manual_seed(0)
    model = make_model(len(corpus.vocab), size='tiny')
    model.vocab, model.encoding = corpus.vocab, corpus.encoder.config
    old = generator_hash(model)
    assert generator_hash(SimpleNamespace(model=model)) == old # a Learner
    with torch.no_grad(): next(model.parameters()).view(-1)[7] += 1e-3
    assert generator_hash(model) != old


def test_an_interrupted_comparison_keeps_what_is_done(tmp_path, corpus, judge, ngram, counted, monkeypatch):
    other, real = NGram(ngram.vocab, ngram.encoding, ngram.keys[:2], ngram.counts[:2]), musiclm.compare.sample
    def stop(model, *args, **kwargs):
        if model is other: raise KeyboardInterrupt
        return real(model, *args, **kwargs)
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(musiclm.compare, 'sample', stop)
        leaderboard({'a': ngram, 'b': other}, judge, None, corpus, cache=tmp_path, **SMALL)
    assert counted == [ngram] and not list(tmp_path.glob('.*'))
    leaderboard({'a': ngram, 'b': other}, judge, None, corpus, cache=tmp_path, **SMALL)
    assert counted[1] is other and len(counted) == 3 # b and noise
    broken = next(p for p in tmp_path.iterdir() if (p/'figures.json').read_text().find('kernel_distance') > 0)
    (broken/'clips.safetensors').write_bytes(b'no tensors')
    with pytest.raises(ValueError, match='cannot be read: remove it'):
        leaderboard({'a': ngram, 'b': other}, judge, None, corpus, cache=tmp_path, **SMALL)


class Parrot:
    "Goes on with training pieces by heart, whatever the opening."
    def __init__(self, corpus):
        self.vocab, self.encoding = corpus.vocab, corpus.encoder.config
        self.pieces = [np.asarray(corpus.tokens(i), np.int64)[1:-1] for i in corpus.indices('train')]
        self.order = self.n_params = 1
    def init_state(self, batch): return torch.zeros(batch, dtype=torch.long)
    def step(self, tokens, state):
        logits = torch.full((len(tokens), len(self.vocab)), -30.)
        for row, at in enumerate(state.tolist()):
            own = self.pieces[row%len(self.pieces)]
            logits[row, own[max(at - 15, 0)%len(own)]] = 30.
        return logits, state + 1
    def nats(self, pieces, order): return np.ones(sum(len(p) - 1 for p in pieces))


def test_what_copies_is_not_ranked(corpus, judge, ngram):
    table = leaderboard({'parrot': Parrot(corpus), 'four': ngram}, judge, None, corpus, **SMALL)
    parrot = table.loc['parrot']
    assert parrot['standing'] == 'copies' and np.isnan(parrot['rank']) and parrot['copied_excess_low'] > 0
    assert parrot['copied_95'] > parrot['real_copied_95'] and table.index.get_loc('parrot') == (table['standing'] == 'ranked').sum()
    with pytest.raises(ValueError, match='no weights to know it by'):
        leaderboard({'parrot': Parrot(corpus)}, judge, None, corpus, cache='nowhere', **SMALL)


def test_excess_of_copies_is_weighed_by_work():
    works = np.repeat(np.arange(8), 16)
    human = np.random.default_rng(0).poisson(8, 128)
    found = copying_excess(human, human, works, works)
    assert (found['copied_excess'], found['copied_excess_low'], found['copied_excess_high']) == (0, 0, 0)
    assert found['copied_95'] == np.sort(human)[121] # the smallest that 95% do not exceed
    one_work = np.where(works == 3, 30, human) # an eighth of the pieces, but all of one work
    many = np.where(np.arange(128)%8 == 3, 30, human)
    assert copying_excess(one_work, human, works, works)['copied_excess_low'] <= 0 < copying_excess(many, human, works, works)['copied_excess_low']


def test_pairs_tell_apart_what_intervals_do_not():
    chance, works = np.random.default_rng(0), np.repeat(np.arange(12), 4)
    own = chance.normal(size=(48, 1)) + [[0, .3, .32]] + .1*chance.normal(size=(48, 3))
    own[5, 2] = np.nan
    apart = paired_apart(own, works, np.arange(48)//24)
    assert apart.tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    half = 1.96*np.nanstd(own, axis=0)/np.sqrt(12)
    table = pd.DataFrame(dict(x=np.nanmean(own, 0), x_low=np.nanmean(own, 0) - half, x_high=np.nanmean(own, 0) + half), index=list('abc'))
    assert rank_with_ties(table, 'x')['rank'].tolist() == [1, 1, 1]
    ranked = rank_with_ties(table, 'x', apart)
    assert ranked['rank'].tolist() == [1, 1, 3] and ranked.index[-1] == 'a' and ranked.loc['a', 'ties'] == ''
    assert tied_runs(ranked) == [(0, 1)]
    level = paired_apart(np.tile(own[:, :1], 2), works)
    assert not level.any() # two copies of one row


def test_plot(board):
    ax = plot_leaderboard(board)
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert len(labels) == len(board) and any(l.startswith('four  ') for l in labels)


@pytest.mark.parametrize('width', [1400, 400])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_page(tmp_path, board, browser, width, scheme):
    path = write_leaderboard(board, tmp_path/'index.html')
    assert path.stat().st_size < 2e6 and not re.findall(r'(?:src|href)="(?:https?:)?//', path.read_text(encoding='utf-8'))
    context = browser.new_context(viewport=dict(width=width, height=900), color_scheme=scheme)
    page, errors = context.new_page(), []
    page.on('console', lambda m: errors.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.goto(path.as_uri())
    assert page.locator('article').count() == page.locator('article audio[aria-label^="Play "]').count() == len(board)
    assert page.locator('svg[role=img][aria-label^="Piano roll of"]').count() == len(board)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    color = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (sum(map(int, re.findall(r'\d+', color))) > 384) == (scheme == 'light')
    reached = []
    for _ in range(5):
        page.keyboard.press('Tab')
        reached.append(page.evaluate('document.activeElement.getAttribute("aria-label") || document.activeElement.textContent'))
    assert reached[:4] == ['Score', 'Figures', 'Listen', 'All figures'] and reached[4] == f'Play {board.index[0]}'
    page.locator('article audio').first.evaluate('a => { a.preload = "auto"; a.load(); }')
    page.wait_for_function('document.querySelector("article audio").duration > 1')
    context.close()
    assert errors == []


def test_a_page_of_nothing_or_in_a_wrong_place_is_refused(tmp_path, board):
    with pytest.raises(ValueError, match='no rows with samples'): write_leaderboard(board.drop(columns='sample'), tmp_path/'a.html')
    (tmp_path/'mine.html').write_text('my own page')
    with pytest.raises(ValueError, match='a page that musiclm did not write'): write_leaderboard(board, tmp_path/'mine.html')


def test_a_wrong_column_or_count_is_refused_before_the_work(corpus, judge, ngram, pieces):
    for by in ('kernel_distance', 'frechet_distance', 'nothing'):
        with pytest.raises(ValueError, match=f'not by {by!r}'): leaderboard({'a': ngram}, judge, None, corpus, n=4, by=by, progress=False)
    with pytest.raises(ValueError, match='3 groups for 12 pieces'): judge_clips(pieces, judge, groups=['a', 'b', 'c'])
    with pytest.raises(ValueError, match='13 composers for 12 pieces'): judge_clips(pieces, judge, composers=['alto']*13)
