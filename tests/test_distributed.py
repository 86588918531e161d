"Two processes, started as torchrun starts them, train as one process with twice the batch does."
import json
import os
import re
import socket
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import torch
from fastai.callback.core import Callback

from musiclm.cli import main
from musiclm.corpus import toy_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import Checkpoints, generator_learner, process_group, distributed_context
from musiclm.compare import evaluate_lm
from musiclm.models import load_model, save_model
from musiclm.architectures import make_model
from musiclm.notes import atomic_write

root = Path(__file__).resolve().parent.parent
ARCHS = ('awd_lstm', 'transformer')
DRY = {'awd_lstm': dict(output_p=0., hidden_p=0., input_p=0., embed_p=0., weight_p=1e-9, precision='fp32'),
       'transformer': dict(dropout=0.)}


class Raise(Callback):
    "An error in the second epoch."
    def after_batch(self):
        if self.epoch == 1 and self.iter == 1: raise KeyboardInterrupt


class Spoil(Callback):
    "A loss in one of the processes that is no number."
    def after_loss(self):
        if self.training and self.epoch == 1 and os.environ['RANK'] == '1': self.learn.loss_grad = self.learn.loss_grad*float('nan')


def learner(arch, bs, options=None, **kwargs):
    torch.manual_seed(0)
    dls = lm_dataloaders(toy_corpus(n=24, beats=24), bs=bs, seq_len=32, device='cpu')
    return generator_learner(dls, arch, 'tiny', options=options, **kwargs)


def fit(learn, epochs, *cbs):
    with learn.no_bar(), learn.no_logging(), distributed_context(learn): learn.fit_one_cycle(epochs, cbs=cbs)
    return learn


def keep(learn, path):
    "What is compared: weights, and the curves and the table of the Recorder."
    r = learn.recorder
    found = {f'model/{n}': p.detach() for n, p in learn.model.named_parameters()}
    safetensors.torch.save_file({**found, 'losses': torch.stack(r.losses), 'lrs': torch.tensor(r.lrs, dtype=torch.float64),
                                 'values': torch.tensor([list(v) for v in r.values], dtype=torch.float64)}, path)


def work(out):
    "What each of the two processes does."
    warnings.simplefilter('error')
    with process_group() as rank:
        for arch in ARCHS: keep(fit(learner(arch, 4, DRY[arch], clip=.1), 2), out/f'{arch}-{rank}')
        keep(fit(learner('awd_lstm', 4), 3), out/f'unbroken-{rank}') # with dropout
        try: fit(learner('awd_lstm', 4), 3, Checkpoints(out/'kept'), Raise())
        except KeyboardInterrupt: (out/f'interrupted-{rank}').touch()
        torch.distributed.barrier()
        keep(fit(learner('awd_lstm', 4), 3, Checkpoints(out/'kept')), out/f'resumed-{rank}')
        spoilt = learner('awd_lstm', 4)
        try: fit(spoilt, 3, Checkpoints(out/'spoilt-kept'), Spoil())
        except ValueError as e: atomic_write(out/f'spoilt-{rank}.txt', str(e).encode())
        torch.distributed.barrier()
        safetensors.torch.save_file({n: p.detach() for n, p in spoilt.model.named_parameters()}, out/f'spoilt-{rank}')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


@contextmanager
def started(*argv, n=2, **kwargs):
    "The same program twice."
    shared = dict(os.environ, WORLD_SIZE=str(n), LOCAL_WORLD_SIZE=str(n), MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port(),
                  OMP_NUM_THREADS='1', PYTHONPATH=str(root))
    ps = [subprocess.Popen([sys.executable, *map(str, argv)], env=dict(shared, RANK=str(r), LOCAL_RANK=str(r)), text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs) for r in range(n)]
    try: yield ps
    finally:
        for p in ps: p.kill()


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "What two processes found."
    out = tmp_path_factory.mktemp('two')
    with started(__file__, out) as ps: said = [p.communicate(timeout=100) for p in ps]
    assert [p.returncode for p in ps] == [0, 0], said
    return out


