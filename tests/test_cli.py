"The command as a user runs it, from a folder of MIDI to the listening page, and what it says to bad input."
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from musiclm.cli import main
from musiclm.options import COMMANDS
from musiclm.pieces import read_pieces
from musiclm.training import verdict
from musiclm.composer import judge_hash
from musiclm.corpus import Corpus, toy_corpus
from musiclm.metrics import Estimate
from musiclm.models import load_model, save_model
from musiclm.architectures import make_model
from musiclm.notes import note_table, write_midi
from musiclm.scores import read_score
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

TINY = '--size tiny --epochs 1 --bs 8'
CLIPS = f'{TINY} --length 32 --clips 40'


def call(line, *more):
    "Run a command in this process."
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return main([*line.split(), *map(str, more)])


def run(*args, cwd, env=None):
    "Run the installed command."
    return subprocess.run([Path(sys.executable).with_name('musiclm'), *map(str, args)], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', **(env or {})}, timeout=100)


def said(text):
    "Lines on standard error that are no progress bar."
    lines = [l for part in text.split('\n') for l in part.split('\r')[-1:]]
    return [l for l in lines if l.strip() and '%|' not in l and '/s]' not in l and 'it/s' not in l and '?piece' not in l]


def tree(folder): return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if 'cache' not in p.parts)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder with scores, a store, and one model of each sort, all by the command; its working directory."
    here, old = tmp_path_factory.mktemp('cli'), os.getcwd()
    corpus = toy_corpus(n=40, beats=24)
    for i, row in enumerate(corpus.manifest.itertuples()):
        who, name = row.piece.split('/')
        (here/'midi'/who).mkdir(parents=True, exist_ok=True)
        write_midi(corpus.notes(i), here/'midi'/who/f'song{name[:-1]}-{"ab".index(name[-1]) + 1}.mid')
    (here/'midi'/'alto'/'broken.mid').write_bytes(b'MThd no music')
    (here/'text.txt').write_text('not music')
    (here/'book.abc').write_text(''.join(f'X:{n}\nT:tune\nM:4/4\nL:1/4\nK:C\n{a}|\n\n' for n, a in ((1, 'CDEF'), (7, 'GABc'))))
    (here/'fake.mid').write_bytes(b'not music either')
    for name in ('foreign', 'empty', 'brief'): (here/name).mkdir()
    write_midi(note_table([0, 12, 24], [12]*3, [60, 62, 64]), here/'brief'/'three.mid')
    corpus.select(corpus.indices('test')).save(here/'untaught')
    toy_corpus(n=4, beats=24, encoder=NotewiseEncoder(EncodingConfig(max_wait=6))).save(here/'other')
    alien = make_model(len(NotewiseEncoder(EncodingConfig(max_wait=6)).vocab), size='tiny')
    alien.encoding = EncodingConfig(max_wait=6)
    alien.vocab = NotewiseEncoder(alien.encoding).vocab
    save_model(alien, here/'alien')
    (here/'foreign'/'model.json').write_text('{"model_type": "gpt2"}')
    with pytest.MonkeyPatch.context() as m:
        m.setenv('XDG_CACHE_HOME', str(here/'cache'))
        m.chdir(here)
        assert call('encode midi --out store --workers 1') == 0
        assert call(f'train generator store --out gen {TINY}') == 0
        assert call(f'train composer store --out who {CLIPS}') == 0
        ill = load_model(here/'who')
        torch.nn.init.constant_(next(ill.parameters()), float('nan'))
        save_model(ill, here/'ill')
        assert call(f'train critic store --out critic --generator gen --reference gen {CLIPS}') == 0
        yield here
    os.chdir(old)


@pytest.fixture(autouse=True)
def sweep(place):
    "What a test wrote where nothing should be is not there for the next."
    yield
    for name in ('X', 'a', 'deep'): shutil.rmtree(place/name, ignore_errors=True)


def test_encode_reads_a_folder(place):
    corpus = Corpus.load(place/'store')
    assert len(corpus) == 40 and set(corpus.manifest['composer']) == {'alto', 'basso'} and corpus.manifest['work'].nunique() == 20
    assert (corpus.manifest.groupby('work')['split'].nunique() == 1).all()
    assert corpus.errors['path'].tolist() == ['alto/broken.mid']
    assert corpus.manifest['n_notes'].sum() == toy_corpus(n=40, beats=24).manifest['n_notes'].sum()


def test_encode_ends_with_what_was_read_and_what_may_be_wrong(place, capsys):
    assert call('encode midi --out X --workers 1') == 0
    out = capsys.readouterr().out
    assert out.endswith('40 pieces read, 1 left out; X/errors.csv gives the reasons\n')
    chance = np.random.default_rng(0)
    for name in ('a', 'b'): # played at any time
        onsets = np.sort(chance.integers(0, 12*64, 200))
        (place/'deep'/'Anna').mkdir(parents=True, exist_ok=True)
        write_midi(note_table(onsets, np.full(200, 6), chance.integers(40, 90, 200)), place/'deep'/'Anna'/f'{name}.mid')
    assert call('encode deep --out a --workers 1') == 0
    told = capsys.readouterr().out
    share = int(re.search(r'(\d+)% of the onsets lie off the grid .* --tempo-grid seconds', told)[1])
    assert 40 < share < 60 and 'which needs three: Anna (2)' in told and '2 pieces read, 0 left out\n' in told
    assert call('encode deep --out deep/seconds --tempo-grid seconds --workers 1') == 0 and 'off the grid' not in capsys.readouterr().out


