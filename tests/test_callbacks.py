"The score callback: what stands in the table, when it scores, what it costs, what it must leave alone, who else reads it."
import fastcore
import json
import sys
import types
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.tracker import SaveModelCallback
from test_distributed import started

from musiclm.callbacks import KeepCopies, MusicalInceptionScore
from musiclm.composer import probabilities
from musiclm.corpus import toy_corpus
from musiclm.critic import generated_clips
from musiclm.data import lm_dataloaders
from musiclm.generator import Checkpoints, generator_learner, process_group, digest, distributed_context, unwrap_ddp
from musiclm.metrics import Score, conditional_inception_score, inception_score
from musiclm.models import load_model, save_model
from musiclm.architectures import make_classifier

COLUMNS = ['inception', 'inception_low', 'inception_high', 'conditional']


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=24, beats=24)


def make_judge(corpus, labels=('alto', 'basso')):
    torch.manual_seed(1)
    judge = make_classifier(len(corpus.vocab), list(labels), size='tiny', clip_length=48)
    judge.vocab, judge.encoding, judge.temperature = corpus.vocab, corpus.encoder.config, .05
    return judge


@pytest.fixture(scope='module')
def judge(corpus): return make_judge(corpus)


def callback(judge, corpus, **kwargs): return MusicalInceptionScore(judge, corpus, **{'n': 8, 'prompt_tokens': 16, **kwargs})


def fit(corpus, epochs, cbs=None, arch='awd_lstm', learn=None):
    torch.manual_seed(0)
    learn = learn or generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), arch, 'tiny', cbs=cbs)
    with learn.no_bar(), learn.no_logging(): learn.fit(epochs)
    return learn


def column(learn, name): return [float(row[list(learn.recorder.metric_names).index(name) - 1]) for row in learn.recorder.values]


def scripted(cb, values, cost=0.):
    "Scores that are known beforehand, one after another."
    values = iter(values)
    def measure():
        cb.cost, x = cost, next(values)
        return dict(inception=asdict(Score(x, np.log(x), .1, x - .1, x + .1, 8)))
    cb.measure = measure
    return cb


@pytest.mark.parametrize('arch', ['awd_lstm', 'transformer'])
def test_the_weights_are_the_same_to_the_last_bit_with_the_callback_or_without(corpus, judge, arch):
    plain, scored = (fit(corpus, 2, cbs, arch) for cbs in (None, callback(judge, corpus, every=1)))
    assert len(scored.musical_inception_score.scores) == 2
    for (name, a), b in zip(plain.model.state_dict().items(), scored.model.state_dict().values()): assert torch.equal(a, b), name
    assert column(plain, 'valid_loss') == column(scored, 'valid_loss')


@pytest.mark.parametrize('every, epochs, scored', [(1, 3, [0, 1, 2]), (2, 3, [1, 2]), (2, 4, [1, 3]), (9, 2, [1])])
def test_a_fixed_number_of_epochs_lies_between_scores_and_the_last_always_has_one(corpus, judge, every, epochs, scored):
    cb = scripted(callback(make_judge(corpus, ['alto', 'tenore']), corpus, every=every), [1.5]*9)
    learn = fit(corpus, epochs, cb)
    assert list(cb.scores) == scored and list(cb.curve().index) == scored
    assert (~np.isnan(column(learn, 'inception'))).nonzero()[0].tolist() == scored


def test_the_table_holds_the_scores_which_can_be_found_again(corpus, judge):
    cb = callback(judge, corpus, every=2, seed=3)
    learn = fit(corpus, 2, cb)
    assert list(learn.recorder.metric_names)[-5:] == [*COLUMNS, 'time']
    clips, info = generated_clips(learn, corpus, 'valid', 8, 48, 16, 3)
    p, about = probabilities(judge, clips), dict(groups=info['work'], strata=info['composer'])
    want, given = inception_score(p, **about), conditional_inception_score(p, info['composer'].map(judge.labels.index), **about)
    assert cb.scores == {1: want} and cb.conditional == {1: given}
    assert [column(learn, k)[1] for k in COLUMNS] == [want.value, want.low, want.high, given.value]
    assert all(np.isnan(column(learn, k)[0]) for k in COLUMNS)


def test_a_judge_that_does_not_know_the_composers_gives_no_conditional_score(corpus):
    cb = callback(make_judge(corpus, ['alto', 'tenore']), corpus)
    learn = fit(corpus, 1, cb)
    assert 'conditional' not in learn.recorder.metric_names and not cb.conditional and len(cb.scores) == 1