def load(path): return safetensors.torch.load_file(path)


@pytest.mark.parametrize('arch', ARCHS)
def test_two_processes_make_the_steps_of_one_with_twice_the_rows(place, arch, tmp_path):
    keep(fit(learner(arch, 8, DRY[arch], clip=.1), 2), tmp_path/'one')
    one, two, other = load(tmp_path/'one'), load(place/f'{arch}-0'), load(place/f'{arch}-1')
    assert len(one['losses']) > 20 and one['values'].shape == (2, 4) # losses, accuracy, bits per note, of all the text
    for k in one: assert torch.allclose(one[k], two[k], rtol=1e-4, atol=2e-5), k
    for k in one: assert torch.equal(two[k], other[k]), k
    assert one['losses'][-1] < one['losses'][0] - .2


def test_an_interrupted_training_of_two_goes_on_exactly(place):
    for rank in (0, 1):
        assert (place/f'interrupted-{rank}').exists()
        a, b = load(place/f'unbroken-{rank}'), load(place/f'resumed-{rank}')
        for k in a: assert torch.equal(a[k], b[k]), k


def test_each_process_drops_out_other_units(place):
    states = json.loads(next((place/'kept').glob('epoch-*/training.json')).read_text())['random']
    assert len(states) == 2 and states[0]['torch'] != states[1]['torch']


def test_a_loss_that_is_no_number_in_one_process_stops_both(place):
    texts = [(place/f'spoilt-{r}.txt').read_text() for r in (0, 1)]
    for t in texts: assert re.match(r'training stopped at batch 1 of epoch 2: .* after epoch 1, ', t) and '\n' not in t
    kept = load_model(next((place/'spoilt-kept').iterdir()))
    for r in (0, 1):
        for n, p in load(place/f'spoilt-{r}').items(): assert torch.equal(p, kept.state_dict()[n]), n


def test_the_command_trains_in_two_processes(tmp_path):
    toy_corpus(n=24, beats=24).save(tmp_path/'store')
    line = 'train generator store --out model --size tiny --epochs 2 --bs 4 --seq-len 32'
    with started('-m', 'musiclm.cli', *line.split(), cwd=tmp_path) as ps: said = [p.communicate(timeout=100) for p in ps]
    assert [p.returncode for p in ps] == [0, 0], said
    (first, _), second = said
    assert 'bits_per_note' in first and 'model: model' in first and second == ('', '')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['model', 'store']
    model, corpus = load_model(tmp_path/'model'), toy_corpus(n=24, beats=24)
    found = evaluate_lm(model, corpus)
    assert model.card['figures']['bits_per_note'] == str(found['bits_per_note'])


def test_the_command_generates_in_two_processes_what_one_does(tmp_path):
    "The same files; the second process says nothing."
    corpus = toy_corpus(n=6, beats=16)
    model = make_model(len(corpus.vocab), size='tiny')
    model.vocab, model.encoding = corpus.vocab, corpus.encoder.config
    save_model(model, tmp_path/'model')
    line = 'generate model --n 7 --tokens 60 --seed 3 --out'.split()
    with started('-m', 'musiclm.cli', *line, 'both', cwd=tmp_path) as ps: said = [p.communicate(timeout=100) for p in ps]
    assert [p.returncode for p in ps] == [0, 0], said
    assert '7 pieces' in said[0][0] and said[1] == ('', '')
    assert main(['generate', str(tmp_path/'model'), *line[2:], str(tmp_path/'one')]) == 0
    files = [{p.name: p.read_bytes() for p in (tmp_path/k/'midi').iterdir()} for k in ('one', 'both')]
    assert files[0] == files[1] and len(files[0]) == 7


if __name__ == '__main__': work(Path(sys.argv[1]))