def test_models_remember_what_they_are(place):
    gen, who, critic = (load_model(place/m) for m in ('gen', 'who', 'critic'))
    assert gen.card['seed'] == 0 and set(gen.card['figures']) == {'nats_per_token', 'bits_per_note'}
    assert who.labels == ['alto', 'basso'] and who.clip_length == 32 and critic.labels == ['fake', 'real']


def test_a_training_ends_with_a_verdict(place):
    who, critic = (load_model(place/m).card['figures'] for m in ('who', 'critic'))
    assert list(who)[-1] == list(critic)[-1] == 'verdict' and 'than a logistic regression' in who['verdict'].replace('from', 'than')
    figure = lambda text: float(text.split()[0])
    aucs = {k: figure(v) for k, v in critic.items() if k not in ('auc', 'auc, higher by', 'verdict') and 'against' not in k and 'error' not in k}
    best = max(aucs.values())
    assert any(f'({k})' in critic['verdict'] for k, v in aucs.items() if v == best)
    assert figure(critic['auc']) - best == pytest.approx(figure(critic['auc, higher by']), abs=.011)
    assert figure(who['log_loss of a logistic regression']) - figure(who['log_loss']) == pytest.approx(figure(who['log_loss, lower by']), abs=.011)


def test_the_composers_to_learn_are_chosen(place, capsys):
    assert call(f'train composer store --out X --composers ALTO basso --min-works 3 {CLIPS}') == 0
    assert load_model(place/'X').labels == ['alto', 'basso']
    for options, message in (('--composers Liszt', "there is no composer 'Liszt'"), ('--min-works 99', 'no composer has 99 works')):
        assert call(f'train composer store --out X {options} {CLIPS}') == 1 and message in capsys.readouterr().err
    assert call(f'train generator store --out X --min-works 3 {TINY}') == 1


@pytest.mark.parametrize('low, high, said', [(.1, .3, 'better than X'), (-.1, .3, 'not significantly different from X: train longer'),
                                             (-.3, -.1, 'worse than X, do not use it: train longer')])
def test_a_verdict_is_by_the_interval(low, high, said):
    assert verdict(Estimate((low + high)/2, .1, low, high, 9), 'X').startswith(said)


def test_inspect(place, capsys):
    assert call('inspect store --piece 1 --roll roll.png') == 0
    out = capsys.readouterr().out
    assert 'Corpus of 40 pieces' in out and 'xxbos' in out and (place/'roll.png').read_bytes()[:4] == b'\x89PNG'
    assert call('inspect midi/alto/song0-1.mid --all') == 0
    assert capsys.readouterr().out.strip().endswith('xxeos')


def test_inspect_draws_histograms_and_says_what_a_store_holds(place, capsys):
    assert call('inspect store --plot h.png') == 0
    out = capsys.readouterr().out
    assert 'tokens per piece:' in out and 'of 222 tokens are used' in out and 'left out: 1' in out and 'alto/broken.mid' in out
    assert (place/'h.png').read_bytes()[:4] == b'\x89PNG'


def test_inspect_draws_so_many_pieces_at_most_and_says_so(place, monkeypatch, capsys):
    read, notes = [], Corpus.notes
    monkeypatch.setattr('musiclm.cli.MOST_DRAWN', 7)
    monkeypatch.setattr(Corpus, 'notes', lambda self, i: (read.append(i), notes(self, i))[1])
    assert call('inspect store --plot h.png') == 0
    assert 'histograms of 7 of 40 pieces: h.png' in capsys.readouterr().out and len(set(read)) == 7
    assert call('inspect midi/alto/song0-1.mid --plot h.png') == 0
    assert 'histograms: h.png' in capsys.readouterr().out


def test_a_reader_that_has_enough_is_no_error(place):
    read, write = os.pipe()
    os.close(read) # as `head` does
    done = subprocess.run([Path(sys.executable).with_name('musiclm'), 'inspect', 'store'], cwd=place, stdout=write, text=True,
                          stderr=subprocess.PIPE, timeout=100)
    os.close(write)
    assert done.stderr == '' and done.returncode == 141


def test_inspect_says_what_reading_did(place, capsys):
    notes = note_table([0, 12*200], [12, 12], [60, 62])
    write_midi(notes.assign(onset=notes.onset + 120), place/'gap.mid')
    assert call('inspect gap.mid') == 0
    out = capsys.readouterr().out
    assert '10 beats of silence' in out and '1 gaps of over 64 beats' in out


ENCODINGS = {
    '--part-order p,v --max-wait 24 --steps-per-beat 24 --pitch-range 33-94 --fold-violin':
        EncodingConfig(part_order=('p', 'v'), max_wait=24, steps_per_beat=24, pitch_range=(33, 94), fold_violin=True),
    '--max-wait none --max-gap none': EncodingConfig(max_wait=None),
    '--velocity-bins 8 --tempo-bins 16': EncodingConfig(velocity_bins=8, tempo_bins=16),
    '--parts v,p,b --part-map v=violin p=piano b=42': EncodingConfig(parts=('v', 'p', 'b')),
    '--scheme chordwise': EncodingConfig(scheme='chordwise', steps_per_beat=4),
    '--composer-tokens --tempo-bins 4': EncodingConfig(tempo_bins=4, composers=('alto', 'basso')),
    '--composer-tokens --scheme chordwise': EncodingConfig(scheme='chordwise', steps_per_beat=4, composers=('alto', 'basso')),
}


