"Step by step as all at once, and files of models: equal when read again, never unpickled, plain errors, whole or not at all."
import io
import json
import pickle
import re
import shutil
import sys
from base64 import b64decode
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from fastai.text.models.awdlstm import AWD_LSTM
from fastai.text.models.core import LinearDecoder
from safetensors import safe_open

from musiclm.notes import seal
from musiclm.corpus import toy_corpus
from musiclm.models import (PRETRAINED, from_hub, load_model, model_card, model_folder, pretrained_folder,
    pretrained_models, push_to_hub, save_model)
from musiclm.architectures import (ARCHS, AWDLSTM, choose_precision, make_classifier, make_model, reset_rows, take_rows,
    use_bf16)
from musiclm.ngram import NGram
from musiclm.sources import corpora, read_manifest
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

ENC = NotewiseEncoder(EncodingConfig(parts=('v', 'p', 'b'), max_wait=24))
V = len(ENC.vocab)


def with_tokens(model):
    model.vocab, model.encoding = ENC.vocab, ENC.config
    return model


def make(kind, seed=0, size='tiny'):
    "A model with random weights of each kind that can be saved."
    torch.manual_seed(seed)
    if kind in ARCHS: return with_tokens(make_model(V, kind, size)).eval()
    if kind == 'ngram':
        enc = NotewiseEncoder()
        return NGram.fit([toy_corpus(4).tokens(i) for i in range(4)], enc.vocab, enc.config, order=3 + seed, transpositions=(0,))
    model = with_tokens(make_classifier(V, ['alto', 'basso', 'Dvořák'], kind.split()[1], size, n_emb=9, clip_length=40)).eval()
    for b in model.modules(): # statistics that differ from those at the start
        if isinstance(b, torch.nn.BatchNorm1d): b.running_mean.normal_(); b.running_var.uniform_(.5, 2)
    model.temperature = 1.37 + seed
    return model


KINDS = [*ARCHS, *(f'classifier {a}' for a in ARCHS), 'ngram']
ALL_SIZES = [(a, s) for a in ARCHS for s in ARCHS[a]['sizes']]


def logits_of(model, seed=0):
    "What a model says of some tokens."
    x = torch.randint(1, len(model.vocab), (3, 40), generator=torch.Generator().manual_seed(seed))
    if isinstance(model, NGram):
        state, out = model.init_state(3), []
        for t in range(12):
            o, state = model.step(x[:, t], state)
            out.append(o)
        return torch.stack(out, 1)
    with torch.no_grad():
        if hasattr(model, 'reset'): model.reset()
        out = model(x)
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize('arch,size', ALL_SIZES)
def test_steps_equal_forward(arch, size):
    model = make(arch, size=size)
    whole = logits_of(model)
    x = torch.randint(1, V, (3, 40), generator=torch.Generator().manual_seed(0))
    state = model.init_state(3)
    for t in range(40 if size != 'base' else 12):
        logits, state = model.step(x[:, t], state)
        assert logits.shape == (3, V) and not logits.requires_grad
        assert (logits - whole[:, t]).abs().max() < 2e-4


@pytest.mark.parametrize('arch', ARCHS)
def test_steps_after_training_mode_and_with_dropout_are_those_of_evaluation(arch):
    model = make(arch)
    whole = logits_of(model)
    model.train()
    model(torch.randint(1, V, (2, 9)))
    model.eval()
    state = model.init_state(3)
    x = torch.randint(1, V, (3, 40), generator=torch.Generator().manual_seed(0))
    for t in range(10):
        logits, state = model.step(x[:, t], state)
        assert (logits - whole[:, t]).abs().max() < 2e-4


def test_a_transformer_looks_back_as_far_as_its_context():
    torch.manual_seed(0)
    model = with_tokens(make_model(V, 'transformer', 'tiny', context=80)).eval()
    x, state = torch.randint(1, V, (2, 200)), model.init_state(2)
    with torch.no_grad(): whole = model(x)
    for t in range(200):
        logits, state = model.step(x[:, t], state)
        assert (logits - whole[:, t]).abs().max() < 2e-4
    first = with_tokens(make_model(V, 'transformer', 'tiny', context=16, n_layers=1)).eval()
    y = x.clone()
    y[:, :20] = y[:, :20]%(V - 1) + 1
    with torch.no_grad(): a, b = first(x), first(y)
    assert (a - b)[:, 20:35].abs().amax((0, 2)).min() > 1e-4 and torch.equal(a[:, 35:], b[:, 35:])