@pytest.mark.parametrize('cost', [.01, .05, .12, .3, 1., 20.])
@pytest.mark.parametrize('epochs', [1, 2, 7, 19, 50])
@pytest.mark.parametrize('guess', [.5, 1., 3.])
def test_scores_never_take_more_than_their_share_but_for_the_last(corpus, judge, epochs, cost, guess):
    "`cost` as part of an epoch; the rehearsal guessed `guess` times as much."
    cb = callback(judge, corpus, share=.05)
    cb.learn = SimpleNamespace(n_epoch=epochs, logger=print)
    cb.columns, cb.cost, cb.spacing, cb.seconds = [SimpleNamespace(name='inception')], cost*guess, 1, []
    for epoch in range(epochs):
        cb.learn.epoch = epoch
        cb.seconds.append(1.)
        now = cb.due()
        if now: cb.cost = cost
        cb.history[epoch] = dict(inception=1.5) if now else {}
    scored = cb.curve().index
    assert scored[-1] == epochs - 1
    if guess >= 1: assert len(scored) == 1 or len(scored)*cost <= .05*epochs + 1e-9
    if cost <= .05 and guess == 1: assert len(scored) == epochs # no fewer than can be afforded
    assert len(scored) >= .5*min(epochs, .05*epochs/cost)/max(guess, 1) - 1


def test_the_callback_says_once_how_often_it_scores(corpus, judge, capsys):
    cb = scripted(callback(make_judge(corpus, ['alto', 'tenore']), corpus), [1.5]*9, cost=1000.)
    learn = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny', cbs=cb)
    with learn.no_bar(): learn.fit(3)
    said = [line for line in capsys.readouterr().out.splitlines() if 'pieces' in line]
    assert len(said) == 1 and said[0].startswith('A score of 8 pieces takes') and 'after the last only' in said[0]
    assert list(cb.scores) == [2]


@pytest.mark.filterwarnings('ignore:numpy.core is deprecated') # what fastai pickles with
def test_nothing_is_written_outside_a_fit(corpus, judge, tmp_path):
    cb = callback(judge, corpus, every=1)
    learn = fit(corpus, 1, cb)
    learn.path = tmp_path
    cb.measure = cb.rehearse = lambda: pytest.fail('outside a fit')
    assert np.isfinite(learn.validate()[:3]).all() and cb.curve()['inception'].to_dict() == {0: cb.scores[0].value}
    with learn.no_bar(), learn.no_logging(): learn.lr_find(num_it=12, show_plot=False)
    assert list(cb.scores) == [0]


def test_a_second_fit_begins_anew(corpus, judge):
    cb = callback(judge, corpus, every=1)
    learn = fit(corpus, 2, cb)
    fit(corpus, 1, learn=learn)
    assert list(cb.scores) == [0] and list(learn.recorder.metric_names).count('inception') == 1


def test_the_callback_may_also_be_given_to_one_fit(corpus, judge):
    learn = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny')
    cb = callback(judge, corpus)
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=cb)
    assert column(learn, 'inception') == [cb.scores[0].value]


class States(Callback):
    "Weights by epoch."
    def __init__(self): self.weights = []
    def after_epoch(self): self.weights.append({k: v.clone() for k, v in self.learn.model.state_dict().items()})


@pytest.mark.parametrize('values, best', [([1.2, 1.5, 1.4], 1), ([1.5, 1.5, 1.1], 0), ([1.1, 1.2, 1.3], 2)])
def test_the_model_with_the_highest_score_is_kept(corpus, tmp_path, values, best):
    cb = scripted(callback(make_judge(corpus, ['alto', 'tenore']), corpus, every=1, keep_best=tmp_path/'best'), values)
    learn = fit(corpus, 3, [cb, States()])
    kept = load_model(tmp_path/'best')
    assert kept.card['epoch'] == best + 1 and kept.card['score']['value'] == values[best] and len(kept.card['judge']) == 12
    for k, v in kept.state_dict().items(): assert torch.equal(v, learn.states.weights[best][k]), k
    assert [p.name for p in tmp_path.iterdir()] == ['best']


class Break(Callback):
    def after_batch(self):
        if self.training and self.epoch == 2: raise KeyboardInterrupt


def test_a_training_that_goes_on_from_a_checkpoint_keeps_its_curve_and_its_best(corpus, tmp_path):
    judge, values = make_judge(corpus, ['alto', 'tenore']), [1.2, 1.8, 1.3, 1.4]
    whole = scripted(callback(judge, corpus, every=1), values)
    a = fit(corpus, 4, [Checkpoints(tmp_path/'whole'), whole])
    first = scripted(callback(judge, corpus, every=1, keep_best=tmp_path/'best'), values[:2])
    with pytest.raises(KeyboardInterrupt): fit(corpus, 4, [Checkpoints(tmp_path/'kept'), first, Break()])
    again = scripted(callback(judge, corpus, every=1, keep_best=tmp_path/'best'), values[2:])
    b = fit(corpus, 4, [Checkpoints(tmp_path/'kept'), again])
    assert list(again.scores) == [2, 3] and again.curve().equals(whole.curve()) and len(again.curve()) == 4
    assert load_model(tmp_path/'best').card['epoch'] == 2
    for (k, v), w in zip(a.model.state_dict().items(), b.model.state_dict().values()): assert torch.equal(v, w), k
    assert len(again.plot().lines[0].get_xdata()) == 4