@pytest.mark.parametrize('options', ENCODINGS)
def test_encode_takes_every_option(place, options):
    assert call(f'encode midi --out a {options} --workers 1') == 0
    found = Corpus.load(place/'a')
    assert found.encoder.config == ENCODINGS[options] and len(found) == 40


@pytest.mark.parametrize('scheme', ['remi', 'tsd', 'midilike'])
def test_encode_takes_the_tokenizers_of_miditok(place, scheme):
    assert call(f'encode midi --out a --scheme {scheme} --workers 1') == 0
    found = Corpus.load(place/'a')
    assert type(found.encoder.tokenizer).__name__.lower() == scheme
    assert found.notes(0).attrs['dropped'] == 0 and len(found.notes(0)) == found.manifest.n_notes[0]


def test_a_store_grows_by_a_composer(place, capsys):
    for who in ('alto', 'basso'):
        (place/'a'/who).mkdir(parents=True)
        for name in ('song0-1', 'song1-1'): shutil.copy(place/'midi'/who/f'{name}.mid', place/'a'/who)
    assert call('encode a --out X --composer-tokens --workers 1') == 0
    (place/'a'/'Anna Z').mkdir()
    shutil.copy(place/'midi'/'alto'/'song2-1.mid', place/'a'/'Anna Z')
    assert call('encode a --out X --composer-tokens --workers 1') == 0
    found = Corpus.load(place/'X')
    assert found.encoder.config.composers == ('alto', 'anna_z', 'basso')
    assert [found.notes(i).attrs['composer'] for i in range(5)] == [c.lower().replace(' ', '_') for c in found.manifest.composer]
    capsys.readouterr()
    assert call('inspect X --piece 0') == 0
    assert 'xxbos xxcomposer_anna_z ' in capsys.readouterr().out
    shutil.copytree(place/'a'/'Anna Z', place/'a'/'Anna_Z')
    assert call('encode a --out X --composer-tokens --workers 1') == 1
    assert said(capsys.readouterr().err) == ["musiclm encode: the composers 'Anna Z' and 'Anna_Z' would have one token, xxcomposer_anna_z: rename one"]
    assert Corpus.load(place/'X').encoder.config == found.encoder.config


def test_a_store_is_not_lost_to_another_source(place, capsys):
    shutil.copytree(place/'midi', place/'a')
    assert call('encode midi --out X --workers 1') == 0
    before = tree(place), (place/'X'/'manifest.parquet').read_bytes()
    capsys.readouterr()
    for other in ('a', 'music21:bach'):
        assert call(f'encode {other} --out X --workers 1') == 1
        lines = said(capsys.readouterr().err)
        assert len(lines) == 1 and str(place/'midi') in lines[0] and other in lines[0].split('lose it to')[1]
    assert (tree(place), (place/'X'/'manifest.parquet').read_bytes()) == before
    Corpus.load(place/'X').select([0, 1]).save(place/'X') # it is remembered where a part is stored
    assert call('encode a --out X --workers 1') == 1
    assert call('encode midi --out X --workers 1 --max-wait 6') == 0 and len(Corpus.load(place/'X')) == 40
    for name in ('sources.json', 'sha256.json'): (place/'X'/name).unlink() # a store of before
    assert call('encode a --out X --workers 1') == 0


def test_models_of_a_store_with_composers(place, capsys):
    assert call('encode midi --out a --composer-tokens --workers 1') == 0
    assert call(f'train generator a --out X/gen {TINY}') == 0
    assert call(f'train composer a --out X/who {CLIPS}') == 0
    assert call(f'train critic a --out X/critic --generator X/gen {CLIPS}') == 0
    assert load_model(place/'X'/'gen').encoding.composers == ('alto', 'basso')
    capsys.readouterr()
    assert call('generate X/gen --n 2 --tokens 100 --critic X/critic --best 1 --out X/pieces') == 0
    assert call('compare X/gen --composer X/who --store a --n 8') == 0
    assert 'floor' in capsys.readouterr().out


def test_encode_by_a_table(place):
    (place/'table.csv').write_text('path,composer,work\nalto/song0-1.mid,Anna,one\nalto/song0-2.mid,Bea,two\n')
    assert call('encode midi --out a --metadata table.csv --workers 1') == 0
    found = Corpus.load(place/'a')
    assert found.manifest.composer.tolist() == ['Anna', 'Bea'] and len(found.errors) > 0


def test_corpora_are_listed(place, capsys):
    assert call('corpora') == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ('bach', 'haydn', 'essen', 'trecento', 'licence'))


def test_generate_as_a_user_runs_it(place):
    done = run(*'generate gen --n 4 --tokens 100 --critic critic --best 2 --prompt midi/alto/song0-1.mid --prompt-tokens 20 --out best'.split(), cwd=place)
    assert done.returncode == 0 and said(done.stderr) == [] and '2 pieces' in done.stdout
    files = sorted((place/'best'/'midi').glob('*.mid'))
    assert len(files) == 2 and (place/'best'/'index.html').is_file() and len(read_score(files[0])) > 5
    assert not [p for p in place.iterdir() if p.name.startswith('.best')]


def test_generate_repeats_under_a_seed_and_replaces_its_own(place):
    midi = lambda: [p.read_bytes() for p in sorted((place/'set'/'midi').glob('*.mid'))]
    assert call('generate gen --n 4 --tokens 60 --out set --seed 5') == 0
    first = midi()
    assert call('generate gen --n 4 --tokens 60 --out set --seed 5 --batch-size 2') == 0
    assert len(first) == 4 and midi() == first
    assert call('generate gen --n 4 --tokens 60 --out set --seed 6') == 0
    assert midi() != first