def steps(model, x, state):
    "Logits of all steps."
    out = []
    for t in range(x.shape[1]):
        logits, state = model.step(x[:, t], state)
        out.append(logits)
    return torch.stack(out, 1), state


@pytest.mark.parametrize('precision', ['bf16', 'int8'])
@pytest.mark.parametrize('arch', ARCHS)
def test_a_lower_precision_says_nearly_the_same(arch, precision):
    model = make(arch, size='small')
    if precision not in ('fp32', choose_precision(model, 'auto', 'cpu')): pytest.skip('not on this processor, or not of this model')
    x = torch.randint(1, V, (16, 100), generator=torch.Generator().manual_seed(0))
    exact, near = (steps(model, x, model.init_state(16, p))[0].log_softmax(2) for p in ('fp32', precision))
    p = exact.exp()
    assert ((exact - near)*p).sum(2).mean() < .002*(-p*exact).sum(2).mean() # Kullback-Leibler divergence beside entropy
    assert not torch.equal(exact, near)


@pytest.mark.parametrize('precision', ['fp32', 'auto'])
@pytest.mark.parametrize('arch,size', ALL_SIZES)
def test_rows_do_not_hear_each_other(arch, size, precision):
    "To the bit: rows begin again, move and leave, and what the others read changes nothing."
    model = make(arch, size=size)
    begin = lambda n: model.init_state(n, *[choose_precision(model, precision, 'cpu')]*(precision != 'fp32'))
    x = torch.randint(1, V, (48, 24), generator=torch.Generator().manual_seed(0))
    alone = steps(model, x[:16], begin(16))[0]
    out, state = steps(model, x[:, :9], begin(48))
    assert torch.equal(out[:16], alone[:, :9])
    reset_rows(state, torch.arange(20, 40), take_rows(begin(16), torch.tensor([0]))) # others take their rows
    y = torch.cat([x[:20, 9:14], x[:20, :5], x[40:, 9:14]])
    out, state = steps(model, y, state)
    assert torch.equal(out[:16], alone[:, 9:14]) and torch.equal(out[20:36], alone[:, :5])
    rows = torch.tensor([*range(24, 40), *range(16)])
    out, state = steps(model, torch.cat([x[4:20, 5:9], x[:16, 14:18]]), take_rows(state, rows))
    assert torch.equal(out[16:], alone[:, 14:18]) and torch.equal(out[:12], alone[4:, 5:9])


DRY = dict(output_p=0., hidden_p=0., input_p=0., embed_p=0., weight_p=0.)


def fastai_language_model(lstm, n_layers):
    "fastai's modules alone, with the weights of our model: what training computed before bfloat16."
    body = AWD_LSTM(V, 48, 64, n_layers, pad_token=0, hidden_p=0., input_p=0., embed_p=0., weight_p=1e-9)
    model = torch.nn.Sequential(body, LinearDecoder(V, 48, 0., tie_encoder=body.encoder))
    weights = {k.replace('body.', '0.', 1).replace('head.', '1.', 1): v for k, v in lstm.state_dict().items()}
    model.load_state_dict(weights) # raises where names or shapes differ
    return model


def windows_trained(model, body, n=3):
    "Loss, raw activations and state of each window of a training text, and the gradients in the end."
    x, out = torch.randint(1, V, (5, 12*n + 1), generator=torch.Generator().manual_seed(0)), []
    model.train()
    body.reset()
    for lo in range(0, 12*n, 12):
        logits, raw, dropped = model(x[:, lo:lo + 12])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), x[:, lo + 1:lo + 13].flatten())
        (loss + .2*dropped.pow(2).mean() + .1*(raw[:, 1:] - raw[:, :-1]).pow(2).mean()).backward()
        assert logits.dtype == raw.dtype == dropped.dtype == torch.float32
        out.append([logits.detach(), raw.detach(), *(s for hc in body.hidden for s in hc)])
    return out, [p.grad for p in model.parameters()]