def test_the_callback_may_join_a_training_that_began_without_it(corpus, tmp_path):
    with pytest.raises(KeyboardInterrupt): fit(corpus, 4, [Checkpoints(tmp_path/'kept'), Break()])
    cb = scripted(callback(make_judge(corpus, ['alto', 'tenore']), corpus, every=1), [1.5, 1.6])
    fit(corpus, 4, [Checkpoints(tmp_path/'kept'), cb])
    assert cb.curve()['inception'].to_dict() == {2: 1.5, 3: 1.6}


def test_the_plot_shows_the_scores_their_intervals_and_the_lines(corpus):
    cb = scripted(callback(make_judge(corpus, ['alto', 'tenore']), corpus, every=2), [1.2, 1.6])
    fit(corpus, 4, cb)
    ax = cb.plot(floor=1.05, ceiling=Score(1.9, np.log(1.9), .1, 1.8, 2., 64))
    assert ax.lines[0].get_xydata().tolist() == [[1, 1.2], [3, 1.6]]
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(1.1) and corners[:, 1].max() == pytest.approx(1.7)
    assert sorted(line.get_ydata()[0] for line in ax.lines[1:]) == [1.05, 1.9]
    with pytest.raises(ValueError, match='no epoch has a score'): callback(cb.judge, corpus).plot()


@pytest.mark.parametrize('options, says', [
    (dict(split='exam'), "no piece of split 'exam' is longer than 16 tokens"),
    (dict(prompt_tokens=5000), 'is longer than 5000 tokens'),
    (dict(top_k=-1), 'top_k'), (dict(temperature=-1.), 'temperature')])
def test_what_can_not_be_scored_is_refused_before_the_first_batch(corpus, judge, options, says):
    learn = generator_learner(lm_dataloaders(corpus, bs=8, device='cpu'), size='tiny', cbs=callback(judge, corpus, **options))
    learn.one_batch = lambda *args: pytest.fail('trained')
    with pytest.raises(ValueError, match=says) as e, learn.no_bar(): learn.fit(1)
    assert '\n' not in str(e.value) and 'Exception' not in str(e.value)


def test_prompts_of_one_work_are_refused(corpus, judge):
    m = corpus.manifest
    valid = m.index[m['split'] == 'valid']
    one = corpus.select([*m.index[m['split'] == 'train'], *valid[m['work'][valid] == m['work'][valid[0]]]])
    with pytest.raises(ValueError, match="split 'valid' come from one work"): fit(corpus, 1, callback(judge, one))


def test_other_bad_options_are_refused(corpus, judge, tmp_path):
    (tmp_path/'thesis.txt').write_text('years of work')
    with pytest.raises(ValueError, match='holds something else'): fit(corpus, 1, callback(judge, corpus, keep_best=tmp_path))
    with pytest.raises(ValueError, match='at least 1 epoch, not 0'): callback(judge, corpus, every=0)
    for share in (0, -1, 5, float('nan')):
        with pytest.raises(ValueError, match='share must be a part'): callback(judge, corpus, share=share)
    with pytest.raises(ValueError, match='2 clips are too few for 2 composers'): callback(judge, corpus, n=2)
    with pytest.raises(ValueError, match='a classifier is wanted'): callback(fit(corpus, 1), corpus)


def test_tensorboard_is_given_the_scores(corpus, judge, monkeypatch):
    "fastai's own callback, with a writer that only takes notes where TensorBoard is not installed."
    written = []
    class Notes:
        def __init__(self, log_dir=None): pass
        def add_scalar(self, name, value, step): written.append((name, float(value), step))
        def close(self): pass
    try: import torch.utils.tensorboard as board
    except ModuleNotFoundError:
        board = types.ModuleType('torch.utils.tensorboard')
        for name, module in {'tensorboard': types.ModuleType('tensorboard'), board.__name__: board}.items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(board, 'SummaryWriter', Notes, raising=False)
    monkeypatch.delitem(sys.modules, 'fastai.callback.tensorboard', raising=False)
    from fastai.callback.tensorboard import TensorBoardCallback
    cb = callback(judge, corpus, every=2)
    learn = fit(corpus, 3, [cb, TensorBoardCallback(trace_model=False, log_preds=False)])
    for name in COLUMNS:
        assert np.array_equal([v for n, v, _ in written if n == name], column(learn, name), equal_nan=True), name
    monkeypatch.delitem(sys.modules, 'fastai.callback.tensorboard')