def test_generate_with_every_control(place):
    files = lambda name: sorted((place/name/'midi').glob('*.mid'))
    rule = '--random-freq v=1,p=0,other=.8 --top-k v=20,p=none --temperature v=1.3 --min-p .01 --precision fp32'
    assert call(f'generate gen --n 3 --tokens 500 --beats 8 {rule} --out free --store store --prompt-tokens 20') == 0
    assert len(files('free')) == 3
    assert 'song' in (place/'free'/'index.html').read_text()
    song = 'midi/alto/song0-1.mid'
    assert call(f'generate gen --n 2 --tokens 4000 --given v --prompt {song} --out duo') == 0
    given = read_score(place/song)
    v = lambda t: t[t['part'] == 0][['onset', 'duration', 'pitch']].to_numpy().tolist()
    for path in files('duo'): assert v(read_score(path)) == v(given)


def test_generate_by_composer(place):
    assert call('encode midi --out named --composer-tokens --workers 1') == 0
    assert call('train generator named --out byname --size tiny --epochs 1 --bs 4') == 0
    assert call('generate byname --composer alto basso --n 4 --tokens 30 --out said') == 0
    assert len(list((place/'said'/'midi').glob('*.mid'))) == 4
    assert call('generate byname --composer alto --given v --prompt midi/alto/song0-1.mid --n 1 --tokens 50 --out both') == 0
    assert call('generate byname --composer haydn --n 4 --tokens 30 --out X') == 1


def test_judges(place, capsys):
    call('generate gen --n 6 --tokens 150 --out heard')
    capsys.readouterr()
    assert call('score heard --composer who') == 0
    out = capsys.readouterr().out
    assert 'musical Inception score' in out and 'scale: 1 if the judge recognises nothing, 2 if' in out and 'pretrained' not in out
    assert call('score gen --composer who --n 8') == 0
    out = capsys.readouterr().out
    assert 'n=' in out and 'of 8 pieces' in out and 'temperature' in out and judge_hash(load_model(place/'who')) in out
    assert call('guess midi/alto/song0-1.mid midi/basso/song1-2.mid --composer who') == 0
    *lines, rule, size = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2 and all('alto' in l and 'basso' in l and '%' in l for l in lines)
    assert [l.split()[0] for l in lines] == ['song0-1.mid', 'song1-2.mid'] and len({l.index('no composer') for l in lines}) == 1
    assert 'OOD score over 1' in rule and 'clips of 32 tokens' in size
    assert call('guess fake.mid midi/alto/song0-1.mid --composer who') == 1 # one bad file does not silence the others
    told = capsys.readouterr()
    assert len(told.out.strip().splitlines()) == 3 and 'fake.mid' in told.err and len(told.err.strip().splitlines()) == 1
    assert call('compare gen --composer who --store store --n 8') == 0
    out = capsys.readouterr().out
    assert 'gen' in out and 'floor' in out and judge_hash(load_model(place/'who')) in out


@pytest.mark.parametrize('source', ['midi/alto', 'gen'])
def test_score_beside_a_store(place, capsys, source):
    assert call(f'score {source} --composer who --store store --n 16') == 0
    out = capsys.readouterr().out
    for name in ('normalised', 'kernel_distance', 'structure_distance', 'compression_ratio', 'copied_share', 'real_longest_copy_max'):
        assert re.search(rf'^{name} +-?\d', out, flags=re.M), name
    assert re.search(r'^normalised score -?\d+\.\d\d ± \d+\.\d\d \(n=\d+; floor 0, held-out music 1\)$', out, flags=re.M)
    assert 'floor ' in out and judge_hash(load_model(place/'who')) in out and ('bits_per_note' in out) == (source == 'gen')


def test_a_result_in_the_way_is_replaced_and_that_is_said(place, capsys):
    assert call('generate gen --n 3 --tokens 30 --out X') == 0
    assert 'replaces' not in capsys.readouterr().out
    assert call('generate gen --n 2 --tokens 30 --out X') == 0
    assert 'replaces 3 pieces in X\n' in capsys.readouterr().out and len(list((place/'X'/'midi').iterdir())) == 2


def test_report_keeps_what_generate_said(place, capsys):
    cards = lambda: re.findall(r'<h3>(.*?)</h3>.*?critic <b>(.*?)</b>', (place/'X'/'index.html').read_text(), flags=re.S)
    lead = lambda: re.search(r'class="lead">(.*?)</p>', (place/'X'/'index.html').read_text())[1]
    prompts = lambda: re.findall(r'continues [^ ]+|class="mark given"[^>]*>', (place/'X'/'index.html').read_text())
    song = '--prompt midi/alto/song0-1.mid --prompt-tokens 20'
    assert call(f'generate gen --n 3 --tokens 100 --critic critic --best 3 {song} --out X') == 0
    before = cards(), lead(), prompts()
    assert len(before[0]) == 3 and '3 picks from 3' in before[1] and len(before[2]) == 6
    assert call('report X') == 0 and (cards(), lead(), prompts()) == before and 'replaces' not in capsys.readouterr().out
    (place/'X'/'page.json').unlink()
    assert call('report X') == 0 and not cards() and 'replaces the page in X' in capsys.readouterr().out
    shutil.rmtree(place/'X')


def test_report_of_a_folder_of_midi(place):
    (place/'mine').mkdir()
    shutil.copy(place/'midi'/'alto'/'song0-1.mid', place/'mine')
    assert call('report mine') == 0
    assert 'song0-1' in (place/'mine'/'index.html').read_text()


