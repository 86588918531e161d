"The human-or-machine test: fair, blind, played through by keyboard, and what listeners said of it."
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest, spearmanr

from musiclm.cli import main
from musiclm.corpus import toy_corpus
from musiclm.critic import make_critic, critic_scores
from musiclm.models import save_model
from musiclm.ngram import NGram
from musiclm.quiz import (agreement, answer_rows, generated_pieces, make_quiz, quiz_clips, rank_correlation, read_answers,
                          real_pieces, scramble, share, summarise, wilson)
from musiclm.pieces import Piece

N, LENGTH = 8, 96


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=160, beats=96)


@pytest.fixture(scope='module')
def generators(corpus):
    training = [corpus.tokens(i) for i in corpus.indices('train')]
    return {f'order-{k}': NGram.fit(training, corpus.vocab, corpus.encoder.config, k, (0,)) for k in (2, 4)}


@pytest.fixture(scope='module')
def pieces(corpus, generators):
    fakes = generated_pieces(generators, corpus, N//2 + 1, LENGTH)
    return real_pieces(corpus, fakes, LENGTH), fakes


@pytest.fixture(scope='module')
def page(pieces, tmp_path_factory): return make_quiz(*pieces, tmp_path_factory.mktemp('quiz')/'quiz.html', N, LENGTH)


def key_of(page): return json.loads(page.with_name('quiz.key.json').read_text(encoding='utf-8'))


@pytest.mark.parametrize('seed', range(4))
def test_real_and_generated_differ_in_nothing_but_the_music(pieces, corpus, seed):
    clips = quiz_clips(*pieces, N, LENGTH, seed)
    human = np.array([c['truth'] == 'human' for c in clips])
    assert human.sum() == N//2 and all(human[i:i + 4].sum() == 2 for i in range(0, N, 4))
    assert len({c['work'] for c in clips}) == N
    assert {len(c['tokens'].split()) for c in clips} == {LENGTH} and not any('xx' in c['tokens'] for c in clips)
    assert {v for c in clips for v in c['notes']['velocity']} == {64} and {c['notes']['onset'].min() for c in clips} == {0}
    for who in ('alto', 'basso'): assert abs(sum((c['composer'] == who)*(1 if c['truth'] == 'human' else -1) for c in clips)) <= 1
    test = set(corpus.manifest.work[corpus.manifest.split == 'test'])
    assert {c['work'] for c in clips} <= test
    assert [c['tokens'] for c in clips] == [c['tokens'] for c in quiz_clips(*pieces, N, LENGTH, seed)]


def test_a_clip_begins_behind_the_prompt_and_ends_before_the_end(pieces):
    for clip in quiz_clips(*pieces, N, LENGTH):
        piece = next(p for o in pieces for p in o if p.info['prompt_work'] == clip['work'])
        cut = lambda start: piece.encoder.to_text(piece.encoder.clip(piece.ids, start, LENGTH))
        start = next(s for s in range(piece.prompt_len, piece.prompt_len + 64) if cut(s) == clip['tokens'])
        assert start + LENGTH + 64 <= len(piece.ids)


def test_nothing_in_the_file_gives_the_truth_away(page):
    html, key = page.read_text(encoding='utf-8'), key_of(page)
    data = json.loads(re.search(r'id="quiz">(.*?)</script>', html)[1])
    assert len({len(c['src']) for c in data['clips']}) == 1 and set(data['clips'][0]) == {'src', 'seconds'}
    for word in {c[k] for c in key['clips'] for k in ('source', 'name', 'composer', 'work')} - {'human'}: assert word not in html
    assert not re.findall(r'(?:src|href)="(?:https?:)?//|fetch\(|url\(|@import', html)
    assert [p.name for p in sorted(page.parent.iterdir())] == ['quiz.html', 'quiz.key.json']


def test_too_little_music_is_said_and_leaves_nothing(pieces, tmp_path):
    real, fakes = pieces
    with pytest.raises(ValueError, match=f'2 of 2 pieces give a clip of {LENGTH} tokens, and {N//2} are needed: a smaller --n'):
        make_quiz(real, fakes[:2], tmp_path/'q.html', N, LENGTH)
    one = [Piece(p.ids, p.encoder, p.prompt_len, {**p.info, 'prompt_work': 'one'}) for p in fakes[:3]]
    with pytest.raises(ValueError, match='1 of 3 .* needed: 2 share a work or an opening with another clip .more works or prompts help.; a'):
        make_quiz(real, one, tmp_path/'q.html', N, LENGTH)
    with pytest.raises(ValueError, match=f'0 of {len(fakes)} .* needed: {len(fakes)} are too short .a smaller --length'):
        make_quiz(real, fakes, tmp_path/'q.html', N, 5000)
    with pytest.raises(ValueError, match='even number'): make_quiz(real, fakes, tmp_path/'q.html', 5, LENGTH)
    with pytest.raises(ValueError, match='different encodings'):
        make_quiz(real, [Piece(p.ids, toy_corpus(2, encoder=type(p.encoder)(p.encoder.config.__class__(max_wait=24))).encoder)
                         for p in fakes], tmp_path/'q.html', N, LENGTH)
    (tmp_path/'mine.html').write_text('mine')
    with pytest.raises(ValueError, match='did not write'): make_quiz(real, fakes, tmp_path/'mine.html', N, LENGTH)
    assert [p.name for p in tmp_path.iterdir()] == ['mine.html']


# what listeners said

def made_up(key, session, right):
    other = dict(human='machine', machine='human')
    return dict(kind='musiclm answers', quiz=key['quiz'], session=session, answers=[
        dict(clip=i, answer=c['truth'] if ok else other[c['truth']], truth=c['truth'], source=c['source'], seconds=5., plays=1)
        for i, (c, ok) in enumerate(zip(key['clips'], right), 1)])


@pytest.mark.parametrize('k, n', [(0, 20), (7, 20), (20, 20), (1, 3)])
def test_one_listener_has_the_interval_of_wilson(k, n):
    low, high = binomtest(k, n).proportion_ci(method='wilson')
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-9)
    found = share(np.arange(n) < k, ['me']*n, np.arange(n))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_the_interval_of_several_listeners_covers():
    chance, hit, trials = np.random.default_rng(0), 0, 200
    listeners, clips = np.repeat(np.arange(12), 20), np.tile(np.arange(20), 12)
    for _ in range(trials):
        skill, ease = chance.normal(0, .12, 12), chance.normal(0, .12, 20)
        found = share(chance.random(240) < np.clip(.6 + skill[listeners] + ease[clips], 0, 1), listeners, clips)
        hit += found.low <= .6 <= found.high
    assert .9 <= hit/trials <= .99