@pytest.mark.parametrize('precision,close', [('fp32', 1e-6), ('bf16', 1e-2)])
@pytest.mark.parametrize('n_layers', [1, 3])
def test_training_computes_what_fastais_lstm_does(precision, close, n_layers):
    torch.manual_seed(0)
    lstm = AWDLSTM(V, 48, 64, n_layers, precision=precision, **DRY)
    old = fastai_language_model(lstm, n_layers)
    (ours, grads), (theirs, old_grads) = windows_trained(lstm, lstm.body), windows_trained(old, old[0])
    for a, b in zip(ours, theirs): # each window goes on where the last one ended
        for s, t in zip(a, b): assert s.dtype == torch.float32 and (s - t).norm() <= close*t.norm()
    assert len(grads) == len(old_grads) == 4*n_layers + 2
    for g, h in zip(grads, old_grads): assert g.dtype == torch.float32 and (g - h).norm() <= 3*close*h.norm()
    if use_bf16(precision): assert not torch.equal(ours[0][0], theirs[0][0])


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_training_goes_on_where_the_last_window_ended(precision):
    torch.manual_seed(0)
    lstm = AWDLSTM(V, 48, 64, 2, precision=precision, **DRY).train()
    x = torch.randint(1, V, (5, 40))
    whole = lstm(x)[0].detach()
    lstm.reset()
    halves = torch.cat([lstm(x[:, :13])[0], lstm(x[:, 13:])[0]], 1).detach()
    assert (whole - halves).norm() < (1e-6 if precision == 'fp32' else 1e-2)*whole.norm()
    lstm.reset()
    assert (whole[:, 13:] - lstm(x[:, 13:])[0].detach()).norm() > .1*whole.norm() # without what came before


@pytest.mark.parametrize('precision', ['auto', 'fp32', 'bf16'])
def test_dropout_in_training_is_fastais(precision):
    torch.manual_seed(0)
    lstm = AWDLSTM(V, 48, 64, 2, hidden_p=.5, output_p=.5, precision=precision).train()
    masks = []
    for d in (*lstm.body.hidden_dps, lstm.head.output_dp):
        d.register_forward_hook(lambda m, args, out: masks.append((args[0].detach(), out.detach())))
    raw, dropped = lstm(torch.randint(1, V, (64, 20)))[1:]
    assert len(masks) == 2 and torch.equal(masks[1][0], raw) and torch.equal(masks[1][1], dropped)
    for whole, kept in masks: # doubled or gone, the same channels at all steps, half of them
        assert whole.dtype == torch.float32 and ((kept == 0) | (kept == 2*whole)).all()
        gone = (kept == 0).all(1)
        assert torch.equal(gone, (kept == 0).any(1)) and abs(gone.float().mean() - .5) < .05


@pytest.mark.parametrize('make_one', [make_model, lambda *args, **kw: make_classifier(args[0], ['a', 'b'], *args[1:], **kw)],
                         ids=['generator', 'classifier'])
def test_precision_is_of_training_alone(make_one, tmp_path):
    models = []
    for precision in ('fp32', 'bf16'):
        torch.manual_seed(0)
        models.append(with_tokens(make_one(V, 'awd_lstm', 'tiny', precision=precision, **DRY)))
    x = torch.randint(1, V, (4, 30))
    logits = lambda m: out[0] if isinstance(out := (m.reset(), m(x))[1], tuple) else out
    def trained(m): # with one dropout
        torch.manual_seed(1)
        return logits(m.train())
    exact, rounded = (trained(m) for m in models)
    assert exact.dtype == rounded.dtype == torch.float32 and torch.equal(exact, rounded) != use_bf16('bf16')
    rounded.sum().backward()
    for m in models: m.load_state_dict(models[0].state_dict()) # a classifier's batch norm has moved
    assert torch.equal(*(logits(m.eval()) for m in models))
    again = load_model(save_model(models[1], tmp_path/'m'))
    assert torch.equal(logits(again), logits(models[0])) and again.build['options']['precision'] == 'bf16'


def test_names_of_saved_weights_stay(tmp_path):
    with safe_open(save_model(make('awd_lstm'), tmp_path/'m')/'model.safetensors', 'np') as f: names = set(f.keys())
    lstm = {'body.rnns.0.weight_hh_l0_raw', *(f'body.rnns.0.module.{n}_l0' for n in ('weight_ih', 'bias_ih', 'bias_hh'))}
    assert names - {'body.encoder.weight', 'head.decoder.weight'} == lstm | {'head.decoder.bias'} # those two are one tensor
    assert len(names) == 6


def test_bfloat16_is_taken_where_the_processor_has_it(monkeypatch):
    monkeypatch.setattr('musiclm.architectures.lstm_trains_in_bf16', lambda: True)
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: has, raising=False)
        assert [use_bf16(p) for p in ('auto', 'fp32', 'bf16')] == [has, False, True]
    monkeypatch.delattr(torch.cpu, '_is_avx512_bf16_supported')
    assert not use_bf16('auto')
    for precision in ('fp16', '', None):
        with pytest.raises(ValueError, match='there are auto, fp32, bf16'): make_model(V, precision=precision)