@pytest.mark.parametrize('command', list(COMMANDS))
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as e: main([command, '--help'])
    out = ' '.join(capsys.readouterr().out.split())
    assert e.value.code == 0 and f'example: musiclm {command}' in out and 'usage: musiclm' in out


BAD = {
    'generate nowhere --out X': 'nowhere',
    'generate foreign --out X': 'foreign',
    'generate text.txt --out X': 'text.txt',
    'generate store --out X': 'store',
    'generate who --out X --n 1 --tokens 5': 'who',
    'generate gen --out X --prompt text.txt': 'text.txt',
    'generate gen --out X --prompt fake.mid': 'fake.mid',
    'generate gen --out X --prompt nowhere.mid': 'nowhere.mid',
    'generate gen --out X --n 0': 'n must be at least 1',
    'generate gen --out X --tokens 0': 'n_tokens',
    'generate gen --out X --temperature 0': 'temperature',
    'generate gen --out X --random-freq 2': 'random_freq',
    'generate gen --out X --batch-size 0': 'batch_size',
    'generate gen --out X --temperature v=1,w=2': "no part 'w'",
    'generate gen --out X --top-k v=0': 'top_k',
    'generate gen --out X --beats 0': 'n_beats',
    'generate gen --out X --precision fp8': 'precision',
    'generate gen --out X --given v': '--prompt FILE',
    'generate gen --out X --given x --prompt midi/alto/song0-1.mid': "no part 'x'",
    'generate gen --out X --composer bach': 'bach',
    'generate gen --out X --prompt midi/alto/song0-1.mid --store store': 'not both',
    'generate gen --out text.txt/below --n 1 --tokens 5': 'text.txt/below',
    'generate gen --out text.txt --n 1 --tokens 5': 'text.txt',
    'generate gen --out midi --n 1 --tokens 5': 'midi',
    'generate alien --out X --critic critic --n 2 --best 1': 
        'the critic reads other tokens than the generator writes (max_wait 12 against 6): give another one with --critic',
    'generate lstm-huge --out X': 'lstm-huge',
    'score alien --composer who --n 4': '(max_wait 12 against 6): give another one with --composer',
    'demo --pretrained --from-scratch --out X': 'not both',
    'generate gen --out X --critic nowhere': 'nowhere',
    'generate gen --out X --critic gen --n 1 --tokens 5': 'gen',
    'generate gen --out X --critic who --n 1 --tokens 100': 'who',
    'generate gen --out X --critic critic --n 2 --best 3 --tokens 100': '3 of 2',
    'generate gen --out X --critic critic --n 2 --best 1 --max-copy .5': '--store STORE',
    'encode nowhere --out X': 'nowhere',
    'encode cache --out X': 'cache',
    'encode music21:abba --out X': 'abba',
    'encode midi --out foreign --workers 1': 'foreign',
    'encode midi --out text.txt/below --workers 1': 'text.txt/below',
    'encode midi --out X --max-wait 0': 'max_wait',
    'encode midi --out X --pitch-range 60-65': 'under an octave',
    'encode midi --out X --velocity-bins 500': 'velocity_bins',
    'encode midi --out X --scheme remi --composer-tokens': '--composer-tokens is no option of --scheme remi',
    'encode midi --out X --part-map best': 'best',
    'encode midi --out X --part-map x=violin': 'x',
    'encode midi --out X --metadata nowhere.csv': 'nowhere.csv',
    'encode midi --out X --scheduler tcp://127.0.0.1:9': '127.0.0.1:9',
    'encode midi --out X --scheduler foo': 'no Dask scheduler answers at foo',
    'encode a/b/c --out deep/er/X': 'a/b/c',
    'inspect nowhere': 'nowhere',
    'inspect foreign': 'foreign',
    'inspect fake.mid': 'fake.mid',
    'inspect store --piece 999': '999',
    'inspect store --roll text.txt/roll.png': 'text.txt',
    'train generator nowhere --out X': 'nowhere is not there: make a store with `musiclm encode FOLDER --out STORE`',
    'train generator midi --out X': 'midi: not a stored corpus (manifest.parquet is missing): make one with `musiclm encode FOLDER --out STORE`',
    'train generator store --out midi': 'midi',
    'train generator store --out text.txt/below': 'text.txt/below',
    'train generator store --out X --arch gru': 'gru',
    'train generator store --out X --generator gen': '--generator is no option of a generator',
    'train composer store --out X --generator gen': '--generator is no option of a composer',
    'train critic store --out X --generator gen gen': 'gen is named twice',
    'compare gen ./gen gen --composer who --store store': 'gen is named twice',
    'generate critic --out X': 'critic is a critic; a generator is needed here',
    'score gen --composer critic': 'critic is a critic; a composer classifier is needed here',
    'train generator store --out X --size xl': 'xl',
    'train generator store --out X --bs 0': 'bs',
    'train generator store --out X --epochs 0 --size tiny': 'epochs',
    'train generator store --out X --lr 0': 'lr must be over 0',
    'train generator store --out X --minutes 0': '--minutes must be over 0',
    'train generator store --out X --minutes 1 --epochs 2': 'give --epochs or --minutes, not both',
    'train generator store --out X --seq-len 0': 'seq-len must be at least 1',
    'train generator store --out X --bs 9999': 'do not fill 9999 rows',
    'train generator store --out X --arch transformer --size tiny --bs 4 --seq-len 16 --epochs 1 --lr 1e18': 'with a lower lr',
    'train generator store --out X --start nowhere': 'nowhere',
    'train generator store --out X --start who': 'a generator is needed',
    'train generator store --out X --start gen --arch transformer': 'has arch awd_lstm, not transformer',
    'train critic store --out X --start gen': '--start is no option of a critic',
    'train composer store --out X --seq-len 9': '--seq-len is no option of a composer',
    'train composer store --out X --start who': 'a generator is needed',
    'train composer store --out X --length 9999': '9999',
    'train composer store --out X --arch nope --length 32': "unknown architecture 'nope': there are awd_lstm, transformer, roll_cnn",
    'train critic store --out X --generator gen --length 32 --clips 8 --arch nope':
        "unknown architecture 'nope': there are awd_lstm, transformer, reader, roll_cnn",
    'generate gen --out X --seed -1': '--seed must be a whole number from 0 to 2**63 - 1, not -1',
    'train generator store --out X --seed -1': '--seed must be',
    'train composer store --out X --seed -1': '--seed must be',
    'encode midi --out X --seed -1': '--seed must be',
    'demo --quick --out X --seed -1': '--seed must be',
    'inspect book.abc --tune 99': 'no tune 99 in it: there are 1, 7',
    'train critic store --out X': '--generator',
    'train critic store --out X --generator gen --reference nowhere': 'nowhere',
    'train critic store --out X --generator gen --reference who': 'a generator is needed',
    'train generator store --out X --reference gen': '--reference is no option of a generator',
    'train composer store --out X --reference gen': '--reference is no option of a composer',
    'train critic store --out X --generator foreign': 'foreign',
    'train critic store --out X --generator who --length 32 --clips 8': 'who',
    'score nowhere --composer who': 'nowhere',
    'score midi --composer gen': 'gen',
    'score midi --composer critic': 'critic',
    'score cache --composer who': 'cache',
    'score who --composer who --n 4': 'who',
    'score gen --composer who --n 0': 'n must',
    'score empty --composer who': 'empty holds no MIDI file',
    'score brief --composer who': 'no piece goes on for 32 tokens',
    'score gen --composer who --n 1': 'a judge of 2 composers needs 2 at the very least, and a hundred',
    'score midi/basso --composer who --store nowhere': 'nowhere',
    'score midi/basso --composer who --store untaught': "no split 'train'",
    'score gen --composer who --store untaught --n 4': "no split 'train'",
    'score midi/basso --composer who --store other': 'another vocabulary',
    'score midi/basso --composer ill': 'NaN',
    'score midi/basso --composer ill --store store': 'NaN',
    'compare gen --composer who --store nowhere': 'nowhere',
    'compare foreign --composer who --store store': 'foreign',
    'compare who --composer who --store store --n 4': 'who',
    'guess fake.mid --composer who': 'fake.mid',
    'guess nowhere.mid --composer who': 'nowhere.mid',
    'guess midi/alto/song0-1.mid --composer nowhere': 'nowhere',
    'report nowhere': 'nowhere',
    'report cache': 'cache',
    'demo --quick --out text.txt/below': 'text.txt/below',
    'demo --quick --out midi': 'midi',
}