def test_tensorboard_itself_writes_them(corpus, judge, tmp_path):
    pytest.importorskip('tensorboard')
    from fastai.callback.tensorboard import TensorBoardCallback
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    cb = callback(judge, corpus, every=2)
    fit(corpus, 3, [cb, TensorBoardCallback(log_dir=str(tmp_path), trace_model=False, log_preds=False)])
    found = EventAccumulator(str(tmp_path)).Reload().Scalars('inception')
    assert [e.value for e in found][1:] == pytest.approx([s.value for s in cb.scores.values()]) and np.isnan(found[0].value)


@pytest.mark.skipif(fastcore.__version__ >= '2', reason="fastai's WandbCallback asks fastcore 2 for the parameters of a number, and fails")
def test_weights_and_biases_is_given_the_scores(corpus, judge, monkeypatch):
    "fastai's own callback, with a `wandb` that only takes notes."
    logged, wandb = [], types.ModuleType('wandb')
    wandb.run, wandb.config = SimpleNamespace(step=0, summary={}), SimpleNamespace(update=lambda *args, **kwargs: None)
    wandb.log = lambda values, step=None: logged.append(dict(values))
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    monkeypatch.delitem(sys.modules, 'fastai.callback.wandb', raising=False)
    from fastai.callback.wandb import WandbCallback
    cb = callback(judge, corpus, every=2)
    learn = fit(corpus, 3, [cb, WandbCallback(log_preds=False)])
    rows = [row for row in logged if 'valid_loss' in row]
    for name in COLUMNS: assert np.array_equal([row[name] for row in rows], column(learn, name), equal_nan=True), name
    monkeypatch.delitem(sys.modules, 'fastai.callback.wandb')


@pytest.mark.filterwarnings('ignore:numpy.core is deprecated') # what fastai pickles with
def test_fastais_save_model_callback_can_follow_the_score(corpus, tmp_path, capsys):
    cb = scripted(callback(make_judge(corpus, ['alto', 'tenore']), corpus, every=2), [1.6, 1.2])
    learn = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny', path=tmp_path,
                              cbs=[cb, States(), SaveModelCallback(monitor='inception')])
    with learn.no_bar(), learn.no_logging(): learn.fit(4)
    assert learn.save_model.best == 1.6 # of epochs NaN, 1.6, NaN, 1.2
    for k, v in learn.model.state_dict().items(): assert torch.equal(v, learn.states.weights[1][k]), k


def work(out):
    "What each of two processes does."
    with process_group() as rank:
        found, corpus = [], toy_corpus(n=24, beats=24)
        for scored in (True, False):
            torch.manual_seed(0)
            cb = callback(make_judge(corpus), corpus, every=2, keep_best=out/'best')
            torch.manual_seed(0)
            learn = generator_learner(lm_dataloaders(corpus, bs=4, seq_len=32, device='cpu'), size='tiny', cbs=[cb]*scored)
            if rank: cb.measure = cb.rehearse = lambda: sys.exit('the second process writes pieces')
            with learn.no_bar(), learn.no_logging(), distributed_context(learn): learn.fit(3)
            found.append(digest(*(p.detach().numpy().tobytes() for p in unwrap_ddp(learn).parameters())))
            if scored: table = [column(learn, k) for k in COLUMNS]
        (out/f'{rank}.json').write_text(json.dumps([found, table]))


def test_of_two_processes_one_writes_and_both_know_the_score(tmp_path):
    with started(__file__, tmp_path) as ps: said = [p.communicate(timeout=100) for p in ps]
    assert [p.returncode for p in ps] == [0, 0], said
    (weights, table), other = (json.loads((tmp_path/f'{r}.json').read_text()) for r in (0, 1))
    assert weights[0] == weights[1] and other[0] == weights and np.array_equal(table, other[1], equal_nan=True)
    best = load_model(tmp_path/'best').card
    assert np.isfinite(table[0]).tolist() == [False, True, True] and best['score']['value'] == np.nanmax(table[0])


if __name__ == '__main__': work(Path(sys.argv[1]))


def test_copies_are_kept_after_the_epochs_that_are_named(corpus, tmp_path):
    torch.manual_seed(0)
    learn, losses = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny'), {}
    def keep(epoch):
        save_model(learn, tmp_path/str(epoch))
        losses[epoch] = learn.recorder.values[-1][1]
    with learn.no_bar(), learn.no_logging(): learn.fit(3, cbs=KeepCopies((1, 3, 7), keep))
    assert list(losses) == [1, 3]
    for epoch, loss in losses.items():
        kept = generator_learner(learn.dls, start=tmp_path/str(epoch))
        assert kept.validate()[0] == pytest.approx(loss, abs=1e-5)