@pytest.mark.parametrize('kind', KINDS)
def test_saved_and_loaded_models_say_the_same(kind, tmp_path):
    model = make(kind)
    again = load_model(save_model(model, tmp_path/'sub'/'m', data='made up', figures={'loss': 1.5}))
    assert torch.equal(logits_of(again), logits_of(model))
    assert again.vocab == model.vocab and again.encoding == model.encoding
    assert again.card == {'data': 'made up', 'figures': {'loss': 1.5}}
    if 'classifier' in kind:
        assert (again.labels, again.temperature, again.clip_length) == (['alto', 'basso', 'Dvořák'], 1.37, 40)
    if kind != 'ngram': assert not again.training and not any(m.training for m in again.modules())
    twice = load_model(save_model(again, tmp_path/'n'))
    assert torch.equal(logits_of(twice), logits_of(model))


@pytest.mark.parametrize('kind', KINDS)
def test_a_model_is_safetensors_and_json(kind, tmp_path):
    folder = save_model(make(kind), tmp_path/'m')
    assert sorted(p.name for p in folder.iterdir()) == ['README.md', 'model.json', 'model.safetensors', 'sha256.json', 'vocab.json']
    with safe_open(folder/'model.safetensors', 'np') as f: assert all(f.get_tensor(k).dtype.kind in 'fiu' for k in f.keys())
    for p in folder.iterdir():
        data = p.read_bytes()
        if p.suffix == '.json': json.loads(data)
        assert not data.startswith((b'\x80', b'PK')) # a pickle, a zip as of torch.save
        with pytest.raises(Exception): torch.load(io.BytesIO(data), weights_only=True)


@pytest.mark.parametrize('kind', KINDS)
def test_loading_unpickles_nothing(kind, tmp_path, monkeypatch):
    def refuse(*args, **kwargs): raise AssertionError('unpickled')
    model = make(kind)
    for where, names in ((pickle, 'load loads Unpickler'), (torch, 'load'), (np, 'load')):
        for name in names.split(): monkeypatch.setattr(where, name, refuse)
    for name in ('load', 'loads', 'Unpickler'): monkeypatch.setattr(f'_pickle.{name}', refuse)
    save_model(model, tmp_path/'m')
    assert torch.equal(logits_of(load_model(tmp_path/'m')), logits_of(model))


def edit(name, **changes):
    "A way to break a model: values of its JSON replaced, or removed where None."
    def f(folder):
        about = {**json.loads((folder/name).read_text()), **changes}
        (folder/name).write_text(json.dumps({k: v for k, v in about.items() if v is not None}))
    return f


def write(name, data):
    return lambda folder: (folder/name).write_bytes(data)


def shorten(name):
    return lambda folder: (folder/name).write_bytes((folder/name).read_bytes()[:-100])


BROKEN = {
    'no folder': shutil.rmtree,
    'no model.json': lambda d: (d/'model.json').unlink(),
    'no weights': lambda d: (d/'model.safetensors').unlink(),
    'no vocabulary': lambda d: (d/'vocab.json').unlink(),
    'empty json': write('model.json', b''),
    'a list': write('model.json', b'[1, 2]'),
    'null': write('model.json', b'null'),
    'not text': write('model.json', bytes(range(128, 256))),
    'another program': write('model.json', b'{"model_type": "gpt2", "n_layer": 12}'),
    'cut weights': shorten('model.safetensors'),
    'weights that are text': write('model.safetensors', b'hello, I am no safetensors file'),
    'a pickle for weights': write('model.safetensors', pickle.dumps({'a': 1})),
    'no weights in the file': lambda d: safetensors.torch.save_file({}, d/'model.safetensors'),
    'another kind': edit('model.json', kind='diffusion'),
    'another architecture': edit('model.json', arch='mamba'),
    'another size': edit('model.json', size='huge'),
    'a newer option': edit('model.json', options=dict(emb_sz=64, n_hid=64, n_layers=1, flash=True)),
    'another width': edit('model.json', options=dict(emb_sz=32, n_hid=64, n_layers=1)),
    'no options': edit('model.json', options=None),
    'a newer encoding': edit('model.json', encoding={'parts': ['v'], 'microtones': True}),
    'no encoding': edit('model.json', encoding=None),
    'no card': edit('model.json', card=None),
    'labels of too few classes': edit('model.json', labels=['alto']),
    'no labels': edit('model.json', labels=None),
    'no temperature': edit('model.json', temperature=None),
    'another vocabulary': write('vocab.json', b'["xxpad", "xxbos", "xxeos", "v60"]'),
    'no vocabulary in the file': write('vocab.json', b'{}'),
    'a vocabulary of numbers': write('vocab.json', b'17'),
}