@pytest.mark.parametrize('line', BAD)
def test_bad_input_is_one_line_and_writes_nothing(place, capsys, line):
    before = tree(place)
    capsys.readouterr()
    assert call(line) == 1
    lines = said(capsys.readouterr().err)
    assert len(lines) == 1 and lines[0].startswith(f'musiclm {line.split()[0]}: ') and BAD[line] in lines[0]
    assert tree(place) == before


@pytest.mark.parametrize('line', ['train critic nowhere --out X --generator gen', 'generate deep/er --out X', 'generate gen --out X --prompt no.mid',
                                  'train critic store --out X --generator gen no/model', 'compare gen --store nowhere'])
def test_a_path_that_leads_nowhere_is_told_before_torch_is_imported(place, line):
    code = f'import sys; from musiclm.cli import main; assert main({line.split()}) == 1; assert "torch" not in sys.modules'
    done = subprocess.run([sys.executable, '-c', code], cwd=place, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and len(said(done.stderr)) == 1 and 'is not there: ' in done.stderr


def test_bad_input_as_a_user_meets_it(place):
    before = tree(place)
    done = run('generate', 'foreign', '--out', 'X', cwd=place)
    assert done.returncode == 1 and done.stdout == '' and 'Traceback' not in done.stderr
    lines = said(done.stderr)
    assert len(lines) == 1 and lines[0].startswith('musiclm generate: foreign holds no model') and tree(place) == before


@pytest.mark.parametrize('what, more', [('generator', ''), ('composer', '--length 32 --clips 40'), ('critic', '--length 32 --clips 40 --generator gen')])
def test_training_takes_the_minutes_it_is_given(place, tmp_path, capsys, what, more):
    begin = time.perf_counter()
    assert call(f'train {what} store --minutes .05 --size tiny --bs 8 {more} --out', tmp_path/'m') == 0
    epochs, seconds = map(int, re.search(r'(\d+) epochs? of about (\d+) s', capsys.readouterr().out).groups())
    assert epochs >= 1 and seconds >= 1 and time.perf_counter() - begin < 60


@pytest.mark.parametrize('argv', [[], ['sing'], ['generate'], ['generate', 'gen', '--out', 'X', '--n', 'many'], ['train', 'dancer', 'store', '--out', 'X']])
def test_wrong_usage_exits_with_2(argv, capsys):
    with pytest.raises(SystemExit) as e: main(argv)
    assert e.value.code == 2 and 'usage: musiclm' in capsys.readouterr().err


@pytest.mark.parametrize('line, said', [
    ('generate gen --out X --temperature warm', "argument --temperature: 'warm' is neither a number nor one by part, as in v=0.8,p=none"),
    ('generate gen --out X --temperature v=1,p=cold', "argument --temperature: 'v=1,p=cold' is neither"),
    ('generate gen --out X --top-k 2.5', "argument --top-k: '2.5' is neither a whole number nor one by part, as in v=5,p=none"),
    ('encode midi --out X --max-wait long', "argument --max-wait: 'long' is neither a whole number nor none"),
    ('encode midi --out X --pitch-range low', "argument --pitch-range: 'low' is no range of pitches, as 21-108 is")])
def test_a_value_that_cannot_be_read_is_told_in_plain_words(line, said, capsys):
    with pytest.raises(SystemExit): main(line.split())
    assert said in capsys.readouterr().err


def test_a_long_way_to_a_failure_leaves_no_folders(place):
    before = tree(place)
    assert call('generate nowhere --out a/b/c') == 1
    assert tree(place) == before


def test_an_interrupt_leaves_nothing_half_written(place, monkeypatch, capsys):
    import musiclm.report
    def interrupted(folder, *args, **kwargs):
        (Path(folder)/'index.html').write_text('half')
        raise KeyboardInterrupt
    before = tree(place)
    monkeypatch.setattr(musiclm.report, 'write_report', interrupted)
    assert call('generate gen --out X --n 1 --tokens 5') == 130
    assert tree(place) == before and said(capsys.readouterr().err)[-1] == 'musiclm generate: interrupted'


def test_a_training_that_was_interrupted_goes_on(place, monkeypatch, capsys):
    from musiclm.generator import Checkpoints
    line, before, write = f'train generator store {TINY.replace("1", "3", 1)} --out', tree(place), Checkpoints.write
    def stop(self):
        write(self)
        if self.learn.epoch == 1: raise KeyboardInterrupt
    assert call(line, 'whole') == 0
    monkeypatch.setattr(Checkpoints, 'write', stop)
    assert call(line, 'X') == 130
    stands = Path('.X.training')/'epoch-00002' # as it was typed
    assert said(capsys.readouterr().err)[-1] == ('musiclm train: interrupted; the same command goes on where it stopped; the model after '
                                                 f'epoch 2: `musiclm generate {stands}` reads it')
    assert 'X' not in tree(place) and [p.name for p in (place/'.X.training').iterdir()] == ['epoch-00002']
    monkeypatch.undo()
    assert call(line.replace('--epochs 3', '--epochs 2'), 'X') == 1
    told = capsys.readouterr().err
    assert 'a training of 3 epochs, not of 2:' in told and f'`musiclm generate {stands}` reads the model' in told
    assert load_model(stands).card['epoch'] == 2
    assert call(line, 'X', '--lr', .001) == 1
    assert 'with lr 0.012, not 0.001' in capsys.readouterr().err and (place/'.X.training').is_dir()
    assert call(line, 'X') == 0
    assert 'going on from' in capsys.readouterr().out and not (place/'.X.training').exists()
    a, b = (load_model(place/m).state_dict() for m in ('X', 'whole'))
    assert all(torch.equal(a[k], b[k]) for k in a)
    shutil.copytree(place/'X', place/'.X.training'/'epoch-00001')
    (place/'.X.training'/'epoch-00001'/'training.json').write_text('of another time')
    assert call(line, 'X') == 1 and call(line, 'X', '--anew') == 0
    for name in ('X', 'whole'): shutil.rmtree(place/name)
    assert tree(place) == before


def test_an_interrupt_before_a_whole_epoch_says_that_nothing_is_kept(place, monkeypatch, capsys):
    from musiclm.generator import Checkpoints
    def stop(self): raise KeyboardInterrupt
    monkeypatch.setattr(Checkpoints, 'write', stop)
    before = tree(place)
    assert call(f'train generator store {TINY} --out early') == 130
    assert said(capsys.readouterr().err)[-1] == 'musiclm train: interrupted; nothing is kept: no epoch was whole'
    assert tree(place) == before


@pytest.mark.parametrize('what', [f'generator store {TINY}', f'composer store {CLIPS}', f'critic store --generator gen {CLIPS}'])
def test_a_training_writes_rows_to_standard_output_and_no_bars_into_files(place, what, capsys):
    assert call(f'train {what} --out X') == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    rows = rows[[row[0] for row in rows].index('epoch'):]
    assert rows[0][:3] == ['epoch', 'train_loss', 'valid_loss'] and rows[1][0] == '0' and float(rows[1][2]) > 0
    assert '\r' not in said.out and '\u2588' not in said.out and said.err == ''


def test_fine_tuning_by_the_command(place, capsys):
    assert call('train generator store --out X --start gen --epochs 1 --bs 4 --seq-len 16') == 0
    old, new = load_model(place/'gen'), load_model(place/'X')
    assert new.build == old.build and new.card['start'] == 'gen' and 'bits_per_note' in new.card['figures']
    shutil.rmtree(place/'X')


def test_only_generators_train_in_several_processes(place, monkeypatch, capsys):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')
    assert call(f'train composer store --out X {CLIPS}') == 1
    assert capsys.readouterr().err == 'musiclm train (process 1): several processes can train generators only\n'


def test_generators_of_one_name_are_told_apart(place, capsys):
    shutil.copytree(place/'gen', place/'deep'/'gen')
    assert call('compare gen deep/gen --composer who --store store --n 8') == 0
    assert {'gen', 'deep/gen'} <= {line.split(' ')[0] for line in capsys.readouterr().out.splitlines() if line}


def test_a_critic_of_few_clips_still_has_some_to_be_calibrated_on(place):
    assert call(f'train critic store --out X --generator gen {TINY} --length 32 --clips 4') == 0
    assert load_model(place/'X').card['figures']['auc'].endswith('(n=4)')


def test_only_what_follows_the_prompts_is_scored(place, capsys):
    assert call('generate gen --n 4 --tokens 120 --store store --prompt-tokens 40 --out X') == 0
    encoder, tables = Corpus.load(place/'store').encoder, []
    corpus = Corpus.load(place/'store')
    for p in read_pieces(place/'X', encoder):
        assert 20 < p.prompt_len <= 60 and 'song' in p.info['prompt']
        openings = [encoder.to_text(corpus.tokens(i)[:30]) for i in corpus.indices('test')]
        assert encoder.to_text(p.ids[:30]) in openings # the prompt is in the file …
        tables.append((p.notes['onset'] < p.prompt_steps).sum())
        rest = encoder.decode(encoder.clip(p.ids, p.prompt_len, 32))
        assert rest['pitch'].tolist()[:3] == p.notes['pitch'].tolist()[tables[-1]:][:3] # … and is no part of a clip
    assert min(tables) > 3
    assert all(p.prompt_len == 1 for p in read_pieces(place/'midi', encoder))
    assert call('score X --composer who') == 0 and '4 of 4 pieces' in capsys.readouterr().out


@pytest.fixture
def shelf(place, monkeypatch):
    "The tiny models of these tests in the place of those that come with the library."
    for name, trained in {'lstm-small': 'gen', 'composer': 'who', 'critic': 'critic'}.items():
        shutil.copytree(place/trained, place/'deep'/'ready'/name)
    monkeypatch.setattr('musiclm.models.pretrained_folder', lambda: place/'deep'/'ready')


def test_ready_models_are_taken_where_none_is_named(place, shelf, capsys):
    assert call('generate --out X --best 2 --n 6 --tokens 120') == 0
    err = capsys.readouterr().err
    assert 'generator: lstm-small, pretrained' in err and 'critic: critic, pretrained' in err
    assert len(list((place/'X'/'midi').glob('*.mid'))) == 2
    named = {p.name: p.read_bytes() for p in (place/'X'/'midi').glob('*.mid')}
    assert call('generate gen --critic critic --out X --best 2 --n 6 --tokens 120') == 0
    assert named == {p.name: p.read_bytes() for p in (place/'X'/'midi').glob('*.mid')}
    capsys.readouterr()
    for line in ('score lstm-small --n 8', 'guess midi/alto/song0-1.mid', 'compare lstm-small --store store --n 8'):
        said_of = [call(line), capsys.readouterr(), call(line + ' --composer who'), capsys.readouterr()]
        assert said_of[0] == said_of[2] == 0 and said_of[1].out.splitlines()[-1] == said_of[3].out.splitlines()[-1]
        assert 'composer: composer, pretrained' in said_of[1].err and 'pretrained' not in said_of[3].err
        assert ('trained on chorales, madrigals and quartets by 2 composers' in said_of[1].out) == line.startswith('score')
    assert call('generate alien --out X --best 2') == 1 and '--critic' in capsys.readouterr().err # nothing is misread in silence


@pytest.mark.parametrize('terminal,answer,flags,ready', [
    (True, '', '', True), (True, 'p', '', True), (True, 'Train', '', False), (False, None, '', False), (True, None, '--pretrained', True),
    (False, None, '--ready', True), (True, None, '--from-scratch', False), (True, None, '--quick', False)])
def test_the_demo_asks_whether_to_train(terminal, answer, flags, ready, place, monkeypatch, capsys):
    def run(out, settings):
        seen.append(settings.pretrained)
        return place/'X'/'index.html'
    def ask(text):
        assert answer is not None, 'nobody shall be asked'
        return answer
    seen = []
    monkeypatch.setattr('musiclm.demo.run_demo', run)
    monkeypatch.setattr('sys.stdin', type('Terminal', (), dict(isatty=lambda self: terminal))())
    monkeypatch.setattr('builtins.input', ask)
    assert call(f'demo --out X {flags}') == 0 and seen == [ready]


def test_no_answer_to_the_demo_is_one_line(monkeypatch, capsys):
    def gone(question): raise EOFError
    monkeypatch.setattr('sys.stdin', type('Terminal', (), {'isatty': lambda self: True})())
    monkeypatch.setattr('builtins.input', gone)
    assert main(['demo']) == 1 and capsys.readouterr().err == 'musiclm demo: no answer: give --pretrained or --from-scratch\n'


def test_a_quiz_takes_ready_models_by_name(place, tmp_path, monkeypatch):
    monkeypatch.setattr('musiclm.models.pretrained_folder', lambda: tmp_path)
    shutil.copytree(place/'gen', tmp_path/'of-the-package')
    toy_corpus(n=160, beats=96).save(tmp_path/'store') # works enough, and long enough
    assert call('quiz --pieces of-the-package --n 4 --length 32 --prompt-tokens 16 --store', tmp_path/'store', '--out', tmp_path/'quiz.html') == 0
    assert (tmp_path/'quiz.html').is_file()


def test_what_a_model_card_loads_with_is_there():
    import musiclm.all as everything
    assert everything.load_model and everything.from_hub and everything.push_to_hub