def test_agreement_is_krippendorffs_alpha():
    "The example of two coders and ten units in Krippendorff's `Computing Krippendorff's alpha-reliability` (2011): 0.095."
    a, b = '0100000010', '1110010000'
    table = pd.DataFrame([dict(quiz='q', clip=i, listener=who, said=s) for who, row in zip('ab', (a, b)) for i, s in enumerate(row)])
    assert agreement(table) == pytest.approx(.095, abs=5e-4)


def test_rank_correlation_is_spearmans():
    x, y = np.random.default_rng(1).integers(0, 5, (2, 30))
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(spearmanr(x, y)[0]) and found.low < found.value < found.high


def test_bad_and_foreign_files_are_named_and_passed_over(page, tmp_path):
    key = key_of(page)
    good = made_up(key, 'a', [True]*N)
    liar = json.loads(json.dumps(good)); liar['session'] = 'b'
    liar['answers'][0]['truth'] = dict(human='machine', machine='human')[liar['answers'][0]['truth']]
    for name, text in dict(good=json.dumps(good), again=json.dumps(good), liar=json.dumps(liar), text='no json', other='{"kind": 3}',
                           half=json.dumps({**good, 'session': 'c', 'answers': [{}]}), key=json.dumps(key), list='[1]',
                           null=json.dumps({**good, 'session': 'd', 'answers': [dict(good['answers'][0], answer=None)]})).items():
        (tmp_path/f'{name}.json').write_text(text)
    names = ['again', 'good', 'half', 'liar', 'list', 'null', 'other', 'text', 'key']
    answers, keys, bad = read_answers([tmp_path/f'{n}.json' for n in names])
    assert list(keys) == [key['quiz']] and set(answers.listener) == {'a'} and len(answers) == N
    assert [re.search(r'(\w+)\.json: (.*)', b).groups() for b in bad] == [
        ('text', 'not JSON'), ('good', 'these answers came in another file, too'), ('half', "incomplete answers ('clip')"),
        ('liar', f'it does not fit the key of quiz {key["quiz"]}'), ('list', 'no answers to a quiz of musiclm'),
        ('null', 'clip 1 has no answer that can be read'), ('other', 'no answers to a quiz of musiclm')]