@pytest.mark.parametrize('broken', BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_model_is_one_line(broken, tmp_path):
    folder = save_model(make('classifier awd_lstm'), tmp_path/'mine')
    load_model(folder)
    broken(folder)
    if (folder/'model.json').exists(): seal(folder) # whoever changes a file may write new checksums
    with pytest.raises(ValueError) as e: load_model(folder)
    assert str(folder) in str(e.value) and len(str(e.value).splitlines()) == 1 and len(str(e.value)) < 400


@pytest.mark.parametrize('name', ['model.json', 'model.safetensors', 'vocab.json'])
def test_a_flipped_bit_of_a_model_is_noticed(name, tmp_path):
    folder = save_model(make('awd_lstm'), tmp_path/'m')
    data = bytearray((folder/name).read_bytes())
    data[len(data)//2] ^= 1
    (folder/name).write_bytes(data)
    with pytest.raises(ValueError, match=f'{name} is damaged'): load_model(folder)


def test_a_file_is_no_model(tmp_path):
    (tmp_path/'f').write_text('x')
    for path in (tmp_path/'f', tmp_path/'f'/'below', tmp_path, ''):
        with pytest.raises(ValueError, match='holds no model'): load_model(path)


def snapshot(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def test_saving_replaces_the_old_model(tmp_path):
    folder = save_model(make('transformer'), tmp_path/'m')
    (folder/'extra.txt').write_text('of the old one')
    again = load_model(save_model(make('awd_lstm', seed=5), folder))
    assert torch.equal(logits_of(again), logits_of(make('awd_lstm', seed=5)))
    assert [p.name for p in tmp_path.iterdir()] == ['m'] and not (folder/'extra.txt').exists()


@pytest.mark.parametrize('old', [False, True], ids=['new', 'over an old one'])
@pytest.mark.parametrize('kind', ['awd_lstm', 'ngram'])
def test_a_save_that_fails_leaves_things_as_they_were(kind, old, tmp_path):
    if old: save_model(make(kind), tmp_path/'m', note='old')
    before = snapshot(tmp_path)
    with pytest.raises(TypeError): save_model(make(kind, seed=1), tmp_path/'m', note=object()) # JSON cannot hold it
    model = make(kind, seed=1)
    model.encoding = None # fails when the weights are written
    with pytest.raises(AttributeError): save_model(model, tmp_path/'m')
    assert snapshot(tmp_path) == before and len(list(tmp_path.iterdir())) == old
    if old: assert load_model(tmp_path/'m').card == {'note': 'old'}


def test_a_full_disk_leaves_things_as_they_were(tmp_path, monkeypatch):
    def full(model, path):
        path.write_bytes(b'half')
        raise OSError(28, 'No space left on device')
    save_model(make('awd_lstm'), tmp_path/'m')
    before = snapshot(tmp_path)
    monkeypatch.setattr(safetensors.torch, 'save_model', full)
    with pytest.raises(ValueError, match='No space'): save_model(make('awd_lstm', seed=1), tmp_path/'m')
    assert snapshot(tmp_path) == before and len(list(tmp_path.iterdir())) == 1


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown architecture 'gru': there are awd_lstm, transformer$"): make_model(V, 'gru')
    with pytest.raises(ValueError, match='there are awd_lstm, transformer, roll_cnn$'): make_classifier(V, ['a', 'b'], 'gru')
    with pytest.raises(ValueError, match='roll_cnn needs the encoding'): make_classifier(V, ['a', 'b'], 'roll_cnn')
    with pytest.raises(ValueError, match="unknown size 'xl': there are tiny, small, base"): make_model(V, 'transformer', 'xl')


class Hub(BaseHTTPRequestHandler):
    "The part of the Hugging Face Hub that models need: its addresses and answers, with repositories in memory."
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def answer(self, body=b'', status=200, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for k, v in {'Content-Length': len(body), **headers}.items(): self.send_header(k.replace('_', '-'), str(v))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)
    def found(self, *keys): # a commit's files, or None and an answer
        repo, revision = keys
        commits = self.server.repos.get(repo)
        if commits is None: return self.answer(b'', 404, X_Error_Code='RepoNotFound', X_Error_Message='Repository not found')
        commit = commits[-1] if revision == 'main' and commits else next((c for c in commits if c['sha'] == revision), None)
        return commit or self.answer(b'', 404, X_Error_Code='RevisionNotFound', X_Error_Message='Revision not found')
    def do_GET(self):
        path = unquote(self.path).split('?')[0]
        self.server.asked.append(f'{self.command} {path}')
        if m := re.fullmatch(r'/api/models/(\w+/\w+)(?:/revision/(\w+))?', path):
            if c := self.found(m[1], m[2] or 'main'):
                self.answer(dict(id=m[1], sha=c['sha'], siblings=[dict(rfilename=n) for n in c['files']]))
        elif m := re.fullmatch(r'/api/models/(\w+/\w+)/tree/(\w+)', path):
            if c := self.found(m[1], m[2]):
                self.answer([dict(type='file', path=n, size=len(d), oid=sha1(d).hexdigest()) for n, d in c['files'].items()])
        elif m := re.fullmatch(r'/(\w+/\w+)/resolve/(\w+)/(.+)', path):
            if c := self.found(m[1], m[2]):
                data = c['files'].get(m[3])
                if data is None: return self.answer(b'', 404, X_Error_Code='EntryNotFound')
                self.answer(data, ETag=f'"{sha256(data).hexdigest()}"', X_Repo_Commit=c['sha'])
        else: self.answer(b'', 404)
    do_HEAD = do_GET
    def body(self): # with its length at the head, or in chunks
        if 'Content-Length' in self.headers: return self.rfile.read(int(self.headers['Content-Length']))
        chunks = iter(lambda: self.rfile.read(int(self.rfile.readline(), 16) + 2)[:-2], b'')
        return b''.join(chunks) if 'chunked' in self.headers.get('Transfer-Encoding', '') else b''
    def do_PUT(self):
        self.server.blobs[self.path.split('/')[-1]] = self.body()
        self.answer()
    def do_POST(self):
        path, data = unquote(self.path).split('?')[0], self.body()
        self.server.asked.append(f'POST {path}')
        if self.headers.get('Authorization') != 'Bearer secret':
            return self.answer(dict(error='Invalid username or password.'), 401)
        url, repos = f'http://127.0.0.1:{self.server.server_port}', self.server.repos
        if path == '/api/repos/create':
            about = json.loads(data)
            repos.setdefault('/'.join(filter(None, (about.get('organization'), about['name']))), [])
            self.answer(dict(url=f'{url}/me/mine'))
        elif path == '/api/validate-yaml': self.answer(dict(errors=[], warnings=[]))
        elif '/preupload/' in path:
            mode = lambda f: 'lfs' if f['path'].endswith('.safetensors') else 'regular'
            self.answer(dict(files=[dict(path=f['path'], uploadMode=mode(f), shouldIgnore=False) for f in json.loads(data)['files']]))
        elif path.endswith('/lfs/objects/batch'):
            put = lambda o: dict(**o, actions=dict(upload=dict(href=f'{url}/put/{o["oid"]}')))
            self.answer(dict(transfer='basic', objects=[put(o) for o in json.loads(data)['objects']]))
        elif m := re.fullmatch(r'/api/models/(\w+/\w+)/commit/main', path):
            files, commits = {}, repos[m[1]]
            for line in map(json.loads, data.splitlines()):
                v = line['value']
                if line['key'] == 'file': files[v['path']] = b64decode(v['content'])
                if line['key'] == 'lfsFile': files[v['path']] = self.server.blobs[v['oid']]
            commits.append(dict(sha=sha1(data).hexdigest(), files={**(commits[-1]['files'] if commits else {}), **files}))
            self.answer(dict(commitUrl=f'{url}/{m[1]}/commit/{commits[-1]["sha"]}', commitOid=commits[-1]['sha']))
        else: self.answer(b'', 404)


of_huggingface_hub = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning") # its own use of httpx


@pytest.fixture
def hub(monkeypatch):
    "A Hub on this machine; what is asked of it, and its repositories."
    constants = pytest.importorskip('huggingface_hub.constants', reason='huggingface_hub is not installed')
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True) # weights go by LFS: xet is another server's protocol
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.repos, server.blobs, server.asked = {}, {}, []
    server.options = dict(endpoint=f'http://127.0.0.1:{server.server_port}', token='secret')
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@of_huggingface_hub
@pytest.mark.parametrize('kind', ['awd_lstm', 'classifier transformer', 'ngram'])
def test_a_model_goes_to_the_hub_and_comes_back(kind, hub, tmp_path):
    model, get = make(kind), dict(hub.options, cache_dir=tmp_path/'cache')
    address = push_to_hub(model, 'me/mine', data='made up', licence='apache-2.0', **hub.options)
    assert address.startswith(f'{hub.options["endpoint"]}/me/mine/commit/')
    assert sorted(hub.repos['me/mine'][-1]['files']) == ['README.md', 'model.json', 'model.safetensors', 'sha256.json', 'vocab.json']
    again = from_hub('me/mine', **get)
    assert torch.equal(logits_of(again), logits_of(model)) and again.card == dict(data='made up', licence='apache-2.0')
    first = hub.repos['me/mine'][0]['sha']
    push_to_hub(save_model(make(kind, seed=3), tmp_path/'m'), 'me/mine', **hub.options) # a folder as it stands
    assert len(hub.repos['me/mine']) == 2
    assert torch.equal(logits_of(from_hub('me/mine', **get)), logits_of(make(kind, seed=3)))
    assert torch.equal(logits_of(from_hub('me/mine', first, **get)), logits_of(model))
    hub.asked.clear()
    from_hub('me/mine', first, **get)
    assert not [a for a in hub.asked if '/resolve/' in a] # from the cache


@of_huggingface_hub
def test_only_the_files_of_a_model_are_moved(hub, tmp_path):
    folder = save_model(make('awd_lstm'), tmp_path/'m')
    for name in ('secrets.env', 'modeling.py', 'pytorch_model.bin'): (folder/name).write_text('import os')
    push_to_hub(folder, 'me/mine', **hub.options)
    files = hub.repos['me/mine'][-1]['files']
    assert sorted(files) == ['README.md', 'model.json', 'model.safetensors', 'sha256.json', 'vocab.json']
    files['modeling.py'], files['pytorch_model.bin'] = b'raise SystemExit', pickle.dumps(print)
    from_hub('me/mine', cache_dir=tmp_path/'cache', **hub.options)
    assert not [a for a in hub.asked if a.endswith(('.py', '.bin'))]
    assert not [p for p in (tmp_path/'cache').rglob('*') if p.suffix in ('.py', '.bin')]


@of_huggingface_hub
def test_what_fails_at_the_hub_is_one_line(hub, tmp_path, monkeypatch):
    folder, get = save_model(make('awd_lstm'), tmp_path/'m'), dict(hub.options, cache_dir=tmp_path/'cache')
    push_to_hub(folder, 'me/mine', **hub.options)
    hub.repos['me/other'] = [dict(sha='0'*40, files={'README.md': b'no model of ours'})]
    for what, call in {
        'me/none': lambda: from_hub('me/none', **get), 'nothere': lambda: from_hub('me/mine', 'nothere', **get),
        'holds no model': lambda: from_hub('me/other', **get), 'me/wrong': lambda: push_to_hub(folder, 'me/wrong', **{**hub.options, 'token': 'x'}),
        'no model': lambda: push_to_hub(tmp_path, 'me/mine', **hub.options),
    }.items():
        with pytest.raises(ValueError) as e: call()
        assert len(str(e.value).splitlines()) == 1 and len(str(e.value)) < 500
        if what != 'nothere': assert what in str(e.value)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    for call in (lambda: from_hub('me/mine'), lambda: push_to_hub(folder, 'me/mine')):
        with pytest.raises(ValueError, match=r'pip install "musiclm\[hub\]"'): call()


@pytest.mark.parametrize('kind', [k for k in KINDS if k != 'ngram'])
def test_bfloat16_rounds_the_weights_and_nothing_else(kind, tmp_path):
    model = make(kind)
    folder = save_model(model, tmp_path/'m', dtype='bf16')
    again = load_model(folder)
    names = {n for n, _ in model.named_parameters(remove_duplicate=False)}
    for (n, w), r in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert r.dtype == w.dtype and torch.equal(r, w.bfloat16().float() if n in names else w)
    assert any(not torch.equal(w, r) for w, r in zip(model.parameters(), again.parameters()))
    with safe_open(folder/'model.safetensors', 'pt') as f:
        for k in f.keys(): assert (f.get_tensor(k).dtype == torch.bfloat16) == (k in names)
    assert torch.equal(logits_of(load_model(save_model(again, tmp_path/'n', dtype=torch.bfloat16))), logits_of(again))
    assert torch.equal(logits_of(load_model(save_model(again, tmp_path/'n'))), logits_of(again)) # whole again, the same
    assert (tmp_path/'n'/'model.safetensors').stat().st_size > 1.7*(folder/'model.safetensors').stat().st_size


def test_counts_of_an_ngram_model_stay_whole(tmp_path):
    a, b = (save_model(make('ngram'), tmp_path/str(d), dtype=d)/'model.safetensors' for d in (None, 'bf16'))
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize('kind', KINDS)
def test_a_card_says_what_the_model_is(kind, tmp_path):
    yaml = pytest.importorskip('yaml')
    card = dict(name='lstm | small', licence='apache-2.0', data='48 toys', split='by work', licence_notes='none reserved',
                figures={'auc': '0.9 ± 0.1', 'by rule': {'open': .81}}, command='python train.py --seed 1', epochs=7, seed=1, history=[[1]])
    folder = save_model(make(kind), tmp_path/'m', **card)
    text = (folder/'README.md').read_text(encoding='utf-8')
    assert text == model_card(load_model(folder))
    head, body = re.fullmatch(r'---\n(.+?)\n---\n(.+)', text, re.S).groups()
    head = yaml.safe_load(head)
    assert head['license'] == 'apache-2.0' and head['library_name'] == 'musiclm' and {'music', 'midi'} <= set(head['tags'])
    for part in ('# lstm | small', 'load_model(', 'from_hub(', '48 toys', 'by work', 'none reserved', '| auc | 0.9 ± 0.1 |',
                 '| by rule, open | 0.81 |', '```\npython train.py --seed 1\n```', '| epochs | 7 |', '| max_wait |'): assert part in body
    assert 'history' not in body and ('Dvořák' in body) == ('classifier' in kind)
    bare = (save_model(make(kind), tmp_path/'bare')/'README.md').read_text(encoding='utf-8')
    assert 'license: "unknown"' in bare and '## Figures' not in bare and '## Training' not in bare


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    "A folder of ready models."
    for name, kind in {'lstm-small': 'awd_lstm', 'composer': 'classifier awd_lstm'}.items(): save_model(make(kind), tmp_path/'ready'/name)
    monkeypatch.setattr('musiclm.models.pretrained_folder', lambda: tmp_path/'ready')
    return tmp_path/'ready'


def test_ready_models_open_by_name(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrained_models() == ['composer', 'lstm-small']
    assert torch.equal(logits_of(load_model('lstm-small')), logits_of(make('awd_lstm')))
    with pytest.raises(ValueError, match='pretrained: composer, lstm-small'): load_model('lstm-huge')
    for name in ('ready/../../x', str(shelf), '.', '', '..'): assert model_folder(name) == Path(name)
    save_model(make('awd_lstm', seed=1), 'lstm-small') # one's own folder goes first
    assert torch.equal(logits_of(load_model('lstm-small')), logits_of(make('awd_lstm', seed=1)))


SHIPPED = ('composer', 'critic', 'lstm-base', 'lstm-small', 'transformer-small')


def test_no_shipped_model_heard_music_that_reserves_its_rights():
    pieces = pd.read_csv(pretrained_folder()/'pieces.csv')
    reserved = {p for name in corpora().name for p in read_manifest(name).query('reserved').piece}
    assert len(reserved) > 300 and not reserved & set(pieces['piece']) and 'palestrina' not in set(pieces['composer'])
    assert pieces.groupby('work')['split'].nunique().max() == 1
    heard = f'Corpus of {len(pieces)} pieces, {pieces.work.nunique()} works, {pieces.n_tokens.sum():,} tokens: bach, beethoven, monteverdi'
    for name in SHIPPED: assert load_model(name).card['data'] == heard


def test_shipped_models_are_small_rounded_and_described():
    assert pretrained_models() == sorted(SHIPPED) and set(PRETRAINED.values()) <= set(SHIPPED)
    assert sum(p.stat().st_size for p in pretrained_folder().rglob('*') if p.is_file()) <= 60e6
    for name in SHIPPED:
        model, folder = load_model(name), pretrained_folder()/name
        assert sorted(p.name for p in folder.iterdir()) == ['README.md', 'model.json', 'model.safetensors', 'sha256.json', 'vocab.json']
        assert (folder/'README.md').read_text(encoding='utf-8') == model_card(model)
        assert {'name', 'licence', 'data', 'split', 'licence_notes', 'figures', 'command', 'seed'} <= set(model.card) and model.card['figures']
        assert model.encoding == NotewiseEncoder().config and model.vocab == NotewiseEncoder().vocab
        for w in model.parameters(): assert torch.equal(w, w.bfloat16().float())
