"The demo on a made-up corpus: whole or not at all, taken up where it stopped, the same pieces for the same seed."
import json
import warnings

import numpy as np
import pytest

from musiclm.corpus import Corpus, toy_corpus
from musiclm.demo import Demo, DemoSettings, run_demo
from musiclm.models import load_model

TINY = DemoSettings(clip_length=32, prompt_tokens=16, composer_clips=160, composer_epochs=4, generator_size='tiny', generator_epochs=2,
                    generator_bs=8, score_clips=8, ngram_order=4, n_pieces=20, n_tokens=80,
                    critic_fakes=(('train', 16), ('valid', 8), ('test', 8)), critic_epochs=1, judge_clips=32, n_best=2)


def make_toy(settings): return toy_corpus(n=48, beats=32, seed=settings.seed)


def run(out, settings=TINY):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return run_demo(out, settings, quiet=True, make_corpus=make_toy)


def pieces(out): return {p['info']['index']: (p['ids'], p['info']['critic']) for p in json.loads((out/'pieces.json').read_text())}


def tree(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*'))


@pytest.fixture(scope='module')
def small(): # `CLASSIFIER` says small; these tests are about the path, not the size
    with pytest.MonkeyPatch.context() as m:
        m.setitem(__import__('musiclm.demo', fromlist=['CLASSIFIER']).CLASSIFIER, 'size', 'tiny')
        yield


@pytest.fixture(scope='module')
def done(tmp_path_factory, small):
    out = tmp_path_factory.mktemp('demo')/'one'
    return run(out)


@pytest.fixture(scope='module')
def metrics(done): return json.loads((done.parent/'metrics.json').read_text())


def test_the_result_is_whole(done):
    out = done.parent
    assert tree(out.parent)[0] == 'one' and [p.name for p in out.parent.iterdir()] == ['one'] # no folder of stages beside it
    assert {'index.html', 'metrics.json', 'midi', 'models', 'clips', 'corpus', 'pieces.json'} <= {p.name for p in out.iterdir()}
    assert not {'stages', 'settings.json'} & {p.name for p in out.iterdir()}
    assert len(list((out/'midi').glob('*.mid'))) == TINY.n_pieces
    page = done.read_text()
    assert page.count('<audio') >= TINY.n_best and 'src="http' not in page and len(page) < 30e6
    for name in ('composer', 'generator', 'generator_early', 'critic'): load_model(out/'models'/name)
    assert len(Corpus.load(out/'corpus')) == 48
    assert sorted(p.parent.relative_to(out/'clips').as_posix() for p in (out/'clips').rglob('clips.npy')) == [
        f'{s}/{k}' for s in ('test', 'train', 'valid') for k in ('fake', 'real')]


def test_nothing_is_pickled(done):
    for p in done.parent.rglob('*'):
        if p.is_file(): assert p.suffix not in ('.pkl', '.pth', '.pt', '.pickle') and not p.read_bytes()[:2] in (b'\x80\x04', b'\x80\x05')
    for p in done.parent.rglob('*.npy'): np.load(p, allow_pickle=False)


def test_every_figure_is_in_metrics(metrics):
    assert {'settings', 'seconds', 'corpus', 'composer', 'generator', 'ngrams', 'sampling', 'critic', 'scores', 'judge'} <= set(metrics)
    assert {'log_loss', 'macro_f1', 'baseline', 'confusion', 'labels', 'temperature', 'history'} <= set(metrics['composer'])
    assert {'nats_per_token', 'bits_per_note', 'history', 'parameters'} <= set(metrics['generator'])
    assert {'1', '4'} <= set(metrics['ngrams']['ngrams']) and 1 <= metrics['ngrams']['best_order'] <= 4
    assert {'auc', 'by_generator', 'baselines', 'calibration_error'} <= set(metrics['critic'])
    assert set(metrics['critic']['by_generator']) == {f'{g}, {r}' for g in ('half-trained', 'trained') for r in ('original', 'temperature 1')}
    assert {'inception', 'inception_low', 'valid_loss', 'epoch'} <= set(metrics['generator']['history'][-1])
    assert metrics['settings']['seed'] == 0 and all(s > 0 for s in metrics['seconds'].values())
    names = [r['name'] for r in metrics['scores']]
    for part in ('ceiling', 'floor', 'bar-shuffled', 'gram generator', 'all 20', "critic's top 4", 'random 4'): assert sum(part in n for n in names) == 1
    for r in metrics['scores']: assert r['low'] <= r['value'] <= r['high'] and r['n'] > 0


def test_no_figure_is_missing(metrics):
    def numbers(tree):
        if isinstance(tree, dict): yield from (n for v in tree.values() for n in numbers(v))
        elif isinstance(tree, list): yield from (n for v in tree for n in numbers(v))
        elif isinstance(tree, float): yield tree
    assert np.isfinite(list(numbers({k: v for k, v in metrics.items() if k != 'settings'}))).all()


def test_pieces_go_on_from_works_that_nothing_was_trained_on(done):
    corpus = Corpus.load(done.parent/'corpus')
    works = dict(zip(corpus.manifest['work'], corpus.manifest['split']))
    openings = {tuple(corpus.tokens(i)[:TINY.prompt_tokens].tolist()) for i in corpus.indices('test')}
    found = json.loads((done.parent/'pieces.json').read_text())
    assert len(found) == TINY.n_pieces and sorted(p['info']['index'] for p in found) == list(range(20))
    for p in found:
        assert works[p['info']['prompt_work']] == 'test' and tuple(p['ids'][:p['prompt_len']]) in openings
        assert len(p['ids']) == TINY.prompt_tokens + TINY.n_tokens
    scores = [p['info']['critic'] for p in found]
    assert scores == sorted(scores, reverse=True)


class Stop(Exception): "What stops a run."


def test_an_interrupted_run_goes_on_and_gives_the_same_pieces(done, metrics, tmp_path, monkeypatch):
    def stop(self): raise Stop
    out, whole = tmp_path/'two', {k: getattr(Demo, f'run_{k}') for k in ('composer', 'generator', 'critic', 'page')}
    for stage in ('generator', 'critic', 'page'):
        monkeypatch.setattr(Demo, f'run_{stage}', stop)
        with pytest.raises(Stop): run(out)
        assert not out.exists() and [p.name for p in tmp_path.iterdir()] == ['.two.partial']
        monkeypatch.setattr(Demo, f'run_{stage}', whole[stage])
        if stage != 'page': monkeypatch.setattr(Demo, 'run_composer', stop) # never again
        if stage == 'critic': monkeypatch.setattr(Demo, 'run_generator', stop)
    run(out)
    assert [p.name for p in tmp_path.iterdir()] == ['two'] and tree(out) == tree(done.parent)
    assert pieces(out) == pieces(done.parent)
    again = json.loads((out/'metrics.json').read_text())
    assert [r['value'] for r in again['scores']] == [r['value'] for r in metrics['scores']]
    assert set(again['seconds']) == set(metrics['seconds'])


def test_other_settings_begin_anew(tmp_path, monkeypatch, small):
    from dataclasses import replace
    seen = []
    def stop(self): seen.append(sorted(p.name for p in (self.work/'stages').glob('*'))); raise Stop
    monkeypatch.setattr(Demo, 'run_composer', stop)
    for settings in (TINY, TINY, replace(TINY, seed=1)):
        with pytest.raises(Stop): run(tmp_path/'d', settings)
    assert seen == [['corpus.json']]*3
    first = Corpus.load(tmp_path/'.d.partial'/'corpus')
    assert np.array_equal(first.store, make_toy(replace(TINY, seed=1)).store)


@pytest.mark.parametrize('place', ['foreign', 'file', 'below'])
def test_places_that_cannot_be_written_are_refused(place, tmp_path):
    (tmp_path/'file').write_text('mine')
    (tmp_path/'foreign').mkdir()
    (tmp_path/'foreign'/'mine.txt').write_text('mine')
    out, before = {'foreign': tmp_path/'foreign', 'file': tmp_path/'file', 'below': tmp_path/'file'/'sub'/'demo'}[place], tree(tmp_path)
    with pytest.raises(ValueError) as e: run(out)
    assert str(out) in str(e.value) and '--out' in str(e.value) and len(str(e.value).splitlines()) == 1
    assert tree(tmp_path) == before and (tmp_path/'foreign'/'mine.txt').read_text() == 'mine'