def test_what_listeners_said_is_counted(page):
    key = key_of(page)
    right = np.array([[1]*N, [1, 0]*(N//2)], bool)
    rows = pd.DataFrame([r for who, ok in zip('ab', right) for r in answer_rows(made_up(key, who, ok), {})])
    found = summarise(rows, {key['quiz']: key})
    assert found['accuracy'].value == .75 and {k: e.value for k, e in found['by_listener'].items()} == dict(a=1., b=.5)
    machine = np.array([c['truth'] == 'machine' for c in key['clips']])
    assert found['taken_for_human']['by composers'].value == right[:, ~machine].mean()
    for name in ('order-2', 'order-4'):
        by = np.array([c['source'] == name for c in key['clips']])
        assert found['taken_for_human'][f'by {name}'].value == 1 - right[:, by].mean()
    assert found['clips']['right'].tolist() == [.5]*(N//2) + [1.]*(N//2)


@pytest.fixture(scope='module')
def critic(corpus):
    torch.manual_seed(0)
    model = make_critic(len(corpus.vocab), size='tiny', clip_length=LENGTH)
    model.vocab, model.encoding, model.temperature = corpus.vocab, corpus.encoder.config, 1.
    return model.eval()


def test_the_critic_reads_the_clips_that_were_heard(page, corpus, critic):
    key = key_of(page)
    rows = pd.DataFrame(answer_rows(made_up(key, 'a', [True]*N), {}))
    found = summarise(rows, {key['quiz']: key}, critic)
    clips = found['clips'].sort_values('clip')
    heard = np.stack([corpus.encoder.from_text(c['tokens']) for c in key['clips']]).astype(np.uint16)
    assert clips['realness'].tolist() == pytest.approx(critic_scores(critic, heard).tolist(), abs=1e-6)
    assert found['critic']['auc_of_listeners'].value == 1
    assert found['critic']['rank_correlation'].value == pytest.approx(spearmanr(clips['realness'], clips['said_human'])[0])
    with pytest.raises(ValueError, match='needs the key'): summarise(rows, {}, critic)
    with pytest.raises(ValueError, match='another encoding'):
        summarise(rows, {key['quiz']: {**key, 'encoding': {**key['encoding'], 'max_wait': 24}}}, critic)


# in the browser

@pytest.fixture
def opened(open_page, page, request): return open_page(page, getattr(request, 'param', 1400))


def test_the_script_has_the_interval_of_scipy(opened):
    for k, n in [(0, 20), (7, 20), (20, 20), (1, 3)]:
        assert opened.evaluate(f'wilson({k}, {n})') == pytest.approx(list(binomtest(k, n).proportion_ci(method='wilson')), abs=1e-9)


def test_the_scrambled_key_is_read_by_the_page(opened, page):
    assert [t[:2] for t in opened.evaluate('truths()')] == [[c['truth'], c['source']] for c in key_of(page)['clips']]
    assert scramble(scramble(b'abc', 2**32 - 1), 2**32 - 1) == b'abc' != scramble(b'abc', 2**32 - 1)


@pytest.mark.parametrize('opened', [1400, 400], indirect=True)
def test_it_fits_and_everything_has_a_name(opened):
    assert opened.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert opened.evaluate('''[...document.querySelectorAll("button, input, select, progress")].every(
        o => (o.getAttribute("aria-label") || o.textContent.trim() || o.closest("label")))''')


def test_played_through_by_keyboard(opened, page, tmp_path):
    tab, key = opened, key_of(page)
    tab.keyboard.press('h')
    assert 'Listen first' in tab.inner_text('#say') and tab.inner_text('#progress') == f'0 of {N} answered'
    said = []
    for i, letter in enumerate('hrmghhmm'):
        assert tab.inner_text('#where') == f'Clip {i + 1} of {N}'
        tab.keyboard.press('Space')
        if i == 0: # it sounds, and the bar follows
            tab.wait_for_function('audio.currentTime > .2')
            assert tab.evaluate('Math.abs($("time").value*quiz.clips[0].seconds - audio.currentTime)') < .15
        tab.keyboard.press(letter)
        said.append('human' if letter in 'hr' else 'machine')
        if i == 3: # what was said outlasts a reload, and may be changed
            tab.reload()
            assert tab.inner_text('#progress') == f'4 of {N} answered'
            tab.keyboard.press('ArrowLeft')
            assert tab.get_attribute('#machine', 'aria-pressed') == 'true'
            tab.keyboard.press('h')
            said[3] = 'human'
            assert tab.inner_text('#where') == f'Clip 5 of {N}'
    tab.keyboard.press('Enter')
    right = sum(s == c['truth'] for s, c in zip(said, key['clips']))
    assert f'{right} of {N} right' in tab.inner_text('#result')
    low, high = wilson(right, N)
    assert f'interval {round(100*low)}% to {round(100*high)}%' in tab.inner_text('#result').replace('\n', ' ')
    tab.fill('#name', 'Ada')
    with tab.expect_download() as got: tab.click('#download')
    got.value.save_as(tmp_path/'answers.json')
    answers, _, bad = read_answers([tmp_path/'answers.json', page.with_name('quiz.key.json')])
    assert answers['said'].tolist() == said and not bad and (answers['plays'] > 0).all() and (answers['seconds'] >= 0).all()
    assert json.loads((tmp_path/'answers.json').read_text())['name'] == 'Ada'


# the command

def test_the_command_makes_a_quiz_and_reads_answers(corpus, generators, critic, pieces, tmp_path, capsys):
    corpus.save(tmp_path/'store')
    save_model(generators['order-4'], tmp_path/'order-4')
    save_model(critic, tmp_path/'critic')
    for k, p in enumerate(pieces[1]): p.write_midi(tmp_path/'folder'/f'{k}.mid')
    page = tmp_path/'out'/'test.html'
    make = ['quiz', '--pieces', str(tmp_path/'order-4'), str(tmp_path/'folder'), '--store', str(tmp_path/'store'), '--out', str(page)]
    assert main([*make, '--n', '4', '--length', '96']) == 0
    key = json.loads(page.with_name('test.key.json').read_text())
    assert sorted(c['source'] for c in key['clips']) == ['folder', 'human', 'human', 'order-4']
    (tmp_path/'a.json').write_text(json.dumps(made_up(key, 'a', [True]*4)))
    (tmp_path/'b.json').write_text('{}')
    files = [str(tmp_path/'a.json'), str(tmp_path/'b.json'), str(page.with_name('test.key.json'))]
    capsys.readouterr()
    assert main(['quiz', '--read', *files, '--critic', str(tmp_path/'critic')]) == 0
    out, err = capsys.readouterr()
    assert 'right: 100%' in out and 'music by folder: 0%' in out and 'AUC of the listeners: 1.00' in out
    assert err == f'left out: {tmp_path/"b.json"}: no answers to a quiz of musiclm\n'
    assert main(['quiz', '--pieces', 'x']) == 1 and 'needs --store' in capsys.readouterr().err
    assert main(['quiz', '--read', files[1]]) == 1 and 'no answers to sum up' in capsys.readouterr().err
